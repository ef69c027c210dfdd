//! Where a processor meets the host: only in a WebAssembly build, and only through [`register_processor!`].
//!
//! [`register_processor!`]: crate::register_processor

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod convert;
#[cfg(target_arch = "wasm32")]
mod streams;

#[cfg(target_arch = "wasm32")]
pub use component::{Component, bindings};

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
