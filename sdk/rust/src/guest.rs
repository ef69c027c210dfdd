//! Where a plugin meets the host: only in a WebAssembly build, and only through [`register_processor!`], [`register_filter!`] or
//! [`register_driver!`].
//!
//! [`register_processor!`]: crate::register_processor
//! [`register_filter!`]: crate::register_filter
//! [`register_driver!`]: crate::register_driver

/// The standard library's allocator, of a later version: it begins with the memory that a component has, which the linker makes large
/// enough for most jobs. One that grows for each job has the host change the protection of pages twice, and other cores wait
/// for that.
#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod convert;
#[cfg(target_arch = "wasm32")]
pub(crate) mod documents;
#[cfg(target_arch = "wasm32")]
pub(crate) mod driver;
#[cfg(target_arch = "wasm32")]
mod filter;
#[cfg(target_arch = "wasm32")]
pub(crate) mod keys;
#[cfg(target_arch = "wasm32")]
mod streams;

#[cfg(target_arch = "wasm32")]
pub use component::{Component, bindings};
#[cfg(target_arch = "wasm32")]
pub use driver::{DriverComponent, bindings as driver_bindings};
#[cfg(target_arch = "wasm32")]
pub use filter::{FilterComponent, bindings as filter_bindings};

/// Makes a component of a [`Processor`](crate::Processor). Use it once in a crate of type `cdylib`.
///
/// Natively it only checks that the type is a processor.
#[macro_export]
macro_rules! register_processor {
    ($processor:ty) => {
        const _: () = {
            const fn is_processor<P: $crate::Processor>() {}
            is_processor::<$processor>();
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::guest::Component<$processor>;
    $crate::guest::bindings::export!(Component with_types_in $crate::guest::bindings);
        };
    };
}

/// Makes a component of a [`Filter`](crate::Filter). Use it once in a crate of type `cdylib`.
///
/// Natively it only checks that the type is a filter.
#[macro_export]
macro_rules! register_filter {
    ($filter:ty) => {
        const _: () = {
            const fn is_filter<F: $crate::Filter>() {}
            is_filter::<$filter>();
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::guest::FilterComponent<$filter>;
    $crate::guest::filter_bindings::export!(Component with_types_in $crate::guest::filter_bindings);
        };
    };
}

/// Makes a component of a [`Driver`](crate::storage::Driver). Use it once in a crate of type `cdylib`.
///
/// Natively it only checks that the type is a driver.
#[macro_export]
macro_rules! register_driver {
    ($driver:ty) => {
        const _: () = {
            const fn is_driver<D: $crate::storage::Driver>() {}
            is_driver::<$driver>();
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::guest::DriverComponent<$driver>;
    $crate::guest::driver_bindings::export!(Component with_types_in $crate::guest::driver_bindings);
        };
    };
}
