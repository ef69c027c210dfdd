//! Points in time: as messages, as text for programs, as ages for people.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use transom_content::timestamp;

use crate::show;

/// The first second of year 1, which is what Go's zero time is sent as.
const GO_ZERO: i64 = -62_135_596_800;

/// As the clock of this machine has it; `None` if it is absent or before or after all that can be.
pub(crate) fn system(time: Option<&Timestamp>) -> Option<SystemTime> {
    let known = time.filter(|time| time.seconds != GO_ZERO)?;
    SystemTime::try_from(*known).ok()
}

/// RFC 3339 in UTC.
pub(crate) fn text(time: Option<&Timestamp>) -> Option<String> {
    system(time).map(timestamp::format)
}

/// How long ago it was, or `-`.
pub(crate) fn age(time: Option<&Timestamp>) -> String {
    system(time).map_or_else(|| "-".to_owned(), show::age)
}

/// How long until a time that a label says: `3 hours`, `over`, or `-` if it says none.
pub(crate) fn until(label: Option<&String>) -> String {
    let Some(end) = label.and_then(|text| timestamp::parse(text)) else {
        return "-".to_owned();
    };
    match end.duration_since(SystemTime::now()) {
        Ok(left) => show::span(left),
        Err(_) => "over".to_owned(),
    }
}

/// Now and some time, as labels have it.
pub(crate) fn after(span: Duration) -> Option<String> {
    SystemTime::now().checked_add(span).map(timestamp::format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_never_set_is_none() {
        assert_eq!(text(None), None);
        let zero = Timestamp {
            seconds: GO_ZERO,
            nanos: 0,
        };
        assert_eq!(text(Some(&zero)), None);
        assert_eq!(age(Some(&zero)), "-");
        let second = Timestamp {
            seconds: 1,
            nanos: 500_000_000,
        };
        assert_eq!(text(Some(&second)).as_deref(), Some("1970-01-01T00:00:01.5Z"));
    }

    #[test]
    fn ends_are_said_as_what_is_left() {
        assert_eq!(until(None), "-");
        assert_eq!(until(Some(&"soon".to_owned())), "-");
        assert_eq!(until(Some(&"1970-01-01T00:00:00Z".to_owned())), "over");
        assert_eq!(until(after(Duration::from_secs(7300)).as_ref()), "2 hours");
    }
}
