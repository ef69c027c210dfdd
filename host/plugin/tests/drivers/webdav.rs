//! The plugin webdav against a server program: wsgidav of PyPI.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use transom_storage::conformance::Options;
use transom_storage::{Error, Factory};
use transom_tests::needs;

use crate::support::{encrypted, factory, hold, open, opened, path, put, read};

const PASSWORD: &str = "not to be seen";

/// A server, which ends with this.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one; `None` if it is not installed, and the test is skipped.
    fn start() -> Option<Server> {
        let (python, program) = needs::webdav_server()?;
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(python)
            .arg(program)
            .arg(folder.path())
            .args(["somebody", PASSWORD])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("the server ended before it began").unwrap();
            if let Some(port) = line.strip_prefix("port ") {
                break port.parse().unwrap();
            }
        };
        // Whatever else it says is nobody's.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Server { child, port, folder })
    }

    fn table(&self) -> Value {
        let server = format!("http://127.0.0.1:{}", self.port);
        json!({
            "driver": "webdav", "url": format!("{server}/dav/images/"), "hosts": server,
            "username": "somebody", "password": PASSWORD,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server and a factory, if both can be had.
fn start(plugins: &[&str]) -> Option<(Server, Factory)> {
    let (factory, _) = factory(plugins)?;
    Some((Server::start()?, factory))
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_conforms() {
    let Some((server, factory)) = start(&["webdav"]) else {
        return;
    };
    let options = Options {
        children: 30,
        piece: 100_000,
        tasks: 4,
        ..Options::quick()
    };
    hold(opened(factory, server.table()), options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_on_a_server_can_be_encrypted() {
    let Some((server, factory)) = start(&["webdav", "encrypt"]) else {
        return;
    };
    let driver = open(&factory, &encrypted(&server.table())).unwrap();
    put(&*driver, "/a/b", b"hello").await;
    assert_eq!(read(&*driver, "/a/b").await.unwrap(), "hello");
    let kept = std::fs::read(server.folder.path().join("images/a/b")).unwrap();
    assert!(kept.starts_with(b"TRSMENC\x01"), "{kept:?}");
}

#[tokio::test]
async fn a_server_that_was_not_granted_is_not_reached() {
    let Some((server, factory)) = start(&["webdav"]) else {
        return;
    };
    let mut table = server.table();
    table["hosts"] = json!(["https://dav.example.com"]);
    let driver = open(&factory, &table).unwrap();
    match driver.stat(&path("/a")).await {
        Err(Error::Denied { reason, .. }) => {
            let server = format!("http://127.0.0.1:{}", server.port);
            assert!(reason.contains(&format!("may not reach {server}")), "{reason}");
            assert!(
                reason.contains(&format!("hosts = [\"https://dav.example.com\", \"{server}\"]")),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    table["hosts"] = json!(["dav.example.com"]);
    let error = open(&factory, &table).unwrap_err().to_string();
    assert!(
        error.contains("hosts") && error.contains("https://dav.example.com"),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_shown() {
    let Some((server, factory)) = start(&["webdav"]) else {
        return;
    };
    let mut table = server.table();
    table["password"] = json!("wrong and secret");
    let driver = open(&factory, &table).unwrap();
    let error = driver.stat(&path("/a")).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(!format!("{error} {error:?} {driver:?}").contains("wrong and secret"));
    // A secret may also be in a file.
    let file = server.folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    table["password"] = json!({ "file": file });
    put(&*open(&factory, &table).unwrap(), "/a", b"x").await;
    table.as_object_mut().unwrap().remove("username");
    let error = open(&factory, &table).unwrap_err().to_string();
    assert!(
        error.contains("username") && error.contains("a password needs a user"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_available() {
    let Some((server, factory)) = start(&["webdav"]) else {
        return;
    };
    let driver = open(&factory, &server.table()).unwrap();
    put(&*driver, "/a", b"x").await;
    drop(server);
    let error = driver.stat(&path("/a")).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}
