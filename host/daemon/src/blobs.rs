//! The content store of the configuration: a folder, or a storage driver with copies in the folder.

use std::sync::Arc;

use tokio::runtime::Handle;
use transom_content::{Remote, Store};

use crate::Failure;
use crate::config::Config;
use crate::plugins::Live;
use crate::remote::OnDriver;

/// Opens it. A driver that is a plugin is one of `plugins`.
pub(crate) async fn open(config: &Config, plugins: &Live) -> Result<Store, Failure> {
    let root = transom_content::content_root(&config.root);
    let Some(table) = config.content.driver.clone() else {
        return Ok(Store::open_alone(root)?);
    };
    let factory = plugins.begin_content().await?;
    let copies = config.content.copies;
    let runtime = Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let remote: Arc<dyn Remote> = Arc::new(OnDriver::open(&factory, &table, runtime)?);
        Ok(Store::open_on(root, remote, copies)?)
    });
    opened
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
