//! The requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use transom_api::content::{
    InfoRequest, ListContentRequest, ReadContentRequest, WriteAction, WriteContentRequest,
};
use transom_api::images::{
    CreateImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};
use transom_api::leases::CreateRequest;
use transom_api::types::Descriptor;
use transom_oci::{Algorithm, Digest};

use crate::client::{LEASE, leased, within};
use crate::{Arguments, Client, Done, Error, Job};

/// How long a daemon may take to answer.
pub(crate) const READY_MAX: Duration = Duration::from_secs(60);
/// Between two tries to connect.
pub(crate) const READY_PAUSE: Duration = Duration::from_millis(1);
/// Connections that make images and blobs.
const SEED_CLIENTS: u32 = 8;

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Counts what is done until the time is over.
pub(crate) async fn repeat(arguments: &Arguments) -> Result<Done, Error> {
    make_lease(arguments).await?;
    let until = Duration::from_secs_f64(arguments.seconds);
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for number in 0..arguments.clients {
        let arguments = arguments.clone();
        let client = Client::connect(&arguments.socket).await?;
        tasks.spawn(async move {
            let mut done = 0;
            while start.elapsed() < until {
                one(&client, &arguments, number, done).await?;
                done += 1;
            }
            Ok::<_, Error>(done)
        });
    }
    let operations = sum(tasks).await?;
    Ok(Done {
        operations,
        bytes: 0,
        time: start.elapsed(),
    })
}

async fn one(client: &Client, arguments: &Arguments, number: u32, done: u64) -> Result<(), Error> {
    let each = u64::from(arguments.count.max(1));
    let chosen = (done + u64::from(number) * 7919) % each;
    match arguments.job {
        Job::Info => {
            let digest = digest(&blob(arguments, 0, chosen));
            client.content().info(within(InfoRequest { digest })).await?;
        }
        Job::GetImage => {
            let name = image_name(chosen);
            client.images().get(within(GetImageRequest { name })).await?;
        }
        Job::UpdateImage => {
            // An image of its own for each client: what is measured is the store, not a quarrel about one record.
            let image = Image {
                name: image_name(u64::from(number)),
                labels: BTreeMap::from([("load".to_owned(), done.to_string())]),
                ..Image::default()
            };
            let update_mask = Some(prost_types::FieldMask {
                paths: vec!["labels.load".to_owned()],
            });
            let request = UpdateImageRequest {
                image: Some(image),
                update_mask,
                ..UpdateImageRequest::default()
            };
            client.images().update(within(request)).await?;
        }
        _ => {
            let salt = arguments.salt + 1;
            let name = format!("{salt}-{number}-{done}");
            put(
                client,
                &name,
                blob(arguments, salt * 1000 + u64::from(number), done),
            )
            .await?;
        }
    }
    Ok(())
}

