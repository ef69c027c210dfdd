//! What a person types: setup, demo, test, bench, plugins.
fn main() {}
