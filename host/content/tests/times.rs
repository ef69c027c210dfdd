//! Go's time text, both ways.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use transom_content::timestamp::{format, parse};

fn at(seconds: u64, nanos: u32) -> SystemTime {
    UNIX_EPOCH + Duration::new(seconds, nanos)
}

#[test]
fn known_texts() {
    let cases = [
        (at(0, 0), "1970-01-01T00:00:00Z"),
        (at(1_136_239_445, 0), "2006-01-02T22:04:05Z"),
        (at(1_136_239_445, 123_456_789), "2006-01-02T22:04:05.123456789Z"),
        (at(951_782_400, 500_000_000), "2000-02-29T00:00:00.5Z"),
        (at(1_709_164_800, 1), "2024-02-29T00:00:00.000000001Z"),
        (at(4_107_542_399, 0), "2100-02-28T23:59:59Z"),
        (at(4_107_542_400, 0), "2100-03-01T00:00:00Z"),
        (at(253_402_300_799, 999_999_999), "9999-12-31T23:59:59.999999999Z"),
        (UNIX_EPOCH - Duration::new(0, 1), "1969-12-31T23:59:59.999999999Z"),
        (
            UNIX_EPOCH - Duration::from_secs(62_167_219_200),
            "0000-01-01T00:00:00Z",
        ),
    ];
    for (time, text) in cases {
        assert_eq!(format(time), text);
        assert_eq!(parse(text), Some(time), "{text}");
    }
}

#[test]
fn what_go_writes_in_other_zones() {
    let time = at(1_136_239_445, 120_000_000);
    for text in [
        "2006-01-02T15:04:05.12-07:00",
        "2006-01-03T03:34:05.12+05:30",
        "2006-01-02T22:04:05.120000000+00:00",
        "2006-01-02T22:04:05.120000000999Z",
    ] {
        assert_eq!(parse(text), Some(time), "{text}");
    }
}

#[test]
fn what_is_no_time() {
    for text in [
        "",
        "Z",
        "yesterday",
        "2006-01-02",
        "2006-01-02T22:04:05",
        "2006-01-02 22:04:05Z",
        "2006-01-02T22:04:05Z\n",
        "2006-13-02T22:04:05Z",
        "2006-00-02T22:04:05Z",
        "2006-02-29T22:04:05Z",
        "2006-02-00T22:04:05Z",
        "2006-01-02T24:04:05Z",
        "2006-01-02T22:60:05Z",
        "2006-01-02T22:04:60Z",
        "2006-01-02T22:04:05.Z",
        "2006-01-02T22:04:05.1",
        "2006-01-02T22:04:05+0700",
        "2006-01-02T22:04:05+24:00",
        "2006-01-02T22:04:05+07:60",
        "2006-01-02T22:04:05*07:00",
        "2006-01-02T2é:04:05Z",
        "+006-01-02T22:04:05Z",
    ] {
        assert_eq!(parse(text), None, "{text:?}");
    }
}

proptest! {
    /// From the year 0 to the year 9999, to the nanosecond.
    #[test]
    fn text_and_back(seconds in -62_167_219_200_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
        let time = base + Duration::new(0, nanos);
        prop_assert_eq!(parse(&format(time)), Some(time));
    }

    /// The zone shifts what the clock shows, not the time.
    #[test]
    fn zones(seconds in 0_u64..4_000_000_000, hours in -23_i64..=23, minutes in 0_i64..60) {
        let ahead = (hours.abs() * 3600 + minutes * 60) * if hours < 0 { -1 } else { 1 };
        let shown = format(at(seconds.checked_add_signed(ahead).unwrap_or(seconds), 0));
        prop_assume!(seconds.checked_add_signed(ahead).is_some());
        let sign = if hours < 0 { '-' } else { '+' };
        let text = format!("{}{sign}{:02}:{minutes:02}", shown.trim_end_matches('Z'), hours.abs());
        prop_assert_eq!(parse(&text), Some(at(seconds, 0)));
    }

    /// The days follow each other as the calendar says.
    #[test]
    fn days_follow_each_other(day in 0_u64..2_900_000) {
        let part = |text: &str, from: usize, to: usize| text[from..to].parse::<u32>().unwrap();
        let (today, tomorrow) = (format(at(day * 86_400, 0)), format(at((day + 1) * 86_400, 0)));
        let (d, next) = (part(&today, 8, 10), part(&tomorrow, 8, 10));
        prop_assert!(next == d + 1 || (next == 1 && d >= 28), "{} {}", today, tomorrow);
        prop_assert!(tomorrow > today);
    }

    /// Nothing makes it panic.
    #[test]
    fn any_text(text in ".{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn nearly_a_time(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?(Z|[+-][0-9]{2}:[0-9]{2})") {
        if let Some(time) = parse(&text) {
            // Reading it has one meaning, whatever zone it was in; a zone may carry it over the ends of what has four digits.
            let again = format(time);
            prop_assert!(parse(&again) == Some(time) || again.starts_with('-') || again.find('-') == Some(5), "{}", again);
        }
    }
}
