//! Cross-crate tests and what they share: sample images, tree comparison.
