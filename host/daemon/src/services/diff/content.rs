//! Where the blobs of a request are.

use tonic::{Request, Status};
use transom_diff::blobs::Blobs;
use transom_layer::cancel::Cancel;

use super::local::Local;
use super::remote::{Behind, Remote};
use crate::convert;
use crate::services::content::backend::Backend;
use crate::status;

/// Where blobs are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Here(Backend),
    /// In the content of a containerd, which may or may not be here too.
    Behind {
        /// What is here, without records.
        flat: Backend,
        /// The containerd's own, with the records.
        containerd: Option<Remote>,
    },
}

impl Content {
    /// Content here and in the containerd that serves on a socket, if there is one.
    #[must_use]
    pub fn behind(flat: Backend, address: Option<&std::path::Path>) -> Content {
        Content::Behind {
            flat,
            containerd: address.map(Remote::new),
        }
    }

    /// The content on behalf of whoever makes the request. What waits for it stops when the request does.
    pub(super) fn of<T>(&self, request: &Request<T>, cancel: &Cancel) -> Result<Box<dyn Blobs>, Status> {
        match self {
            Content::Here(backend) => Ok(Box::new(Local::new(backend.clone(), backend.who(request)?))),
            Content::Behind { flat, containerd } => {
                let here = Local::new(flat.clone(), flat.who(request)?);
                let Some(containerd) = containerd else {
                    return Ok(Box::new(here));
                };
                let there = containerd.of(convert::caller(request)?, cancel);
                Ok(Box::new(Behind::new(here, there)))
            }
        }
    }

    /// Whether a new blob becomes one that the client can see.
    pub(super) fn can_write(&self) -> Result<(), Status> {
        match self {
            Content::Behind { containerd: None, .. } => {
                let text = "mounts are compared only where containerd's content can be reached: set content_address in [diff]";
                Err(status::said(transom_meta::Class::Unimplemented, text))
            }
            _ => Ok(()),
        }
    }
}
