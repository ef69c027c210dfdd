//! What the drivers that are plugins cost: content through each over memory, written and read, and small calls.
//!
//! `cargo xtask plugins`, then `cargo run --release -p transom-plugin --example drivers`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio_stream::StreamExt;
use transom_plugin::storage::{Grants, Masters};
use transom_plugin::{Host, HostConfig};
use transom_storage::factory::Secret;
use transom_storage::{Condition, Memory, StorageDriver, StoragePath, WriteMode};

/// Bytes of the content, and of each write.
const SIZE: usize = 64 << 20;
const PIECE: usize = 1 << 20;

/// Small contents, one after the other.
const SMALL: u32 = 500;

type Fault = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
    let host = Host::new(HostConfig::default())?;
    println!(
        "{:<10} {:>12} {:>12} {:>12} {:>12}",
        "", "write MB/s", "read MB/s", "put us", "get us"
    );
    measure("memory", Arc::new(Memory::default())).await?;
    for name in ["encrypt", "compress"] {
        let grants = Grants {
            inner: Some(Arc::new(Memory::default())),
            masters: Masters::parse(&[Secret::new("5a".repeat(32))])?,
            ..Grants::default()
        };
        let driver = host.load_driver(&built.join(name))?.open(grants)?;
        measure(name, driver).await?;
    }
    Ok(())
}

async fn measure(name: &str, driver: Arc<dyn StorageDriver>) -> Result<(), Fault> {
    let path = StoragePath::new("/large")?;
    let words = (0u32..).flat_map(|number| format!("{} ", number % 7919).into_bytes());
    let content = Bytes::from_iter(words.take(SIZE));
    let begun = Instant::now();
    let mut writer = driver.writer(&path, WriteMode::Create).await?;
    for at in (0..SIZE).step_by(PIECE) {
        writer.write(content.slice(at..at + PIECE)).await?;
    }
    writer.commit().await?;
    let written = begun.elapsed();
    let begun = Instant::now();
    let (mut reader, mut length) = (driver.read(&path, 0).await?, 0);
    while let Some(chunk) = reader.next().await {
        length += chunk?.len();
    }
    let read = begun.elapsed();
    assert_eq!(length, SIZE, "what was written is read");
    let small = StoragePath::new("/small/content")?;
    let begun = Instant::now();
    for _ in 0..SMALL {
        driver
            .put(&small, Bytes::from_static(&[7; 71]), Condition::Always)
            .await?;
    }
    let put = begun.elapsed() / SMALL;
    let begun = Instant::now();
    for _ in 0..SMALL {
        driver.get(&small, 1000).await?;
    }
    let get = begun.elapsed() / SMALL;
    let rate = |time: std::time::Duration| SIZE as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{name:<10} {:>12.0} {:>12.0} {:>12} {:>12}",
        rate(written),
        rate(read),
        put.as_micros(),
        get.as_micros()
    );
    Ok(())
}
