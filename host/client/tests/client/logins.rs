//! Logging in: passwords, tokens, and what never may be seen of them.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use transom_client::auth::{Credentials, DockerConfig, Fixed};
use transom_client::{Error, Secret};
use transom_oci::media_type;

use crate::fake::{Fake, Fault, Seen, reply};
use crate::support::{remote, remote_as, remote_with};

const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn me(fake: &Fake, credentials: Credentials) -> Arc<Fixed> {
    Arc::new(Fixed {
        host: fake.address.to_string(),
        credentials,
    })
}

fn password() -> Credentials {
    Credentials::Password {
        username: "me".to_owned(),
        password: Secret::new("s3cret"),
    }
}

/// A registry that takes tokens `t1`, `t2` …, of which its server gives a new one each time.
fn with_tokens(fake: &Fake, extra: &'static str) -> Arc<Mutex<u32>> {
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let given = Arc::new(Mutex::new(0));
    let count = Arc::clone(&given);
    let address = fake.address;
    fake.plan(move |seen| {
        if seen.path == "/token" {
            let mut count = count.lock().unwrap();
            *count += 1;
            return reply(200, &[], &format!(r#"{{"token":"t{count}"{extra}}}"#));
        }
        let current = format!("Bearer t{}", count.lock().unwrap());
        if seen.header("authorization") == Some(&current) {
            return Fault::None;
        }
        let wish = format!(
            "Bearer realm=\"http://{address}/token\",service=\"the registry\",scope=\"repository:team/app:pull\""
        );
        reply(401, &[("www-authenticate", &wish)], "{}")
    });
    given
}

fn tokens(fake: &Fake) -> Vec<Seen> {
    fake.seen()
        .into_iter()
        .filter(|seen| seen.path == "/token")
        .collect()
}

#[tokio::test]
async fn strangers_get_tokens_too() {
    let fake = Fake::start().await;
    with_tokens(&fake, "");
    let remote = remote(&fake);
    for _ in 0..3 {
        remote.resolve("1").await.unwrap();
    }
    let tokens = tokens(&fake);
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].parameter("service").as_deref(), Some("the registry"));
    assert_eq!(
        tokens[0].parameter("scope").as_deref(),
        Some("repository:team/app:pull")
    );
    assert!(tokens[0].header("authorization").is_none());
    // One question without, then the token, then questions with it.
    assert_eq!(fake.seen().len(), 5);
}

#[tokio::test]
async fn passwords_go_to_the_token_server_only() {
    let fake = Fake::start().await;
    with_tokens(&fake, ",\"expires_in\":300");
    remote_as(&fake, me(&fake, password()))
        .resolve("1")
        .await
        .unwrap();
    let basic = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode("me:s3cret"));
    for seen in fake.seen() {
        let shown = seen.header("authorization");
        assert_eq!(shown == Some(&basic), seen.path == "/token", "{seen:?}");
    }
    assert_eq!(tokens(&fake)[0].parameter("account").as_deref(), Some("me"));
}

#[tokio::test]
async fn each_scope_has_its_token() {
    let fake = Fake::start().await;
    fake.plan({
        let address = fake.address;
        move |seen| match seen.path.as_str() {
            "/token" => reply(
                200,
                &[],
                &format!(
                    r#"{{"access_token":"{}"}}"#,
                    seen.parameter("scope").unwrap().replace(':', ".")
                ),
            ),
            _ if seen.header("authorization").is_some() => Fault::None,
            _ => reply(
                401,
                &[(
                    "www-authenticate",
                    &format!("Bearer realm=\"http://{address}/token\""),
                )],
                "",
            ),
        }
    });
    let remote = remote_as(&fake, me(&fake, password()));
    assert!(remote.resolve("1").await.unwrap_err().is_not_found());
    remote
        .put_manifest("1", media_type::MANIFEST, BODY.into())
        .await
        .unwrap();
    remote.delete_manifest("1").await.unwrap();
    remote.resolve("1").await.unwrap();
    let scopes: Vec<_> = tokens(&fake)
        .iter()
        .map(|seen| seen.parameter("scope").unwrap())
        .collect();
    assert_eq!(
        scopes,
        [
            "repository:team/app:pull",
            "repository:team/app:pull,push",
            "repository:team/app:delete"
        ]
    );
}

