//! Points in time as the text that Go's `time.Time.MarshalText` writes (RFC 3339, up to nine decimals).
//!
//! containerd writes local time with an offset, this store writes UTC with `Z`; both are read. A date crate would bring
//! time zones and locales for what is one calendar computation each way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Days from 0001-01-01 to 1970-01-01.
const EPOCH_DAY: i64 = 719_162;
const DAY_SECONDS: i64 = 86_400;
/// Days before the first of each month in a common year.
const MONTH_START: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// The text of `time` in UTC: `2026-01-02T03:04:05.06Z`, with trailing zeros of the fraction left out.
///
/// Only years 0 to 9999 can be read back.
#[must_use]
pub fn format(time: SystemTime) -> String {
    let (seconds, nanos) = split(time);
    let (year, month, day) = date_of(seconds.div_euclid(DAY_SECONDS));
    let second = seconds.rem_euclid(DAY_SECONDS);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}");
    if nanos > 0 {
        let fraction = format!(".{nanos:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Reads what [`format()`] or Go wrote, with `Z` or any offset. `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, want)| bytes.get(at) != Some(&want)) {
        return None;
    }
    let (year, month, day) = (number(bytes, 0, 4)?, number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    let (h, m, s) = (
        number(bytes, 11, 2)?,
        number(bytes, 14, 2)?,
        number(bytes, 17, 2)?,
    );
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) || h > 23 || m > 59 || s > 59 {
        return None;
    }
    let (nanos, zone) = fraction(&bytes[19..])?;
    let days = days_before_year(year) + days_before_month(year, month) + day - 1 - EPOCH_DAY;
    join(days * DAY_SECONDS + h * 3600 + m * 60 + s - offset(zone)?, nanos)
}

/// `count` decimal digits at `at`.
fn number(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    let digits = bytes.get(at..at + count)?;
    digits.iter().try_fold(0, |sum, b| {
        b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))
    })
}

/// The nanoseconds in front of `rest`, and what follows them. Digits after the ninth are dropped, as Go does.
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let padded = digits[..count]
        .iter()
        .map(|b| u32::from(b - b'0'))
        .chain(std::iter::repeat(0));
    Some((
        padded.take(9).fold(0, |sum, digit| sum * 10 + digit),
        &digits[count..],
    ))
}

/// Seconds that the zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    if zone == b"Z" {
        return Some(0);
    }
    if zone.len() != 6 || zone[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(zone, 1, 2)?, number(zone, 4, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    match zone[0] {
        b'+' => Some(hours * 3600 + minutes * 60),
        b'-' => Some(-hours * 3600 - minutes * 60),
        _ => None,
    }
}

fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days from 0001-01-01 to the first of January of `year`.
fn days_before_year(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400)
}

/// Days from the first of January to the first of `month` (1 to 13).
fn days_before_month(year: i64, month: i64) -> i64 {
    let common = usize::try_from(month - 1)
        .ok()
        .and_then(|at| MONTH_START.get(at))
        .copied()
        .unwrap_or(365);
    common + i64::from(month > 2 && is_leap(year))
}

fn month_days(year: i64, month: i64) -> i64 {
    days_before_month(year, month + 1) - days_before_month(year, month)
}

/// Year, month and day of a day counted from 1970-01-01.
fn date_of(epoch_day: i64) -> (i64, i64, i64) {
    let day = epoch_day + EPOCH_DAY;
    // 400 years have 146,097 days; the estimate is off by at most one year.
    let mut year = (day * 400).div_euclid(146_097) + 1;
    while days_before_year(year) > day {
        year -= 1;
    }
    while days_before_year(year + 1) <= day {
        year += 1;
    }
    let in_year = day - days_before_year(year);
    let month = (1..=12)
        .rfind(|&month| days_before_month(year, month) <= in_year)
        .unwrap_or(1);
    (year, month, in_year - days_before_month(year, month) + 1)
}

/// Whole seconds since 1970 (rounded down) and the nanoseconds above them.
fn split(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (
            i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            after.subsec_nanos(),
        ),
        Err(e) => {
            let before = e.duration();
            let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanos => (seconds - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

fn join(seconds: i64, nanos: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds >= 0 {
        UNIX_EPOCH.checked_add(whole)
    } else {
        UNIX_EPOCH.checked_sub(whole)
    };
    base?.checked_add(Duration::new(0, nanos))
}
