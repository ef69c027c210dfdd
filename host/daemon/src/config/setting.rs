//! What each kind of value looks like in the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use toml::de::DeValue;
use transom_meta::kv::Kind;
use transom_meta::metadata::Sharing;
use transom_plugin::config::Value;

use super::{LogFormat, LogLevel, Snapshotter};

/// A kind of value.
pub(super) trait Setting: Sized {
    /// Reads it, or says what it must be.
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

impl Setting for bool {
    fn read(value: &DeValue<'_>) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| "true or false".to_owned())
    }
}

impl Setting for u64 {
    fn read(value: &DeValue<'_>) -> Result<u64, String> {
        whole(value).ok_or_else(|| "a whole number, 0 or more".to_owned())
    }
}

impl Setting for u32 {
    fn read(value: &DeValue<'_>) -> Result<u32, String> {
        let number = whole(value).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| format!("a number from 0 to {}", u32::MAX))
    }
}

impl Setting for Option<u32> {
    fn read(value: &DeValue<'_>) -> Result<Option<u32>, String> {
        u32::read(value).map(Some)
    }
}

impl Setting for String {
    fn read(value: &DeValue<'_>) -> Result<String, String> {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| "a text in quotes".to_owned())
    }
}

impl Setting for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<PathBuf, String> {
        let path = value.as_str().map(Path::new);
        path.filter(|path| path.is_absolute())
            .map(Path::to_path_buf)
            .ok_or_else(|| "an absolute path in quotes".to_owned())
    }
}

impl Setting for Option<PathBuf> {
    fn read(value: &DeValue<'_>) -> Result<Option<PathBuf>, String> {
        match value.as_str() {
            Some("") => Ok(None),
            _ => PathBuf::read(value).map(Some),
        }
    }
}

impl Setting for Value {
    fn read(value: &DeValue<'_>) -> Result<Value, String> {
        let read = match value {
            DeValue::Boolean(value) => Some(Value::Boolean(*value)),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(Value::Integer),
            DeValue::Float(number) => number.as_str().parse().ok().map(Value::Number),
            DeValue::String(text) => Some(Value::Text(text.to_string())),
            DeValue::Array(_) => Vec::<String>::read(value).ok().map(Value::Texts),
            _ => None,
        };
        read.ok_or_else(|| "a text, a number, true, false, or a list of texts".to_owned())
    }
}

impl Setting for Option<SocketAddr> {
    fn read(value: &DeValue<'_>) -> Result<Option<SocketAddr>, String> {
        match value.as_str() {
            Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| address()),
            None => Err(address()),
        }
    }
}

impl Setting for Option<http::Uri> {
    fn read(value: &DeValue<'_>) -> Result<Option<http::Uri>, String> {
        let expected = || {
            "a collector's address in quotes, such as \"http://127.0.0.1:4317\", or \"\" for none".to_owned()
        };
        match value.as_str() {
            Some("") => Ok(None),
            Some(text) => {
                let address = text.parse().ok().filter(|address: &http::Uri| {
                    address.scheme_str() == Some("http") && address.authority().is_some()
                });
                address.map(Some).ok_or_else(expected)
            }
            None => Err(expected()),
        }
    }
}

fn address() -> String {
    "an IP address and port in quotes, such as \"127.0.0.1:9090\", or \"\" for none".to_owned()
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &DeValue<'_>) -> Result<Vec<T>, String> {
        let array = value.as_array().ok_or_else(|| "a list, [ … ]".to_owned())?;
        let read = |(index, item): (usize, &toml::Spanned<DeValue<'_>>)| {
            T::read(item.get_ref())
                .map_err(|expected| format!("a list whose item {} is {expected}", index + 1))
        };
        array.iter().enumerate().map(read).collect()
    }
}

impl Setting for Duration {
    fn read(value: &DeValue<'_>) -> Result<Duration, String> {
        let expected = || "a time in quotes, such as \"100ms\", \"30s\" or \"1h30m\"".to_owned();
        value.as_str().and_then(duration).ok_or_else(expected)
    }
}

impl Setting for LogLevel {
    fn read(value: &DeValue<'_>) -> Result<LogLevel, String> {
        named(value)
    }
}

impl Setting for LogFormat {
    fn read(value: &DeValue<'_>) -> Result<LogFormat, String> {
        named(value)
    }
}

impl Setting for Kind {
    fn read(value: &DeValue<'_>) -> Result<Kind, String> {
        let read = value.as_str().and_then(|name| name.parse().ok());
        read.ok_or_else(|| {
            format!(
                "one of {}",
                Kind::ALL.map(|kind| format!("{:?}", kind.name())).join(", ")
            )
        })
    }
}

