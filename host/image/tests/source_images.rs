//! Reading images from disk: everything between a person's argument and the layers' bytes.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose files or programs fail has failed"
)]

#[path = "source_images/archives.rs"]
mod archives;
#[path = "source_images/builder.rs"]
mod builder;
#[path = "source_images/damage.rs"]
mod damage;
#[path = "source_images/docker.rs"]
mod docker;
#[path = "source_images/inspection.rs"]
mod inspection;
#[path = "source_images/programs.rs"]
mod programs;
#[path = "source_images/references.rs"]
mod references;
#[path = "source_images/selection.rs"]
mod selection;
