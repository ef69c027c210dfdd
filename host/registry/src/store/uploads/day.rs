//! The days that uploads are kept by.

use std::fmt;
use std::time::{Duration, SystemTime};

use transom_content::timestamp;

const SECONDS: u64 = 24 * 3600;

/// A day of UTC, written as `2026-01-02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(u64);

impl Day {
    /// The day of a moment.
    pub(crate) fn of(time: SystemTime) -> Day {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Day(since.as_secs() / SECONDS)
    }

    /// Reads one.
    pub(crate) fn read(text: &str) -> Option<Day> {
        let day = Day::of(timestamp::parse(&format!("{text}T00:00:00Z"))?);
        (day.to_string() == text).then_some(day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.0.saturating_mul(SECONDS)));
        let text = timestamp::format(time.unwrap_or(SystemTime::UNIX_EPOCH));
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_written() {
        let day = Day::read("2024-02-29").unwrap();
        assert_eq!(day.to_string(), "2024-02-29");
        assert_eq!(Day::of(SystemTime::UNIX_EPOCH).to_string(), "1970-01-01");
        assert!(day > Day::read("2023-12-31").unwrap());
        for text in [
            "",
            "2024-2-29",
            "2024-02-30",
            "x",
            "5b3b9bbf-dd4a-4a10-8a5c-6a4ec3c3a2aa",
        ] {
            assert_eq!(Day::read(text), None, "{text}");
        }
    }
}
