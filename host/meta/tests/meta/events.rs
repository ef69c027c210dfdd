//! Events: topics, filters, slow subscribers, events of clients.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use transom_meta::events::{Envelope, Event, EventDecoder, Exchange, Forwarded, Subscription};
use transom_meta::filter::{
    Compiled, Facts, Fields, FilterError, FilterPlugin, FilterSource, PluginFailure, Plugins,
};
use transom_meta::limits::EVENT_QUEUE_BYTES;
use transom_meta::{Class, Labels};

use crate::records::{caller, image, labels, metadata, namespace, refused, subscribe, texts, until};

fn publish(exchange: &Exchange, space: &str, topic: &str, value: &[u8]) {
    let value = Bytes::copy_from_slice(value);
    exchange
        .publish(&namespace(space), topic, "test.Event".to_owned(), value)
        .unwrap();
}

fn listen<const N: usize>(exchange: &Exchange, filters: [&str; N]) -> Subscription {
    exchange.subscribe(&texts(filters), &Plugins::default()).unwrap()
}

async fn topics(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(subscription.next().await.unwrap().topic.clone());
    }
    topics
}

#[tokio::test]
async fn every_subscriber_gets_every_event_from_its_beginning_on() {
    let exchange = Exchange::default();
    publish(&exchange, "testing", "/before", b"0");
    let mut first = listen(&exchange, []);
    publish(&exchange, "testing", "/one", b"1");
    let mut second = listen(&exchange, [""]);
    let start = SystemTime::now();
    publish(&exchange, "other", "/two/more", b"2");
    assert_eq!(topics(&mut first, 2).await, ["/one", "/two/more"]);
    let event = second.next().await.unwrap();
    assert_eq!((event.namespace.as_str(), &*event.topic), ("other", "/two/more"));
    assert!(event.timestamp >= start && event.timestamp <= SystemTime::now());
    let foreign = Event::Foreign {
        type_url: "test.Event".to_owned(),
        value: Bytes::from_static(b"2"),
    };
    assert_eq!(event.event, foreign);

    // A subscriber that has gone is nobody's burden.
    drop(first);
    publish(&exchange, "testing", "/three", b"");
    assert_eq!(topics(&mut second, 1).await, ["/three"]);
}

