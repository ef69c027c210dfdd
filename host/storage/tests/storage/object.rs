//! The driver of object stores: on a store in memory, and on a server that speaks S3.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use transom_storage::conformance::{Fetch, Options, opener};
use transom_storage::object::ObjectDriver;
use transom_storage::{Condition, Error, Factory, RedirectMethod, StorageDriver, StoragePath, WriteMode};
use transom_tests::moto::Moto;

use crate::drivers::hold;

/// A small part, so that small uploads have many.
const PART: usize = 64 << 10;

fn in_memory(store: &Arc<InMemory>, root: &str) -> ObjectDriver {
    ObjectDriver::new("objects", Arc::clone(store), root, PART).unwrap()
}

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

#[tokio::test]
async fn objects_in_memory_conform() {
    // Below different roots, and with walks that hold everything or next to nothing.
    for (root, walk_keys) in [("", 100_000), ("a/root", 3)] {
        let store = Arc::new(InMemory::new());
        let open = opener(move || {
            let driver = in_memory(&store, root).with_walk_keys(walk_keys);
            async move { Ok(Arc::new(driver) as Arc<dyn StorageDriver>) }
        });
        hold(open, Options::quick()).await;
    }
}

#[tokio::test]
async fn two_roots_in_one_store_do_not_see_each_other() {
    let store = Arc::new(InMemory::new());
    let (one, other) = (in_memory(&store, "root"), in_memory(&store, "root-2"));
    one.put(&path("/a"), Bytes::from_static(b"x"), Condition::Always)
        .await
        .unwrap();
    other
        .put(&path("/b"), Bytes::from_static(b"y"), Condition::Always)
        .await
        .unwrap();
    let listed = one.list(&path("/")).await.unwrap();
    assert_eq!(
        listed.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(),
        ["/a"]
    );
    assert!(one.get(&path("/b"), 1).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn parts_are_of_one_size_whatever_the_writes_and_restarts() {
    let store = Arc::new(InMemory::new());
    let at = path("/upload");
    let bytes: Vec<u8> = (0..5 * PART + 17).map(|number| (number % 251) as u8).collect();
    let mut mode = WriteMode::Create;
    for piece in bytes.chunks(PART / 3 * 2) {
        // Another part size after the first restart: the upload keeps its own.
        let part = if mode == WriteMode::Create { PART } else { PART / 2 };
        let driver = ObjectDriver::new("objects", Arc::clone(&store), "", part).unwrap();
        let mut writer = driver.writer(&at, mode).await.unwrap();
        for piece in piece.chunks(1000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.close().await.unwrap();
        mode = WriteMode::Append;
    }
    let driver = in_memory(&store, "");
    driver
        .writer(&at, WriteMode::Append)
        .await
        .unwrap()
        .commit()
        .await
        .unwrap();
    assert_eq!(driver.get(&at, 1 << 20).await.unwrap(), bytes);
    // Nothing else is left in the store.
    use object_store::ObjectStore;
    let left: Vec<_> = store
        .list(None)
        .map(|meta| meta.unwrap().location.to_string())
        .collect()
        .await;
    assert_eq!(left, ["upload"]);
}

#[tokio::test]
async fn an_upload_that_cannot_be_understood_is_not_begun_anew() {
    let store = Arc::new(InMemory::new());
    let driver = in_memory(&store, "");
    use object_store::ObjectStoreExt;
    store.put(&"a=upload".into(), "nonsense".into()).await.unwrap();
    let append = driver.writer(&path("/a"), WriteMode::Append).await;
    assert!(matches!(append, Err(Error::Damaged { .. })), "{append:?}");
}

/// A request of HTTP/1.1 without a body: the status and the body of the answer.
async fn request(address: &str, method: &str, target: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(answer.len(), |end| end + 4);
    let status = String::from_utf8_lossy(&answer[..end.min(12)]);
    Ok((status[9..].trim().parse().unwrap_or(0), answer.split_off(end)))
}

fn fetch() -> Fetch {
    Arc::new(|url: String, method| {
        Box::pin(async move {
            let rest = url.strip_prefix("http://").expect("the server speaks HTTP");
            let (address, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let method = match method {
                RedirectMethod::Get => "GET",
                RedirectMethod::Head => "HEAD",
            };
            Ok(request(address, method, target)
                .await
                .expect("the server answers"))
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let Some(moto) = Moto::start() else {
        return;
    };
    moto.make_bucket("bucket");
    let factory = Factory::builtin();
    let parameters = moto.parameters("bucket", "the/root");
    let open = opener(move || {
        let driver = factory
            .open_named("s3", &parameters)
            .expect("the parameters are right");
        async move { Ok(driver) }
    });
    let options = Options {
        // More than a page of a listing, and than one request deletes.
        children: 1100,
        fetch: Some(fetch()),
        ..Options::default()
    };
    hold(open, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_s3_have_their_meaning() {
    let Some(moto) = Moto::start() else {
        return;
    };
    let open = |parameters: &Map<String, Value>| Factory::builtin().open_named("s3", parameters).unwrap();
    // No bucket.
    let driver = open(&moto.parameters("nothing", ""));
    let error = driver
        .put(&path("/a"), Bytes::new(), Condition::Always)
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    // A connection that ends.
    let mut parameters = moto.parameters("bucket", "");
    drop(moto);
    parameters.insert("regionendpoint".to_owned(), json!("http://127.0.0.1:1"));
    let error = open(&parameters).stat(&path("/a")).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}
