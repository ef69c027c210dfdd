//! What is sent: docker-registry's envelope, `application/vnd.docker.distribution.events.v2+json`.

use std::time::SystemTime;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use transom_content::timestamp;
use transom_oci::Descriptor;

use super::limits;
use crate::event::{self, Action};

/// The envelope's media type.
pub const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v2+json";

/// Which registry tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The name of the machine, with the port.
    #[serde(rename = "addr", skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// A name for this run of the program.
    #[serde(rename = "instanceID", skip_serializing_if = "String::is_empty")]
    pub instance: String,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    timestamp: String,
    action: &'static str,
    target: Target<'a>,
    request: Request<'a>,
    actor: Actor<'a>,
    source: &'a Source,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    references: &'a [Descriptor],
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    addr: String,
    host: &'a str,
    method: &'a str,
    useragent: &'a str,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// An event as JSON.
pub(super) fn event(event: &event::Event, id: &str, source: &Source, include_references: bool) -> Bytes {
    let references: &[Descriptor] = match include_references {
        true => &event.target.references,
        false => &[],
    };
    let text = encode(event, id, source, references);
    if text.len() <= limits::EVENT_BYTES {
        return text;
    }
    encode(event, id, source, &[])
}

fn encode(event: &event::Event, id: &str, source: &Source, references: &[Descriptor]) -> Bytes {
    let target = &event.target;
    let request = &event.request;
    let event = Event {
        id,
        timestamp: timestamp::format(event.at),
        action: match event.action {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Mount => "mount",
            Action::Delete => "delete",
        },
        target: Target {
            media_type: target.media_type.as_deref(),
            digest: target.digest.as_ref().map(transom_oci::Digest::as_str),
            size: target.size,
            length: target.size,
            repository: target.repository.as_str(),
            from_repository: target.from.as_ref().map(crate::names::RepositoryName::as_str),
            url: url(event),
            tag: target.tag.as_ref().map(crate::names::Tag::as_str),
            references,
        },
        request: Request {
            id: &request.id,
            addr: request.address.to_string(),
            host: &request.host,
            method: &request.method,
            useragent: &request.user_agent,
        },
        actor: Actor {
            name: event.actor.name.as_deref(),
        },
        source,
    };
    // These structures have no map and nothing else that JSON cannot say.
    serde_json::to_vec(&event).unwrap_or_default().into()
}

/// Where the content is. What was deleted is nowhere.
fn url(event: &event::Event) -> Option<String> {
    let target = &event.target;
    let digest = target
        .digest
        .as_ref()
        .filter(|_| event.action != Action::Delete)?;
    let manifest = target.tag.is_some()
        || !target.references.is_empty()
        || target.media_type.as_deref().is_some_and(is_manifest);
    let kind = if manifest { "manifests" } else { "blobs" };
    let scheme = if event.request.secure { "https" } else { "http" };
    let (host, repository) = (&event.request.host, &target.repository);
    Some(format!("{scheme}://{host}/v2/{repository}/{kind}/{digest}"))
}

fn is_manifest(media_type: &str) -> bool {
    let name = media_type.split([';', '+']).next().unwrap_or_default();
    name.contains(".manifest.") || name.contains(".index.")
}

/// Several events as one body.
pub(super) fn envelope<'a>(events: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut body = b"{\"events\":[".to_vec();
    for (index, event) in events.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// A random name for an event: a UUID of version 4 (RFC 9562).
pub(super) fn id(random: &SystemRandom, at: SystemTime) -> String {
    let mut bytes = [0; 16];
    if random.fill(&mut bytes).is_err() {
        // Without random numbers the time must do: receivers only compare.
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        bytes = since.as_nanos().to_be_bytes();
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::names::{RepositoryName, Tag};

    fn pushed() -> event::Event {
        event::Event {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
            action: Action::Push,
            target: event::Target {
                repository: RepositoryName::new("team/app").unwrap(),
                from: None,
                digest: Some(format!("sha256:{}", "0".repeat(64)).parse().unwrap()),
                tag: Some(Tag::new("v1").unwrap()),
                media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
                size: Some(7),
                references: Vec::new(),
            },
            actor: crate::access::Actor {
                name: Some("alice".to_owned()),
            },
            request: event::Request {
                id: "r1".to_owned(),
                address: "10.0.0.1:4000".parse().unwrap(),
                host: "reg.example:5000".to_owned(),
                secure: true,
                method: "PUT".to_owned(),
                user_agent: "test/1".to_owned(),
            },
        }
    }

    #[test]
    fn an_event_has_docker_registrys_fields() {
        let source = Source {
            address: "node:5000".to_owned(),
            instance: "i".to_owned(),
        };
        let digest = format!("sha256:{}", "0".repeat(64));
        let text = event(&pushed(), "e1", &source, true);
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "id": "e1",
                "timestamp": "2023-11-14T22:13:20.5Z",
                "action": "push",
                "target": {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digest,
                    "size": 7,
                    "length": 7,
                    "repository": "team/app",
                    "url": format!("https://reg.example:5000/v2/team/app/manifests/{digest}"),
                    "tag": "v1",
                },
                "request": {
                    "id": "r1",
                    "addr": "10.0.0.1:4000",
                    "host": "reg.example:5000",
                    "method": "PUT",
                    "useragent": "test/1",
                },
                "actor": {"name": "alice"},
                "source": {"addr": "node:5000", "instanceID": "i"},
            })
        );
    }

    #[test]
    fn references_are_told_if_they_are_wanted_and_not_too_many() {
        let mut pushed = pushed();
        let layer: Descriptor = serde_json::from_value(serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{}", "1".repeat(64)), "size": 1
        }))
        .unwrap();
        pushed.target.references = vec![layer; 2];
        let references = |event: &event::Event, wanted| {
            let text = super::event(event, "e", &Source::default(), wanted);
            let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
            read["target"]["references"].as_array().map(Vec::len)
        };
        assert_eq!(references(&pushed, true), Some(2));
        assert_eq!(references(&pushed, false), None);
        pushed.target.references = vec![pushed.target.references[0].clone(); 5000];
        assert_eq!(references(&pushed, true), None);
    }

    #[test]
    fn what_is_deleted_has_no_address() {
        let mut event = pushed();
        assert!(url(&event).unwrap().contains("/manifests/"));
        event.target.tag = None;
        event.target.media_type = Some("application/octet-stream".to_owned());
        event.request.secure = false;
        assert!(
            url(&event)
                .unwrap()
                .starts_with("http://reg.example:5000/v2/team/app/blobs/sha256:")
        );
        event.action = Action::Delete;
        assert_eq!(url(&event), None);
    }

    #[test]
    fn envelopes_and_ids() {
        let events: [&[u8]; 2] = [b"{}", b"1"];
        assert_eq!(envelope(events.into_iter()), "{\"events\":[{},1]}");
        let random = SystemRandom::new();
        let (a, b) = (id(&random, SystemTime::now()), id(&random, SystemTime::now()));
        assert_ne!(a, b);
        assert_eq!((a.len(), a.as_bytes()[14], a.matches('-').count()), (36, b'4', 4));
    }
}