#[tokio::test]
async fn a_subscriber_that_waits_is_woken() {
    let exchange = Exchange::default();
    let mut subscription = listen(&exchange, [r#"topic=="/wanted""#]);
    let waiter = tokio::spawn(async move { subscription.next().await.unwrap().topic.clone() });
    for _ in 0..100 {
        publish(&exchange, "testing", "/other", b"");
        tokio::task::yield_now().await;
    }
    publish(&exchange, "testing", "/wanted", b"");
    assert_eq!(waiter.await.unwrap(), "/wanted");
}

#[tokio::test]
async fn topics_are_checked() {
    let exchange = Exchange::default();
    let mut subscription = listen(&exchange, []);
    let component = |topic: &str, component: &str| {
        format!(
            "envelope topic {topic:?}: failed validation on component {component:?}: identifier {component:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
        )
    };
    let name = namespace("testing");
    let empty = |topic: &str| {
        format!("envelope topic {topic:?}: failed validation on component \"\": identifier must not be empty")
    };
    for (topic, wanted) in [
        ("", r#"envelope topic "": must not be empty"#.to_owned()),
        ("abc", r#"envelope topic "abc": must start with '/'"#.to_owned()),
        (
            "/",
            r#"envelope topic "/": must have at least one component"#.to_owned(),
        ),
        ("/images//create", empty("/images//create")),
        ("/images/", empty("/images/")),
        ("/images/_x", component("/images/_x", "_x")),
        ("/images/a b", component("/images/a b", "a b")),
    ] {
        let published = exchange.publish(&name, topic, String::new(), Bytes::new());
        assert_eq!(refused(published), (Class::InvalidArgument, wanted.clone()));
        let forwarded = exchange.forward(Forwarded {
            timestamp: Some(SystemTime::now()),
            namespace: "testing".to_owned(),
            topic: topic.to_owned(),
            ..Forwarded::default()
        });
        assert_eq!(refused(forwarded), (Class::InvalidArgument, wanted));
    }
    for topic in ["/test", "/images/create", "/a/b-c/d.e_f"] {
        publish(&exchange, "testing", topic, b"");
        assert_eq!(topics(&mut subscription, 1).await, [topic]);
    }
}

fn forwarded() -> Forwarded {
    Forwarded {
        timestamp: Some(SystemTime::UNIX_EPOCH),
        namespace: "elsewhere".to_owned(),
        topic: "/tasks/exit".to_owned(),
        type_url: "containerd.events.TaskExit".to_owned(),
        value: Bytes::from_static(b"\x0a\x01x"),
    }
}

#[tokio::test]
async fn forwarded_events_are_left_as_they_are() {
    let exchange = Exchange::default();
    let mut subscription = listen(&exchange, []);
    exchange.forward(forwarded()).unwrap();
    let event = subscription.next().await.unwrap();
    let wanted = forwarded();
    assert_eq!(Some(event.timestamp), wanted.timestamp);
    assert_eq!(
        (event.namespace.as_str(), &event.topic),
        (&*wanted.namespace, &wanted.topic)
    );
    let foreign = Event::Foreign {
        type_url: wanted.type_url,
        value: wanted.value,
    };
    assert_eq!(event.event, foreign);
}

#[test]
fn forwarded_events_are_checked() {
    let exchange = Exchange::default();
    let at = |timestamp| Forwarded {
        timestamp,
        ..forwarded()
    };
    let of = |namespace: &str| Forwarded {
        namespace: namespace.to_owned(),
        ..forwarded()
    };
    let zero = SystemTime::UNIX_EPOCH - Duration::from_secs(62_135_596_800);
    let unset = "timestamp must be set on forwarded event";
    let rule = r#"identifier "a b" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"#;
    for (bad, wanted) in [
        (at(None), unset),
        (at(Some(zero)), unset),
        (
            of("a b"),
            &format!("event envelope has invalid namespace: {rule}"),
        ),
        (
            of(""),
            "event envelope has invalid namespace: identifier must not be empty",
        ),
    ] {
        assert_eq!(
            refused(exchange.forward(bad)),
            (Class::InvalidArgument, wanted.to_owned())
        );
    }
}

/// A filter, and the topics of the events below that it lets through.
#[rustfmt::skip]
const SEEN: [(&str, &[&str]); 12] = [
    ("namespace==testing", &["/namespaces/create", "/images/create", "/images/delete", "/images/create"]),
    ("namespace==other", &[]),
    ("topic~=^/images/", &["/images/create", "/images/delete", "/images/create"]),
    (r#"topic=="/images/delete""#, &["/images/delete"]),
    ("event.name==a", &["/images/create", "/images/delete"]),
    ("event.name==testing,topic~=namespaces", &["/namespaces/create"]),
    ("event.labels.x.y==1", &["/images/create"]),
    (r#"event.labels."x.y"==1,namespace==testing"#, &["/images/create"]),
    ("event.labels.none", &[]),
    ("event.digest", &[]),
    ("event", &[]),
    ("timestamp", &[]),
];

#[tokio::test]
async fn filters_see_the_fields_of_events() {
    let (metadata, _dir) = metadata().await;
    let end = r#"topic=="/end""#;
    let mut subscriptions = SEEN.map(|(filter, _)| subscribe(&metadata, [filter, end]));
    let name = namespace("testing");
    metadata.create_namespace(&name, Labels::new()).await.unwrap();
    let mut new = image("a");
    new.labels = labels([("x.y", "1")]);
    metadata.create_image(&caller(), new, None).await.unwrap();
    metadata.delete_image(&caller(), "a", None).await.unwrap();
    metadata.create_image(&caller(), image("b"), None).await.unwrap();
    publish(metadata.events(), "end", "/end", b"");
    for ((filter, wanted), subscription) in SEEN.iter().zip(&mut subscriptions) {
        let events = until(subscription, "/end").await;
        let topics: Vec<_> = events.iter().map(|event| &*event.topic).collect();
        assert_eq!(topics, *wanted, "{filter}");
    }
}

#[test]
fn filters_see_the_fields_of_snapshot_and_content_events() {
    let [key, name, snapshotter, digest] = ["k", "n", "overlayfs", "sha256:00"].map(str::to_owned);
    let prepare = Event::SnapshotPrepare {
        key: key.clone(),
        parent: String::new(),
        snapshotter: snapshotter.clone(),
    };
    let commit = Event::SnapshotCommit {
        key: key.clone(),
        name,
        snapshotter: snapshotter.clone(),
    };
    let remove = Event::SnapshotRemove { key, snapshotter };
    for (event, topic, fields) in [
        (
            prepare,
            "/snapshot/prepare",
            "key=k parent= snapshotter=overlayfs name=",
        ),
        (
            commit,
            "/snapshot/commit",
            "key=k name=n snapshotter=overlayfs labels=",
        ),
        (remove, "/snapshot/remove", "key=k parent= snapshotter=overlayfs"),
        (
            Event::ContentCreate { digest, size: 7 },
            "/content/create",
            "digest=sha256:00 size=7 key=",
        ),
    ] {
        let envelope = Envelope::now(&namespace("testing"), event);
        assert_eq!(envelope.topic, topic);
        for (field, wanted) in fields.split(' ').filter_map(|field| field.split_once('=')) {
            let value = envelope.field(&["event", field]);
            assert_eq!(value.as_deref().unwrap_or_default(), wanted, "{topic} {field}");
            assert_eq!(value.is_some(), !wanted.is_empty(), "{topic} {field}");
        }
    }
}

#[tokio::test]
async fn a_bad_filter_has_containerds_text() {
    let exchange = Exchange::default();
    let result = exchange.subscribe(&texts(["a=b"]), &Plugins::default());
    let wanted =
        r#"failed parsing subscription filters: filters: parse error: [a >|=|< b]: unsupported operator "=""#;
    assert_eq!(refused(result), (Class::InvalidArgument, wanted.to_owned()));
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_told_and_stops_nobody() {
    let exchange = Exchange::default();
    let mut slow = listen(&exchange, []);
    let mut quick = listen(&exchange, []);
    let big = vec![0; 1 << 20];
    let sent = EVENT_QUEUE_BYTES / big.len() + 10;
    for number in 0..sent {
        publish(&exchange, "testing", &format!("/n/{number}"), &big);
        assert_eq!(topics(&mut quick, 1).await, [format!("/n/{number}")]);
    }
    // What fitted, in order, and then the end.
    let mut got = 0;
    let error = loop {
        match slow.next().await {
            Ok(event) => assert_eq!(event.topic, format!("/n/{got}")),
            Err(error) => break error,
        }
        got += 1;
    };
    assert_eq!(got, EVENT_QUEUE_BYTES / big.len() - 1);
    assert_eq!(error.class(), Class::ResourceExhausted);
    assert!(
        error.to_string().contains("more than 32 MiB of events wait"),
        "{error}"
    );
    publish(&exchange, "testing", "/late", b"");
    assert_eq!(refused(slow.next().await).0, Class::ResourceExhausted);
}

#[tokio::test]
async fn one_event_may_be_larger_than_the_queue() {
    let exchange = Exchange::default();
    let mut subscription = listen(&exchange, []);
    publish(&exchange, "testing", "/big", &vec![0; EVENT_QUEUE_BYTES + 1]);
    assert_eq!(topics(&mut subscription, 1).await, ["/big"]);
    publish(&exchange, "testing", "/small", b"");
    assert_eq!(topics(&mut subscription, 1).await, ["/small"]);
}

/// Messages are lines of `field=text`.
struct Lines;

impl EventDecoder for Lines {
    fn field(&self, type_url: &str, value: &[u8], path: &[&str]) -> Option<String> {
        if type_url != "test.Event" {
            return None;
        }
        let mut fields = std::str::from_utf8(value)
            .ok()?
            .lines()
            .filter_map(|line| line.split_once('='));
        fields
            .find(|(field, _)| *field == path.join("."))
            .map(|(_, text)| text.to_owned())
    }
}

#[tokio::test]
async fn events_of_clients_are_read_by_the_decoder() {
    let exchange = Exchange::default();
    let mut undecoded = listen(&exchange, ["event.id==x", r#"topic=="/end""#]);
    publish(&exchange, "testing", "/one", b"id=x");
    publish(&exchange, "testing", "/end", b"");
    assert_eq!(until(&mut undecoded, "/end").await, []);

    exchange.decode_with(Arc::new(Lines));
    let mut subscription = listen(&exchange, ["event.labels.a.b==1", "event.id==x"]);
    for (topic, value) in [
        ("/one", "id=x"),
        ("/two", "id=y"),
        ("/three", "labels.a.b=1"),
        ("/four", "id=x\nlabels.a.b=1"),
    ] {
        publish(&exchange, "testing", topic, value.as_bytes());
    }
    assert_eq!(topics(&mut subscription, 3).await, ["/one", "/three", "/four"]);
}

/// A plugin whose expression is the start of topics; `fail` fails.
struct Starts;

struct Start(String);

impl FilterSource for Starts {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        (name == "starts").then(|| Arc::new(Starts) as Arc<dyn FilterPlugin>)
    }

    fn names(&self) -> Vec<String> {
        texts(["starts"])
    }
}

impl FilterPlugin for Starts {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        Ok(Box::new(Start(expression.to_owned())))
    }
}

impl Compiled for Start {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let starts = |facts: &Facts<'_>| {
            assert_eq!(facts.kind, "event");
            let topic = facts.name.as_deref().unwrap_or_default();
            if topic == "/crash" {
                return Err(FilterError::Plugin {
                    plugin: "starts".to_owned(),
                    failure: PluginFailure::Crash,
                    reason: "out of luck".to_owned(),
                });
            }
            Ok(topic.starts_with(&self.0))
        };
        batch.iter().map(starts).collect()
    }
}

#[tokio::test]
async fn plugins_filter_events_and_their_failure_ends_the_subscription() {
    let exchange = Exchange::default();
    let plugins = Plugins::new(Arc::new(Starts));
    let mut subscription = exchange
        .subscribe(&texts([r#"wasm.starts=="/a""#]), &plugins)
        .unwrap();
    for number in 0..1000 {
        publish(&exchange, "testing", &format!("/a/{number}"), b"");
        publish(&exchange, "testing", &format!("/b/{number}"), b"");
    }
    // Given up again and again: nothing is lost.
    let mut got = 0;
    while got < 1000 {
        tokio::select! {
            biased;
            event = subscription.next() => {
                assert_eq!(event.unwrap().topic, format!("/a/{got}"));
                got += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    publish(&exchange, "testing", "/crash", b"");
    let (class, text) = refused(subscription.next().await);
    assert_eq!(class, Class::Unknown, "{text}");
    assert!(text.contains("starts failed: out of luck"), "{text}");
}
