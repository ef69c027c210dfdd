//! How much CPU time was used, for reports and limits.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// The CPU time, user and system, that the calling thread has used since it began.
pub fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// The CPU time, user and system, that all threads of this process have used since it began.
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}
