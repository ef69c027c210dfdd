//! The messages and services of the daemon, wire-compatible with containerd, and [`plugins`], which is ours alone.
//!
//! `proto/` holds the definitions, one file for each service; [`content`], [`images`] and so on are what is generated
//! from them, each with a client and a server module. Maps are `BTreeMap`s and bytes are [`bytes::Bytes`]. Beside them:
//! [`fields`] (looking into events of any type), [`lists`] (answers of many objects), [`limits`].

pub mod fields;
pub mod limits;
pub mod lists;

#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; what is what is said in proto/"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}

pub use generated::containerd::events as event;
pub use generated::containerd::services::content::v1 as content;
pub use generated::containerd::services::diff::v1 as diff;
pub use generated::containerd::services::events::v1 as events;
pub use generated::containerd::services::images::v1 as images;
pub use generated::containerd::services::introspection::v1 as introspection;
pub use generated::containerd::services::leases::v1 as leases;
pub use generated::containerd::services::namespaces::v1 as namespaces;
pub use generated::containerd::services::snapshots::v1 as snapshots;
pub use generated::containerd::services::streaming::v1 as streaming;
pub use generated::containerd::services::transfer::v1 as transfer;
pub use generated::containerd::services::version::v1 as version;
pub use generated::containerd::types;
pub use generated::containerd::types::transfer as transfer_types;
pub use generated::google::rpc;
pub use generated::grpc::health::v1 as health;
pub use generated::transom::plugins::v1 as plugins;

/// All messages and services, as an encoded `google.protobuf.FileDescriptorSet`.
#[must_use]
pub fn descriptors() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))
}

/// Every method, as `<package>.<Service>/<Method>`.
#[must_use]
pub fn methods() -> Vec<String> {
    let services = fields::pool().services();
    services
        .flat_map(|service| {
            let methods = service.methods();
            methods
                .map(|method| format!("{}/{}", service.full_name(), method.name()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The name of the metadata header that carries the namespace.
pub const NAMESPACE_HEADER: &str = "containerd-namespace";

/// The name of the metadata header that carries the lease.
pub const LEASE_HEADER: &str = "containerd-lease";