/// Waits for the daemon to answer; the time is from the start of this program.
pub(crate) async fn ready(arguments: &Arguments) -> Result<Done, Error> {
    let start = Instant::now();
    loop {
        if let Ok(client) = Client::connect(&arguments.socket).await
            && client.version().version(()).await.is_ok()
        {
            let time = start.elapsed();
            return Ok(Done {
                operations: 1,
                bytes: 0,
                time,
            });
        }
        if start.elapsed() > READY_MAX {
            return Err(Error::Wrong("the daemon does not answer".to_owned()));
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

/// Makes blobs, and images that point to them.
pub(crate) async fn seed(arguments: &Arguments) -> Result<Done, Error> {
    make_lease(arguments).await?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..SEED_CLIENTS {
        let arguments = arguments.clone();
        let client = Client::connect(&arguments.socket).await?;
        tasks.spawn(async move {
            let mine = (number..arguments.count).step_by(SEED_CLIENTS as usize);
            let mut done = 0;
            for chosen in mine.map(u64::from) {
                let content = blob(&arguments, 0, chosen);
                let target = Descriptor {
                    media_type: MEDIA_TYPE.to_owned(),
                    digest: digest(&content),
                    size: i64::try_from(content.len()).unwrap_or(i64::MAX),
                    ..Descriptor::default()
                };
                put(&client, &format!("seed-{chosen}"), content).await?;
                make_image(&client, &image_name(chosen), target).await?;
                done += 1;
            }
            Ok::<_, Error>(done)
        });
    }
    let operations = sum(tasks).await?;
    Ok(Done {
        operations,
        bytes: operations * arguments.size,
        time: start.elapsed(),
    })
}

/// Writes one large blob as `ctr` does: a message, its answer, the next.
pub(crate) async fn ingest(arguments: &Arguments) -> Result<Done, Error> {
    make_lease(arguments).await?;
    let client = Client::connect(&arguments.socket).await?;
    let chunk = large_chunk(arguments);
    let start = Instant::now();
    let mut write = Write::open(&client, &format!("large-{}", arguments.salt)).await?;
    let mut left = arguments.size;
    while left > 0 {
        let size = left.min(chunk.len() as u64);
        // What differs from run to run is the first eight bytes of each chunk.
        let mut data = Vec::with_capacity(chunk.len());
        data.extend_from_slice(&(arguments.salt ^ left).to_le_bytes());
        data.extend_from_slice(&chunk[8..]);
        data.truncate(usize::try_from(size).unwrap_or_default());
        write.send(WriteAction::Write, data.into()).await?;
        left -= size;
    }
    write.send(WriteAction::Commit, Bytes::new()).await?;
    Ok(Done {
        operations: 1,
        bytes: arguments.size,
        time: start.elapsed(),
    })
}

/// Reads the largest blob there is.
pub(crate) async fn read(arguments: &Arguments) -> Result<Done, Error> {
    let client = Client::connect(&arguments.socket).await?;
    let (digest, size) = largest(&client).await?;
    let step = if arguments.chunk == 0 {
        size
    } else {
        i64::from(arguments.chunk)
    };
    let start = Instant::now();
    let mut bytes = 0;
    while bytes < size {
        let request = ReadContentRequest {
            digest: digest.clone(),
            offset: bytes,
            size: step.min(size - bytes),
        };
        let mut stream = client.content().read(within(request)).await?.into_inner();
        while let Some(part) = stream.message().await? {
            bytes += i64::try_from(part.data.len()).unwrap_or_default();
        }
    }
    Ok(Done {
        operations: 1,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        time: start.elapsed(),
    })
}

/// Lists all images.
pub(crate) async fn list_images(arguments: &Arguments) -> Result<Done, Error> {
    let client = Client::connect(&arguments.socket).await?;
    let start = Instant::now();
    let listed = client.images().list(within(ListImagesRequest::default())).await?;
    Ok(Done {
        operations: listed.into_inner().images.len() as u64,
        bytes: 0,
        time: start.elapsed(),
    })
}

/// Lists all content.
pub(crate) async fn list_content(arguments: &Arguments) -> Result<Done, Error> {
    let client = Client::connect(&arguments.socket).await?;
    let start = Instant::now();
    let mut stream = client
        .content()
        .list(within(ListContentRequest::default()))
        .await?
        .into_inner();
    let mut operations = 0;
    while let Some(part) = stream.message().await? {
        operations += part.info.len() as u64;
    }
    Ok(Done {
        operations,
        bytes: 0,
        time: start.elapsed(),
    })
}

async fn largest(client: &Client) -> Result<(String, i64), Error> {
    let listed = client
        .content()
        .list(within(ListContentRequest::default()))
        .await?;
    let mut stream = listed.into_inner();
    let mut found = None;
    while let Some(part) = stream.message().await? {
        let sizes = part.info.into_iter().map(|info| (info.size, info.digest));
        found = found.into_iter().chain(sizes).max();
    }
    found
        .map(|(size, digest)| (digest, size))
        .ok_or_else(|| Error::Wrong("there is no content to read".to_owned()))
}

pub(crate) async fn make_lease(arguments: &Arguments) -> Result<(), Error> {
    let client = Client::connect(&arguments.socket).await?;
    let request = CreateRequest {
        id: LEASE.to_owned(),
        ..CreateRequest::default()
    };
    match client.leases().create(within(request)).await {
        Err(status) if status.code() != Code::AlreadyExists => Err(status.into()),
        _ => Ok(()),
    }
}

async fn make_image(client: &Client, name: &str, target: Descriptor) -> Result<(), Error> {
    let image = Image {
        name: name.to_owned(),
        target: Some(target),
        labels: BTreeMap::from([("version".to_owned(), "1.2.3".to_owned())]),
        ..Image::default()
    };
    let request = CreateImageRequest {
        image: Some(image),
        ..CreateImageRequest::default()
    };
    match client.images().create(within(request)).await {
        Err(status) if status.code() != Code::AlreadyExists => Err(status.into()),
        _ => Ok(()),
    }
}

/// A small blob in one message, as `content.WriteBlob` does after its first look.
pub(crate) async fn put(client: &Client, name: &str, content: Bytes) -> Result<(), Error> {
    let mut write = match Write::open(client, name).await {
        Err(Error::Status(status)) if status.code() == Code::AlreadyExists => return Ok(()),
        opened => opened?,
    };
    match write.send(WriteAction::Commit, content).await {
        Err(Error::Status(status)) if status.code() == Code::AlreadyExists => Ok(()),
        sent => sent,
    }
}

/// A stream that writes one blob.
struct Write {
    requests: tokio::sync::mpsc::Sender<WriteContentRequest>,
    answers: tonic::Streaming<transom_api::content::WriteContentResponse>,
    name: String,
    offset: i64,
}

impl Write {
    async fn open(client: &Client, name: &str) -> Result<Write, Error> {
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: name.to_owned(),
            ..WriteContentRequest::default()
        };
        let gone = |_| Error::Wrong("the stream ended".to_owned());
        requests.send(first).await.map_err(gone)?;
        let stream = leased(ReceiverStream::new(receiver));
        let mut answers = client.content().write(stream).await?.into_inner();
        answers.message().await?;
        Ok(Write {
            requests,
            answers,
            name: name.to_owned(),
            offset: 0,
        })
    }

    async fn send(&mut self, action: WriteAction, data: Bytes) -> Result<(), Error> {
        let length = i64::try_from(data.len()).unwrap_or_default();
        let request = WriteContentRequest {
            action: action.into(),
            r#ref: self.name.clone(),
            offset: self.offset,
            data,
            ..WriteContentRequest::default()
        };
        let gone = |_| Error::Wrong("the stream ended".to_owned());
        self.requests.send(request).await.map_err(gone)?;
        self.offset += length;
        match self.answers.message().await? {
            Some(answer) if answer.offset == self.offset => Ok(()),
            answer => Err(Error::Wrong(format!(
                "expected offset {}, got {answer:?}",
                self.offset
            ))),
        }
    }
}

pub(crate) async fn sum(mut tasks: JoinSet<Result<u64, Error>>) -> Result<u64, Error> {
    let mut total = 0;
    while let Some(done) = tasks.join_next().await {
        total += done.map_err(|error| Error::Wrong(error.to_string()))??;
    }
    Ok(total)
}

fn image_name(number: u64) -> String {
    format!("registry.example/library/image-{number}:latest")
}

pub(crate) fn digest(content: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, content).to_string()
}

/// Bytes that no other pair of salt and number has.
fn blob(arguments: &Arguments, salt: u64, number: u64) -> Bytes {
    let mut content = Vec::from(format!("{salt}-{number}-").as_bytes());
    content.resize(
        usize::try_from(arguments.size)
            .unwrap_or_default()
            .max(content.len()),
        b'.',
    );
    content.into()
}

/// Bytes that do not compress, the same each time.
fn large_chunk(arguments: &Arguments) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let words = (arguments.chunk as usize).div_ceil(8).max(1);
    let random = (0..words).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    random.collect()
}
