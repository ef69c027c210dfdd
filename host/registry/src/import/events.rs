//! `notifications`.

use std::collections::BTreeSet;

use super::tree::{Node, Value};
use super::work::Work;
use crate::notify::limits;

/// Where events wait; docker-registry has no such folder.
const STATE: &str = "/var/lib/transom/registry";

pub(super) fn translate(work: &mut Work) {
    let references = work.switch("notifications.events.includereferences");
    let Some(Node { value, origin }) = work.take("notifications.endpoints") else {
        return;
    };
    let Value::List(endpoints) = value else {
        work.note("notifications.endpoints", &origin, "it must be a list", true);
        return;
    };
    let mut names = BTreeSet::new();
    let mut translated = toml::value::Array::new();
    for (index, node) in endpoints.into_iter().enumerate() {
        let path = format!("notifications.endpoints.{index}");
        let mut inner = Work::new(node);
        name(&mut inner, index, &mut names);
        endpoint(&mut inner, references);
        let (table, left) = inner.into_parts();
        translated.push(table.into());
        for mut entry in left {
            entry.key = format!("{path}.{}", entry.key);
            work.untranslated.push(entry);
        }
    }
    if !translated.is_empty() {
        work.put("state", STATE);
        work.put("notifications", translated);
    }
}

/// A name of its own that can be the name of an endpoint here.
fn name(work: &mut Work, index: usize, taken: &mut BTreeSet<String>) {
    let node = work.take("name");
    let given = node.as_ref().and_then(Node::as_text).unwrap_or_default();
    let fits = |c: char| if c == '/' || c.is_control() { '-' } else { c };
    let mut name: String = given.chars().map(fits).collect();
    if name.is_empty() || name.len() > limits::NAME_BYTES || taken.contains(&name) {
        name = format!("endpoint-{index}");
    }
    while !taken.insert(name.clone()) {
        name.push('x');
    }
    if let Some(node) = node.filter(|_| name != given) {
        let reason = format!("the name cannot be used, or is another endpoint's; it is {name:?} now");
        work.note("name", &node.origin, reason, true);
    }
    work.put("name", name);
}

fn endpoint(work: &mut Work, references: Option<bool>) {
    let url = work.text("url");
    work.put_some("url", url);
    if work.switch("disabled") == Some(true) {
        work.put("disabled", true);
    }
    for header in work.keys("headers") {
        let values = work.take_in("headers", &header).and_then(|node| node.as_texts());
        work.put_in("headers", &header, values);
    }
    for key in ["timeout", "backoff"] {
        let period = work.period(key).filter(|period| !period.0.is_zero());
        work.put_some(key, period);
    }
    let threshold = work.integer("threshold").filter(|&number| number > 0);
    work.put_some("threshold", threshold);
    let mut media_types = work.texts("ignoredmediatypes").unwrap_or_default();
    media_types.extend(work.texts("ignore.mediatypes").unwrap_or_default());
    if !media_types.is_empty() {
        work.put("ignore.media_types", media_types);
    }
    let actions = work.texts("ignore.actions");
    work.put_some("ignore.actions", actions);
    if references == Some(true) {
        work.put("include_references", true);
    }
}
