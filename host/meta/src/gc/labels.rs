//! The labels by which an object keeps others, is kept by others, or expires.

use std::ops::Bound;
use std::time::{Duration, SystemTime};

use transom_content::timestamp;

use crate::names::{self, Labels, Namespace};
use crate::{Node, leases};

/// Keeps the object for ever, whatever its value.
pub(crate) const ROOT: &str = "containerd.io/gc.root";
/// Until when a lease or an image is a root.
pub(crate) const EXPIRE: &str = "containerd.io/gc.expire";
/// On a lease: keep its resources, and not what their labels name.
pub(crate) const FLAT: &str = "containerd.io/gc.flat";

const REFERENCE: &str = "containerd.io/gc.ref.";
const BACK_REFERENCE: &str = "containerd.io/gc.bref.";
const CONDITION: &str = "containerd.io/gc.cond.snapshot";
const USED_AT: &str = "containerd.io/gc.cond.value-usedat";

/// What an object with these labels keeps.
pub(crate) fn references(namespace: &Namespace, labels: &Labels) -> Vec<Node> {
    named(REFERENCE, namespace, labels)
}

/// What keeps an object with these labels for as long as it is kept itself.
pub(crate) fn back_references(namespace: &Namespace, labels: &Labels) -> Vec<Node> {
    named(BACK_REFERENCE, namespace, labels)
}

fn named(prefix: &str, namespace: &Namespace, labels: &Labels) -> Vec<Node> {
    let labels = starting_with(labels, prefix);
    let node = |(key, value): (&str, &str)| node(namespace, key, value);
    labels.filter_map(node).collect()
}

/// The labels with this prefix, without it.
fn starting_with<'a>(labels: &'a Labels, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    labels
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
        .filter(|(_, value)| !value.is_empty())
}

/// What `key` (`content.l.0`, `snapshot.overlayfs/x`) and its value name.
fn node(namespace: &Namespace, key: &str, value: &str) -> Option<Node> {
    let namespace = namespace.clone();
    if let Some(rest) = key.strip_prefix("snapshot.") {
        let snapshotter = rest.split('/').next().unwrap_or_default();
        return Some(Node::Snapshot(
            namespace,
            snapshotter.to_owned(),
            value.to_owned(),
        ));
    }
    let (kind, _) = key.split_once(['.', '/']).unwrap_or((key, ""));
    Some(match kind {
        "content" => Node::Content(namespace, names::digest(value).ok()?),
        "image" => Node::Image(namespace, value.to_owned()),
        "container" => Node::Other(namespace, "container", value.to_owned()),
        "stream" => Node::Other(namespace, "stream", value.to_owned()),
        "mount" => Node::Other(namespace, "mount", value.to_owned()),
        _ => return None,
    })
}

/// A reference that counts only while the snapshot that it names meets one of some conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conditional {
    /// The snapshot.
    pub(crate) target: Node,
    /// One of them must hold.
    pub(crate) any: Vec<Used>,
}

/// How long ago a snapshot was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// Less than this.
    Within(Duration),
    /// More than this.
    Before(Duration),
}

impl Conditional {
    /// Whether it counts, if the snapshot says that it was used at that time.
    pub(crate) fn holds(&self, used: Option<SystemTime>, now: SystemTime) -> bool {
        let Some(used) = used else {
            return false;
        };
        // A time in the future is less than any time ago.
        let ago = now.duration_since(used);
        self.any.iter().any(|condition| match (condition, &ago) {
            (Used::Within(limit), Ok(ago)) => ago < limit,
            (Used::Within(_), Err(_)) => true,
            (Used::Before(limit), Ok(ago)) => ago > limit,
            (Used::Before(_), Err(_)) => false,
        })
    }
}

/// The conditional references of an object. Conditions that cannot be read never hold.
pub(crate) fn conditionals(namespace: &Namespace, labels: &Labels) -> Vec<Conditional> {
    let read = |(key, value): (&str, &str)| {
        let key = key.trim_start_matches(['.', '/']);
        let snapshotter = key.split('/').next().unwrap_or_default();
        let (conditions, snapshot) = value.split_once('|')?;
        let any: Vec<Used> = conditions.split(',').filter_map(used).collect();
        let target = Node::Snapshot(namespace.clone(), snapshotter.to_owned(), snapshot.to_owned());
        (!any.is_empty()).then_some(Conditional { target, any })
    };
    starting_with(labels, CONDITION).filter_map(read).collect()
}

fn used(condition: &str) -> Option<Used> {
    let rest = condition.strip_prefix("usedat")?;
    if let Some(limit) = rest.strip_prefix('<') {
        return Some(Used::Within(duration(limit)?));
    }
    Some(Used::Before(duration(rest.strip_prefix('>')?)?))
}

/// When a snapshot with these labels was last used, for conditions.
pub(crate) fn used_at(labels: &Labels) -> Option<SystemTime> {
    timestamp::parse(labels.get(USED_AT)?)
}

/// Whether an object with these labels has expired. A time that cannot be read is none.
pub(crate) fn expired(labels: &Labels, now: SystemTime) -> bool {
    let until = labels.get(EXPIRE).and_then(|until| timestamp::parse(until));
    until.is_some_and(|until| now > until)
}

