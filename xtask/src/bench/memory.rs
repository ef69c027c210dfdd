//! The memory of the machine itself.

/// Bytes that a run may fill: an image's blob, its files, and what was there before.
const WARM: usize = 3 << 30;

/// The size of a page.
const PAGE: usize = 4096;

/// Has a virtual machine's memory ready for what is measured next. What was freed is given back to its host, and the first to
/// touch a page again waits for the host to find and clear one: up to two seconds of CPU time for each gigabyte, which would be
/// counted as that of whoever writes next.
pub(crate) fn warm() {
    let mut memory = vec![0_u8; WARM];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    drop(std::hint::black_box(memory));
}
