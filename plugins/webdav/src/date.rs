//! The one form of a date that WebDAV has: `Sun, 06 Nov 1994 08:49:37 GMT`.

use transom_sdk::Instant;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads a date; what is none is left out, as the time of a change is a courtesy.
pub(crate) fn read(text: &str) -> Option<Instant> {
    let mut words = text.split_whitespace().skip(1);
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" || !(1..=31).contains(&day) || !(1..10_000).contains(&year) {
        return None;
    }
    Some(Instant {
        seconds: days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second,
        nanoseconds: 0,
    })
}

/// Days since 1970-01-01, by the calendar in which years begin in March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Thu, 26 Nov 2026 06:00:00 GMT", 1_795_672_800),
        ] {
            assert_eq!(read(text).map(|instant| instant.seconds), Some(seconds), "{text}");
        }
        for none in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
