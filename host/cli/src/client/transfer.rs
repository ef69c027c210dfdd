//! Transfers of images: by a daemon that has the service, which containerd has since 1.7.

use std::time::Duration;

use prost::{Message, Name};
use prost_types::Any;
use tonic::Code;
use transom_api::transfer::{TransferOptions, TransferRequest};
use transom_api::transfer_types::Progress;
use transom_api::types;
use transom_oci::Platform;

use super::Client;
use super::stream::Pipe;
use crate::failure::Failure;

/// How long the last progress is waited for when a transfer is done. The daemon closes its stream at once.
const LAST_PROGRESS: Duration = Duration::from_secs(2);

/// A message as an object that says what it is, by containerd's names.
pub(crate) fn packed<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::full_name(),
        value: message.encode_to_vec(),
    }
}

/// The message that an object must be.
pub(crate) fn unpacked<M: Message + Name + Default>(object: &Any) -> Result<M, Failure> {
    let name = object.type_url.rsplit('/').next().unwrap_or_default();
    if name != M::full_name() {
        return Err(Failure::silent(format!(
            "a {}, it has a {name:?}",
            M::full_name()
        )));
    }
    M::decode(object.value.as_slice()).map_err(|_| Failure::silent(format!("a whole {name}")))
}

/// A platform as a message.
pub(crate) fn platform(platform: &Platform) -> types::Platform {
    types::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        ..types::Platform::default()
    }
}

impl Client {
    /// Transfers an image from one place to another, and hands on what the daemon says meanwhile.
    pub(crate) async fn transfer(
        &self,
        source: Any,
        destination: Any,
        mut said: impl FnMut(Progress),
    ) -> Result<(), Failure> {
        let mut progress = self.pipe("progress").await?;
        let request = TransferRequest {
            source: Some(source),
            destination: Some(destination),
            options: Some(TransferOptions {
                progress_stream: progress.id.clone(),
            }),
        };
        let mut service = self.transfers();
        let mut transfer = std::pin::pin!(service.transfer(request));
        let mut open = true;
        let done = loop {
            tokio::select! {
                biased;
                message = progress.next(), if open => match message {
                    Some(message) => said(unpacked(&message)?),
                    None => open = false,
                },
                done = &mut transfer => break done,
            }
        };
        if open {
            let rest = drain(&mut progress, &mut said);
            // What is left to be said of a transfer that is done is not worth a failure.
            drop(tokio::time::timeout(LAST_PROGRESS, rest).await);
        }
        done.map(drop).map_err(failure)
    }
}

async fn drain(progress: &mut Pipe, said: &mut impl FnMut(Progress)) {
    while let Some(message) = progress.next().await {
        if let Ok(message) = unpacked(&message) {
            said(message);
        }
    }
}

/// What a daemon answered that may not have the service.
pub(super) fn failure(status: tonic::Status) -> Failure {
    let unknown = status.code() == Code::Unimplemented;
    let failure = Failure::from(status);
    if unknown {
        return failure.advise("this daemon cannot do it by itself; containerd can since 1.7");
    }
    failure
}