impl Setting for Snapshotter {
    fn read(value: &DeValue<'_>) -> Result<Snapshotter, String> {
        let read = value.as_str().and_then(|name| name.parse().ok());
        read.ok_or_else(|| {
            let names = Snapshotter::ALL.map(|known| format!("{:?}", known.name()));
            format!("one of {}", names.join(", "))
        })
    }
}

impl Setting for Sharing {
    fn read(value: &DeValue<'_>) -> Result<Sharing, String> {
        match value.as_str() {
            Some("shared") => Ok(Sharing::Shared),
            Some("isolated") => Ok(Sharing::Isolated),
            _ => Err("\"shared\" or \"isolated\"".to_owned()),
        }
    }
}

/// A text that says something.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) String);

impl Setting for Text {
    fn read(value: &DeValue<'_>) -> Result<Text, String> {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(|text| Text(text.to_owned()))
            .ok_or_else(|| "a text in quotes that is not empty".to_owned())
    }
}

/// A variable of an environment.
#[derive(Debug)]
pub(super) struct Pair(pub(super) (String, String));

impl Setting for Pair {
    fn read(value: &DeValue<'_>) -> Result<Pair, String> {
        let pair = value.as_str().and_then(|text| text.split_once('='));
        pair.filter(|(name, _)| !name.is_empty())
            .map(|(name, value)| Pair((name.to_owned(), value.to_owned())))
            .ok_or_else(|| "a text of the form \"NAME=VALUE\"".to_owned())
    }
}

/// The names of differs, in order.
#[derive(Debug)]
pub(super) struct Differs(pub(super) Vec<String>);

impl Setting for Differs {
    fn read(value: &DeValue<'_>) -> Result<Differs, String> {
        let names = Vec::<String>::read(value)?;
        if names.is_empty() || names.iter().any(|name| name != transom_diff::WALKING) {
            return Err(format!(
                "a list of differs, of which there is {:?}",
                transom_diff::WALKING
            ));
        }
        Ok(Differs(names))
    }
}

/// Permissions.
#[derive(Debug)]
pub(super) struct Mode(pub(super) u32);

impl Setting for Mode {
    fn read(value: &DeValue<'_>) -> Result<Mode, String> {
        let mode = match value {
            DeValue::String(text) => u32::from_str_radix(text, 8).ok(),
            DeValue::Integer(number) if number.radix() == 8 => u32::from_str_radix(number.as_str(), 8).ok(),
            _ => None,
        };
        let mode = mode.filter(|mode| *mode <= 0o777);
        mode.map(Mode)
            .ok_or_else(|| "permissions in octal, such as \"0660\"".to_owned())
    }
}

/// A share, up to `1 / PARTS`.
#[derive(Debug)]
pub(super) struct Share<const PARTS: u32>(pub(super) f64);

impl<const PARTS: u32> Setting for Share<PARTS> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let most = 1.0 / f64::from(PARTS);
        let text = match value {
            DeValue::Float(number) => Some(number.as_str()),
            DeValue::Integer(number) => Some(number.as_str()),
            _ => None,
        };
        let share = text.and_then(|text| text.parse().ok());
        let share = share.filter(|share| (0.0..=most).contains(share));
        share
            .map(Share)
            .ok_or_else(|| format!("a number from 0 to {most}"))
    }
}

/// How many of something, at least one.
#[derive(Debug)]
pub(super) struct Count(pub(super) usize);

impl Setting for Count {
    fn read(value: &DeValue<'_>) -> Result<Count, String> {
        let count = whole(value).and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=crate::limits::AT_ONCE).contains(count));
        count
            .map(Count)
            .ok_or_else(|| format!("a whole number from 1 to {}", crate::limits::AT_ONCE))
    }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn named<T: ValueEnum>(value: &DeValue<'_>) -> Result<T, String> {
    let read = value.as_str().and_then(|text| T::from_str(text, false).ok());
    read.ok_or_else(|| {
        let names = T::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|name| format!("{:?}", name.get_name())).collect();
        format!("one of {}", names.join(", "))
    })
}

/// Reads `1h30m`: numbers with units, from large to small or not, as Go does.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total = total.checked_add(unit_of(&rest[..unit])?.checked_mul(number)?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

fn unit_of(name: &str) -> Option<Duration> {
    Some(match name {
        "ns" => Duration::from_nanos(1),
        "us" | "µs" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return None,
    })
}