/// What a resource of a lease names; none if it names nothing that can be kept.
pub(crate) fn resource(namespace: &Namespace, kind: &str, id: &str) -> Option<Node> {
    let namespace = namespace.clone();
    Some(match kind {
        leases::CONTENT => Node::Content(namespace, names::digest(id).ok()?),
        leases::IMAGES => Node::Image(namespace, id.to_owned()),
        leases::INGESTS => Node::Ingest(namespace, id.to_owned()),
        _ => {
            let snapshotter = kind.strip_prefix(leases::SNAPSHOTS)?.strip_prefix('/')?;
            Node::Snapshot(namespace, snapshotter.to_owned(), id.to_owned())
        }
    })
}

/// Reads a duration as Go writes it: `1h30m`, `1.5h`, `500ms`, `0`. None that is negative.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total = total.checked_add(amount(number, unit)?)?;
        rest = tail;
    }
    Some(total)
}

fn amount(number: &str, unit: &str) -> Option<Duration> {
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let read = |digits: &str| {
        if digits.is_empty() {
            Some(0)
        } else {
            digits.parse::<u64>().ok()
        }
    };
    let mut sum = read(whole)?.checked_mul(nanos)?;
    // More digits than a nanosecond of an hour has say nothing.
    let fraction = fraction.get(..fraction.len().min(13))?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(read(fraction)?) * u128::from(nanos) / scale;
    sum = sum.checked_add(u64::try_from(part).ok()?)?;
    Some(Duration::from_nanos(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_oci::{Algorithm, Digest};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |(key, value): &(&str, &str)| (format!("containerd.io/gc.{key}"), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn labels_name_what_they_keep() {
        let ns = Namespace::new("ns").expect("a name");
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let content = Node::Content(ns.clone(), digest.clone());
        let image = Node::Image(ns.clone(), "i".to_owned());
        let snapshot = Node::Snapshot(ns.clone(), "overlayfs".to_owned(), "k".to_owned());
        let digest = digest.to_string();
        for (key, value, wanted) in [
            ("content", &*digest, Some(&content)),
            ("content.l.0", &digest, Some(&content)),
            ("content/x", &digest, Some(&content)),
            ("contentfoo", &digest, None),
            ("content-x", &digest, None),
            ("content", "no digest", None),
            ("content", "", None),
            ("image", "i", Some(&image)),
            ("image.x", "i", Some(&image)),
            ("image/x", "i", Some(&image)),
            ("imagex", "i", None),
            ("snapshot.overlayfs", "k", Some(&snapshot)),
            ("snapshot.overlayfs/x", "k", Some(&snapshot)),
            ("snapshot", "k", None),
            ("snapshot/overlayfs", "k", None),
            ("other", "k", None),
        ] {
            let wanted: Vec<Node> = wanted.cloned().into_iter().collect();
            let of = |prefix: &str| labels(&[(&format!("{prefix}.{key}"), value)]);
            assert_eq!(references(&ns, &of("ref")), wanted, "{key}={value}");
            assert_eq!(back_references(&ns, &of("bref")), wanted, "{key}={value}");
            assert_eq!(references(&ns, &of("bref")), [], "{key}={value}");
        }
    }

    #[test]
    fn conditions_are_alternatives() {
        let ns = Namespace::new("ns").expect("a name");
        let now = SystemTime::now();
        let hours = |hours: u64| now.checked_sub(Duration::from_secs(3600 * hours));
        let snapshot = Node::Snapshot(ns.clone(), "native".to_owned(), "a|b".to_owned());
        for (value, used, wanted) in [
            ("usedat<24h|a|b", hours(23), true),
            ("usedat<24h|a|b", hours(25), false),
            ("usedat<24h|a|b", None, false),
            ("usedat>24h|a|b", hours(25), true),
            ("usedat>24h,usedat<1h30m|a|b", hours(1), true),
            ("usedat>24h,usedat<1h30m|a|b", hours(2), false),
            ("other<1h,usedat<24h|a|b", hours(2), true),
            ("usedat<=1h,usedat<9h|a|b", hours(2), true),
            ("usedat<24h|a|b", now.checked_add(Duration::from_secs(60)), true),
        ] {
            for key in ["cond.snapshot.native", "cond.snapshot.native/x"] {
                let found = conditionals(&ns, &labels(&[(key, value)]));
                assert_eq!(found.len(), 1, "{key}={value}");
                assert_eq!(found[0].target, snapshot);
                assert_eq!(found[0].holds(used, now), wanted, "{key}={value} {used:?}");
            }
        }
        for value in ["usedat<24h", "usedat=1h|a", "usedat<day|a", "|a", "usedat<|a"] {
            let found = conditionals(&ns, &labels(&[("cond.snapshot.native", value)]));
            assert_eq!(found, [], "{value}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("0", Some(0)),
            ("0ms", Some(0)),
            ("100ms", Some(100)),
            ("1.5s", Some(1500)),
            (".5s", Some(500)),
            ("1h2m3s", Some(3_723_000)),
            ("+1s", Some(1000)),
            ("0.333333333333333333333s", Some(333)),
            ("", None),
            ("1", None),
            ("-1s", None),
            (".s", None),
            ("1d", None),
            ("s", None),
            ("99999999999h", None),
        ] {
            let found = duration(text).map(|found| found.as_millis());
            assert_eq!(found, millis, "{text}");
        }
    }
}
