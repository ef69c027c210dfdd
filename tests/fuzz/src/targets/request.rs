//! Any bytes as requests of the daemon: each method of each service, with its whole way through decoder and store.

use std::cell::RefCell;

use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tower::ServiceExt;
use transom_meta::kv::Kind;
use transomd::Daemon;
use transomd::config::Config;
use transomd::places::Places;
use transomd::rpc::Services;
use transomd::shutdown::Shutdown;

/// Requests that one daemon answers before a new one takes its place, so that what they have stored does not add up.
const REQUESTS: usize = 2000;

/// How often what streams and does not end is looked at.
const LOOKS: usize = 32;

/// A daemon without clients.
struct Rig {
    runtime: Runtime,
    services: Services,
    methods: Vec<String>,
    left: usize,
    _daemon: Daemon,
    _folder: TempDir,
}

thread_local! {
    static RIG: RefCell<Option<Rig>> = const { RefCell::new(None) };
}

/// Sends the bytes: the first one chooses the method, then come messages, each with its length in two bytes before it.
///
/// # Panics
/// When the daemon says that it failed inside.
pub fn request(data: &[u8]) -> String {
    let [method, messages @ ..] = data else {
        return "empty".to_owned();
    };
    RIG.with_borrow_mut(|place| {
        if place.as_ref().is_none_or(|rig| rig.left == 0) {
            *place = None;
            *place = Some(Rig::start());
        }
        let rig = place.as_mut().expect("it was started above");
        rig.left -= 1;
        rig.ask(usize::from(*method), messages)
    })
}

impl Rig {
    fn start() -> Rig {
        let folder = super::temporary();
        let mut config = Config::defaults(&Places {
            config: folder.path().join("config.toml"),
            root: folder.path().join("root"),
            state: folder.path().join("state"),
        });
        config.metadata.store = Kind::Memory;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a fuzzer needs a runtime");
        let opened = runtime.block_on(Daemon::open(config, Shutdown::default()));
        let daemon = opened.expect("a fuzzer needs a daemon");
        Rig {
            runtime,
            services: daemon.services(),
            methods: transom_api::methods(),
            left: REQUESTS,
            _daemon: daemon,
            _folder: folder,
        }
    }

    fn ask(&self, method: usize, messages: &[u8]) -> String {
        let method = &self.methods[method % self.methods.len()];
        let body = Full::new(frames(messages).into());
        let mut request = Request::new(Body::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("http://localhost/{method}").parse().expect("a path");
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert(transom_api::NAMESPACE_HEADER, HeaderValue::from_static("fuzz"));
        let services = self.services.clone();
        let said = self.runtime.block_on(async {
            match services.oneshot(request).await {
                Ok(response) => ended(response).await,
                Err(never) => match never {},
            }
        });
        assert!(!said.contains("failed inside the daemon"), "{method}: {said}");
        let shape: String = said.split(['"', '`']).step_by(2).collect();
        let shape = shape.chars().filter(char::is_ascii_alphabetic).take(80);
        format!("{method} {}", shape.collect::<String>())
    }
}

/// Messages as gRPC frames them: not compressed, and four bytes of length.
fn frames(mut messages: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    while let [high, low, rest @ ..] = messages {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        framed.push(0);
        framed.extend(u32::try_from(length).unwrap_or_default().to_be_bytes());
        framed.extend(&rest[..length]);
        messages = &rest[length..];
    }
    framed
}

/// Code and text of an answer, or what is known of it once nothing more comes at once.
async fn ended(response: Response<Body>) -> String {
    let status = |headers: &http::HeaderMap| {
        let text = |name: &str| {
            let value = headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            value.unwrap_or_default()
        };
        headers.contains_key("grpc-status").then(|| {
            format!(
                "{} {}",
                text("grpc-status"),
                text("grpc-message").replace("%20", " ")
            )
        })
    };
    if let Some(status) = status(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    let mut count = 0;
    loop {
        let looks = async {
            for _ in 0..LOOKS {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            frame = body.frame() => match frame {
                Some(Ok(frame)) => match frame.trailers_ref().and_then(status) {
                    Some(status) => return format!("{status} after {}", count > 0),
                    None => count += 1,
                },
                Some(Err(error)) => return error.to_string(),
                None => return "cut".to_owned(),
            },
            () = looks => return "open".to_owned(),
        }
    }
}
