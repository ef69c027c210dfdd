//! Notifications: they arrive in order, at least once, whatever the receiver does and whenever we are killed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use transom_meta::kv::{self, Kind, Kv, memory::Memory};
use transom_registry::access::Actor;
use transom_registry::event::{Action, Event, Listener, Request as Asked, Target};
use transom_registry::names::{RepositoryName, Tag};
use transom_registry::notify::{MEDIA_TYPE, Notifier, Settings, Source, Status};
use transom_registry::settings::parse;

/// How the receiver answers one request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Status(u16),
    /// Never.
    Stall,
    /// By closing the connection.
    Hang,
}

/// A request that arrived.
#[derive(Debug)]
struct Got {
    headers: http::HeaderMap,
    /// The tags of its events.
    tags: Vec<String>,
    events: Vec<Value>,
    taken: bool,
}

/// A receiver on loopback, with a script of answers; 200 when that is at its end.
struct Receiver {
    address: SocketAddr,
    script: Arc<Mutex<VecDeque<Answer>>>,
    got: mpsc::UnboundedReceiver<Got>,
    server: JoinHandle<()>,
}

impl Receiver {
    fn start(script: &[Answer]) -> Receiver {
        Receiver::start_at(reserve().0, script)
    }

    fn start_at(place: TcpSocket, script: &[Answer]) -> Receiver {
        let address = place.local_addr().unwrap();
        let listener = place.listen(64).unwrap();
        let script = Arc::new(Mutex::new(script.iter().copied().collect::<VecDeque<_>>()));
        let (sender, got) = mpsc::unbounded_channel();
        let (answers, stop) = (Arc::clone(&script), watch::channel(()));
        let server = tokio::spawn(async move {
            let (gone, _) = stop;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, sender, mut gone) = (Arc::clone(&answers), sender.clone(), gone.subscribe());
                tokio::spawn(async move {
                    let answer = service_fn(|request| answer(request, &answers, &sender));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer);
                    tokio::select! { _ = connection => {}, _ = gone.changed() => {} }
                });
            }
        });
        Receiver {
            address,
            script,
            got,
            server,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/events?x=1", self.address)
    }

    /// The tags of all events that were taken, until there are so many.
    async fn taken(&mut self, count: usize) -> Vec<String> {
        let mut tags = Vec::new();
        while tags.len() < count {
            let got = self.got.recv().await.unwrap();
            if got.taken {
                tags.extend(got.tags);
            }
        }
        tags
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A place where nobody listens yet, and nobody else can.
pub(crate) fn reserve() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/events?x=1", socket.local_addr().unwrap());
    (socket, url)
}

async fn answer(
    request: Request<Incoming>,
    script: &Mutex<VecDeque<Answer>>,
    sender: &mpsc::UnboundedSender<Got>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/events"));
    let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let events = body["events"].as_array().unwrap().clone();
    let answer = script.lock().unwrap().pop_front().unwrap_or(Answer::Status(200));
    let tag = |event: &Value| event["target"]["tag"].as_str().unwrap().to_owned();
    let got = Got {
        headers: head.headers,
        tags: events.iter().map(tag).collect(),
        events,
        taken: matches!(answer, Answer::Status(200..=399)),
    };
    sender.send(got).unwrap();
    match answer {
        Answer::Status(status) => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"thanks")));
            *response.status_mut() = status.try_into().unwrap();
            if (300..400).contains(&status) {
                response
                    .headers_mut()
                    .insert("location", "http://127.0.0.1:1/elsewhere".try_into().unwrap());
            }
            Ok(response)
        }
        Answer::Stall => std::future::pending().await,
        Answer::Hang => Err(std::io::Error::other("hangs up")),
    }
}

fn settings(name: &str, url: &str, more: &str) -> Settings {
    let text = format!("name = {name:?}\nurl = {url:?}\nbackoff = \"20ms\"\n{more}");
    parse(&text).unwrap()
}

fn event(tag: &str, action: Action) -> Event {
    Event {
        at: SystemTime::now(),
        action,
        target: Target {
            repository: RepositoryName::new("team/app").unwrap(),
            from: None,
            digest: None,
            tag: Some(Tag::new(tag).unwrap()),
            media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
            size: Some(1),
            references: Vec::new(),
        },
        actor: Actor::default(),
        request: Asked {
            id: "r".to_owned(),
            address: "127.0.0.1:1".parse().unwrap(),
            host: "localhost:5000".to_owned(),
            secure: false,
            method: "PUT".to_owned(),
            user_agent: "test".to_owned(),
        },
    }
}