#[tokio::test]
async fn a_token_is_renewed_once_for_all_who_wait() {
    let fake = Fake::start().await;
    let given = with_tokens(&fake, ",\"expires_in\":3600");
    let remote = remote(&fake);
    remote.resolve("1").await.unwrap();
    // The registry takes back its tokens.
    *given.lock().unwrap() += 10;
    let many = (0..20).map(|_| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.resolve("1").await.map(drop) })
    });
    for one in many.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(tokens(&fake).len(), 2);
}

#[tokio::test]
async fn tokens_are_renewed_before_their_end() {
    let fake = Fake::start().await;
    with_tokens(&fake, ",\"expires_in\":0.001");
    let remote = remote(&fake);
    // The server takes the newest token only, so an old one would cost another question.
    remote.resolve("1").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    remote.resolve("1").await.unwrap();
    assert_eq!(tokens(&fake).len(), 2);
    let refused = fake
        .seen()
        .iter()
        .filter(|seen| seen.path != "/token" && seen.header("authorization").is_none())
        .count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn refresh_tokens_are_sent_in_the_body_and_replaced() {
    let fake = Fake::start().await;
    with_tokens(&fake, ",\"expires_in\":0.001,\"refresh_token\":\"r2\"");
    let remote = remote_as(&fake, me(&fake, Credentials::IdentityToken(Secret::new("r1&x"))));
    remote.resolve("1").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    remote.resolve("1").await.unwrap();
    let bodies: Vec<_> = tokens(&fake)
        .iter()
        .map(|seen| {
            assert_eq!((seen.method.as_str(), seen.query.as_str()), ("POST", ""));
            String::from_utf8(seen.body.to_vec()).unwrap()
        })
        .collect();
    assert!(
        bodies[0].contains("grant_type=refresh_token&refresh_token=r1%26x"),
        "{bodies:?}"
    );
    assert!(
        bodies[0].contains("scope=repository%3Ateam%2Fapp%3Apull"),
        "{bodies:?}"
    );
    assert!(bodies[1].contains("refresh_token=r2"), "{bodies:?}");
}

#[tokio::test]
async fn servers_that_know_oauth_only_are_asked_that_way() {
    let fake = Fake::start().await;
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let address = fake.address;
    fake.plan(move |seen| match (seen.path.as_str(), seen.method.as_str()) {
        ("/token", "POST") => reply(200, &[], r#"{"access_token":"a"}"#),
        ("/token", _) => reply(405, &[], ""),
        _ if seen.header("authorization") == Some("Bearer a") => Fault::None,
        _ => reply(
            401,
            &[(
                "www-authenticate",
                &format!("Bearer realm=\"http://{address}/token\""),
            )],
            "",
        ),
    });
    remote_as(&fake, me(&fake, password()))
        .resolve("1")
        .await
        .unwrap();
    let body = String::from_utf8(tokens(&fake)[1].body.to_vec()).unwrap();
    assert!(
        body.contains("grant_type=password&username=me&password=s3cret"),
        "{body}"
    );
}

#[tokio::test]
async fn basic_is_shown_where_it_is_wanted() {
    let fake = Fake::start().await;
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    fake.plan(|seen| {
        let want = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode("me:s3cret"));
        match seen.header("authorization") {
            Some(shown) if shown == want => Fault::None,
            _ => reply(
                401,
                &[("www-authenticate", "Basic realm=\"x\"")],
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}"#,
            ),
        }
    });
    let remote = remote_as(&fake, me(&fake, password()));
    remote.resolve("1").await.unwrap();
    remote.resolve("1").await.unwrap();
    assert_eq!(fake.seen().len(), 3);
    for (credentials, hint) in [
        (Credentials::Anonymous, "transom registry login"),
        (
            Credentials::Password {
                username: "me".into(),
                password: Secret::new("wr0ng"),
            },
            "does not accept this user and password",
        ),
    ] {
        let error = remote_as(&fake, me(&fake, credentials))
            .resolve("1")
            .await
            .unwrap_err();
        assert!(
            error.is_unauthorized() && error.to_string().contains(hint),
            "{error}"
        );
        assert!(!error.to_string().contains("wr0ng"));
    }
}