async fn open(all: &[Settings], kv: &Arc<dyn Kv>) -> Notifier {
    let source = Source {
        address: "node".to_owned(),
        instance: "1".to_owned(),
    };
    Notifier::open(all, Arc::clone(kv), source).await.unwrap()
}

async fn record(notifier: &Notifier, tags: impl IntoIterator<Item = impl ToString>) {
    for tag in tags {
        notifier.record(event(&tag.to_string(), Action::Push)).await;
    }
}

/// Waits for a status; no time is measured, and the test's own limit ends it.
async fn wait_for(notifier: &Notifier, fits: impl Fn(&Status) -> bool) -> Status {
    loop {
        let status = notifier.status().remove(0);
        if fits(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn memory() -> Arc<dyn Kv> {
    Arc::new(Memory::new())
}

#[tokio::test]
async fn events_arrive_in_order_whatever_the_receiver_does() {
    let script = [
        Answer::Status(500),
        Answer::Hang,
        Answer::Stall,
        Answer::Status(404),
        Answer::Status(307),
        Answer::Status(503),
    ];
    let mut receiver = Receiver::start(&script);
    // As long as a machine with other work may need for one request: one that is sent again arrives twice.
    let more = "timeout = \"3s\"\n[headers]\nAuthorization = \"Bearer x\"\nX-Two = [\"a\", \"b\"]\n";
    let kv = memory();
    let notifier = open(&[settings("hook", &receiver.url(), more)], &kv).await;
    record(&notifier, 0..200).await;

    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(receiver.taken(200).await, expected);
    assert!(receiver.script.lock().unwrap().is_empty());
    let status = wait_for(&notifier, |status| status.delivered == 200).await;
    assert_eq!((status.recorded, status.pending, status.lost), (200, 0, 0));
    assert!(status.failures >= 5);
    assert_eq!(status.problem, None);
    notifier.stop().await;
}

#[tokio::test]
async fn a_request_is_docker_registrys() {
    let mut receiver = Receiver::start(&[]);
    let more = "[headers]\nAuthorization = \"Bearer x\"\nX-Two = [\"a\", \"b\"]\n";
    let notifier = open(&[settings("hook", &receiver.url(), more)], &memory()).await;
    record(&notifier, ["v1"]).await;
    let got = receiver.got.recv().await.unwrap();
    assert_eq!(got.headers["content-type"], MEDIA_TYPE);
    assert_eq!(got.headers["authorization"], "Bearer x");
    let two: Vec<_> = got.headers.get_all("x-two").iter().collect();
    assert_eq!(two, ["a", "b"]);
    let [event] = &got.events[..] else {
        panic!("{got:?}")
    };
    assert_eq!(event["action"], "push");
    assert_eq!(event["target"]["repository"], "team/app");
    assert_eq!(event["source"]["instanceID"], "1");
}

#[tokio::test]
async fn events_survive_a_restart_and_a_receiver_that_was_away() {
    let folder = tempfile::tempdir().unwrap();
    let (place, url) = reserve();
    let settings = [settings("hook", &url, "")];

    let kv = kv::open(Kind::Redb, folder.path()).unwrap();
    let notifier = open(&settings, &kv).await;
    record(&notifier, ["a", "b"]).await;
    let status = wait_for(&notifier, |status| status.failures > 0).await;
    assert_eq!((status.pending, status.delivered), (2, 0));
    assert!(status.problem.unwrap().contains("refused"));
    notifier.stop().await;
    // What comes while nobody sends any more is kept as well.
    record(&notifier, ["c"]).await;
    drop((notifier, kv));

    let mut receiver = Receiver::start_at(place, &[]);
    let kv = kv::open(Kind::Redb, folder.path()).unwrap();
    let notifier = open(&settings, &kv).await;
    assert_eq!(notifier.status()[0].recorded, 0);
    record(&notifier, ["d"]).await;
    assert_eq!(receiver.taken(4).await, ["a", "b", "c", "d"]);
    wait_for(&notifier, |status| status.pending == 0).await;
    notifier.stop().await;
    drop((notifier, kv));

    let kv = kv::open(Kind::Redb, folder.path()).unwrap();
    assert_eq!(open(&settings, &kv).await.status()[0].pending, 0);
}

#[tokio::test]
async fn one_that_fails_does_not_hold_up_another_and_ignores_are_kept() {
    let mut good = Receiver::start(&[]);
    let bad = Receiver::start(&[Answer::Stall; 1000]);
    let ignoring = "[ignore]\nactions = [\"pull\"]\nmedia_types = [\"application/octet-stream\"]\n";
    let all = [
        settings("bad", &bad.url(), ""),
        settings("good", &good.url(), ignoring),
        settings("off", "http://127.0.0.1:1/", "disabled = true"),
    ];
    let notifier = open(&all, &memory()).await;
    notifier.record(event("pulled", Action::Pull)).await;
    let mut blob = event("blob", Action::Push);
    blob.target.media_type = Some("application/octet-stream".to_owned());
    notifier.record(blob).await;
    notifier.record(event("mounted", Action::Mount)).await;
    notifier.record(event("deleted", Action::Delete)).await;
    assert_eq!(good.taken(2).await, ["mounted", "deleted"]);
    let status = notifier.status();
    assert_eq!(status.len(), 2);
    assert_eq!((status[0].pending, status[0].recorded), (4, 4));
    assert_eq!(status[1].recorded, 2);
}

#[tokio::test]
async fn a_full_queue_loses_what_comes_last_and_says_so() {
    let (place, url) = reserve();
    let settings = settings("hook", &url, "queue = 3");
    let notifier = open(&[settings], &memory()).await;
    record(&notifier, 0..10).await;
    let status = notifier.status().remove(0);
    assert_eq!((status.recorded, status.lost, status.pending), (3, 7, 3));
    let mut receiver = Receiver::start_at(place, &[]);
    assert_eq!(receiver.taken(3).await, ["0", "1", "2"]);
    wait_for(&notifier, |status| status.pending == 0).await;
    record(&notifier, ["again"]).await;
    assert_eq!(receiver.taken(1).await, ["again"]);
}

#[tokio::test]
async fn a_receiver_that_takes_less_gets_less() {
    let (place, url) = reserve();
    let settings = settings("hook", &url, "");
    let notifier = open(&[settings], &memory()).await;
    record(&notifier, 0..40).await;
    // The second try from now on has seen all of them.
    let failures = notifier.status()[0].failures;
    wait_for(&notifier, |status| status.failures >= failures + 2).await;
    let mut receiver = Receiver::start_at(place, &[Answer::Status(413); 2]);
    let mut sizes = Vec::new();
    while sizes.iter().filter(|(_, taken)| *taken).count() == 0 {
        let got = receiver.got.recv().await.unwrap();
        sizes.push((got.tags.len(), got.taken));
    }
    assert_eq!(sizes, [(40, false), (20, false), (10, true)]);
}

#[tokio::test]
async fn an_endpoint_that_is_configured_no_more_is_forgotten() {
    let kv = memory();
    let gone = settings("gone", "http://127.0.0.1:1/", "");
    let notifier = open(std::slice::from_ref(&gone), &kv).await;
    record(&notifier, 0..1000).await;
    notifier.stop().await;
    drop(notifier);
    let receiver = Receiver::start(&[]);
    open(&[settings("new", &receiver.url(), "")], &kv)
        .await
        .stop()
        .await;
    assert_eq!(open(&[gone], &kv).await.status()[0].pending, 0);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let refused = async |all: Vec<Settings>| {
        let opened = Notifier::open(&all, memory(), Source::default()).await;
        opened.unwrap_err().to_string()
    };
    let good = |name: &str| settings(name, "http://localhost/", "");
    assert!(
        refused(vec![good("a"), good("a")])
            .await
            .contains("two endpoints")
    );
    assert!(refused(vec![good("a/b")]).await.starts_with("notifications.name"));
    assert!(
        refused(vec![settings("a", "ftp://x/", "")])
            .await
            .starts_with("notifications.url")
    );
    assert!(
        refused(vec![settings("a", "x", "")])
            .await
            .starts_with("notifications.url")
    );
    assert!(
        refused(vec![settings("a", "http://x/", "queue = 0")])
            .await
            .contains("queue")
    );
    assert!(
        refused(vec![settings("a", "http://x/", "ca = \"/nowhere\"")])
            .await
            .contains("/nowhere")
    );
    let header = settings("a", "http://x/", "headers = { \"a b\" = \"c\" }");
    assert!(refused(vec![header]).await.starts_with("notifications.headers"));
    let unknown = parse::<Settings>("name = \"a\"\nurl = \"http://x/\"\nthreshhold = 3\n");
    assert_eq!(
        unknown.unwrap_err().to_string(),
        "line 3: unknown key `threshhold`; did you mean `threshold`?"
    );
}