#[tokio::test]
async fn given_headers_and_tokens_are_shown_as_they_are() {
    for (credentials, want) in [
        (Credentials::RegistryToken(Secret::new("abc")), "Bearer abc"),
        (Credentials::Header(Secret::new("Custom xyz")), "Custom xyz"),
    ] {
        let fake = Fake::start().await;
        fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
        fake.plan(move |seen| match seen.header("authorization") {
            Some(shown) if shown == want => Fault::None,
            _ => reply(
                401,
                &[("www-authenticate", "Bearer realm=\"http://127.0.0.1:1/\"")],
                "",
            ),
        });
        remote_as(&fake, me(&fake, credentials))
            .resolve("1")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_refusal_of_the_token_server_is_said_once_for_all() {
    let fake = Fake::start().await;
    let address = fake.address;
    fake.plan(move |seen| match seen.path.as_str() {
        "/token" => reply(401, &[], r#"{"details":"incorrect username or password"}"#),
        _ => reply(
            401,
            &[(
                "www-authenticate",
                &format!("Bearer realm=\"http://{address}/token\""),
            )],
            "",
        ),
    });
    let remote = remote_as(&fake, me(&fake, password()));
    let error = remote.resolve("1").await.unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_unauthorized()
            && text.contains("incorrect username")
            && text.contains("transom registry login"),
        "{text}"
    );
    assert!(!text.contains("s3cret"));
}

#[tokio::test]
async fn a_token_that_does_not_help_is_not_asked_for_for_ever() {
    let fake = Fake::start().await;
    let address = fake.address;
    fake.plan(move |seen| match seen.path.as_str() {
        "/token" => reply(200, &[], r#"{"token":"same"}"#),
        _ => reply(
            401,
            &[(
                "www-authenticate",
                &format!("Bearer realm=\"http://{address}/token\""),
            )],
            "",
        ),
    });
    let error = remote(&fake).resolve("1").await.unwrap_err();
    assert!(error.is_unauthorized(), "{error}");
    assert!(fake.seen().len() < 8, "{}", fake.seen().len());
}

#[tokio::test]
async fn nothing_is_shown_to_other_hosts() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let bytes = crate::support::noise(10_000, 40);
    let descriptor = fake.add_blob(bytes.clone());
    other.add_blob(bytes.clone());
    let place = format!(
        "http://{}/v2/x/blobs/{}?sig=abc",
        other.address, descriptor.digest
    );
    let address = fake.address;
    fake.plan(
        move |seen| match (seen.path.as_str(), seen.header("authorization")) {
            ("/token", _) => reply(200, &[], r#"{"token":"t0ken"}"#),
            (_, None) => reply(
                401,
                &[(
                    "www-authenticate",
                    &format!("Bearer realm=\"http://{address}/token\""),
                )],
                "",
            ),
            _ => reply(307, &[("location", &place)], ""),
        },
    );
    // The other host wants a login as well, and gets none.
    let remote = remote_as(&fake, me(&fake, password()));
    crate::support::same(&remote, &descriptor, &bytes).await;
    other.plan(|_| reply(401, &[("www-authenticate", "Basic realm=x")], ""));
    assert!(
        crate::support::read(&remote, &descriptor)
            .await
            .unwrap_err()
            .is_unauthorized()
    );
    for seen in other.seen() {
        assert!(
            seen.header("authorization").is_none() && seen.parameter("ns").is_none(),
            "{seen:?}"
        );
        assert_eq!(seen.parameter("sig").as_deref(), Some("abc"));
    }
    assert_eq!(other.seen().len(), 2);
}

#[tokio::test]
async fn secrets_are_in_no_log_no_debug_and_no_error() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // For all tests of this program, which have the same secrets: one of a single thread is not told of what others see first.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::callsite::rebuild_interest_cache();
    let fake = Fake::start().await;
    with_tokens(&fake, ",\"refresh_token\":\"r3fresh\"");
    let file = format!(
        r#"{{"auths":{{"{}":{{"username":"me","password":"s3cret"}}}}}}"#,
        fake.address
    );
    let config = DockerConfig::parse(std::path::Path::new("c"), &file, Vec::new()).unwrap();
    let mut options = crate::support::options();
    options.credentials = Arc::new(config);
    options.proxies.none = Some("127.0.0.1".to_owned());
    options.proxies.http = Some(Secret::new("http://user:pr0xy@proxy:1/"));
    let mut text = format!("{options:?}");
    let remote = remote_with(&fake, options);
    remote.resolve("1").await.unwrap();
    let place = "http://127.0.0.1:1/x?sig=s1gned";
    fake.plan(move |_| reply(307, &[("location", place)], ""));
    let error = remote.resolve("1").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    text += &format!("{remote:?} {error} {error:?}");
    text += &log.text();
    assert!(text.contains("/v2/team/app/manifests/1"), "the log was heard");
    let basic = base64::prelude::BASE64_STANDARD.encode("me:s3cret");
    for secret in [
        "s3cret",
        "pr0xy",
        "r3fresh",
        "s1gned",
        "\"t1\"",
        "Bearer t1",
        &basic,
    ] {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
