//! Gates: passwords, certificates, strangers, policies and how often, alone and together.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use transom_registry::access::{Access, Action, Actor, Gate, Presented, Refusal, Resource};
use transom_registry::auth::{self, gate_with, htpasswd};
use transom_registry::names::RepositoryName;
use transom_registry::policy;
use transom_registry::settings::parse;

/// The cheapest cost that bcrypt has.
const COST: u32 = 4;

/// A folder with files, and the gate of a configuration that names them.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// `@NAME` in the settings is the path of a file.
    fn settings(&self, text: &str) -> auth::Settings {
        let folder = self.0.path().display().to_string();
        parse(&text.replace('@', &format!("{folder}/"))).unwrap()
    }

    fn gate(&self, text: &str) -> Arc<dyn Gate> {
        gate_with(&self.settings(text), None, Duration::ZERO).unwrap()
    }

    fn policed(&self, text: &str) -> Arc<dyn Gate> {
        let file = self.path("policy.toml");
        gate_with(
            &self.settings(text),
            Some(&policy::Settings { file }),
            Duration::ZERO,
        )
        .unwrap()
    }
}

fn hash(password: &str) -> String {
    bcrypt::hash(password, COST).unwrap()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn wanted(action: Action, name: &str) -> [Access; 1] {
    [Access::repository(&RepositoryName::new(name).unwrap(), action)]
}

fn admin() -> [Access; 1] {
    [Access {
        resource: Resource::Admin,
        action: Action::Push,
    }]
}

/// A client.
#[derive(Clone, Copy)]
struct Client<'a> {
    authorization: Option<&'a str>,
    certificate: Option<&'a str>,
    address: IpAddr,
}

const STRANGER: Client<'static> = Client {
    authorization: None,
    certificate: None,
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
};

impl<'a> Client<'a> {
    fn with(authorization: &'a str) -> Client<'a> {
        Client {
            authorization: Some(authorization),
            ..STRANGER
        }
    }

    async fn ask(self, gate: &dyn Gate, wanted: &[Access]) -> Result<Actor, Refusal> {
        let presented = Presented {
            authorization: self.authorization,
            certificate: self.certificate,
            address: self.address,
            origin: "http://localhost:5000",
        };
        gate.check(&presented, wanted).await
    }

    /// Its name, or how it was refused: 401, 403, 429.
    async fn gets(self, gate: &dyn Gate, wanted: &[Access]) -> Result<Option<String>, u16> {
        self.ask(gate, wanted)
            .await
            .map(|actor| actor.name)
            .map_err(|refusal| match refusal {
                Refusal::Unauthenticated { .. } => 401,
                Refusal::Denied { .. } => 403,
                Refusal::TooMany { .. } => 429,
                Refusal::Unavailable { .. } => 503,
            })
    }
}

fn known(name: &str) -> Result<Option<String>, u16> {
    Ok(Some(name.to_owned()))
}

/// A hash from another program, of `U*U`.
const VECTOR: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

const HTPASSWD: &str = "[htpasswd]\nrealm = \"Registry\"\npath = \"@users\"\n";

#[tokio::test]
async fn passwords_are_checked() {
    let place = Place::new();
    place.write(
        "users",
        &format!("alice:{}\nold:{{SHA}}x\nv:{VECTOR}\n", hash("pass:word")),
    );
    let gate = place.gate(HTPASSWD);
    let push = wanted(Action::Push, "a");
    assert_eq!(
        Client::with(&basic("v", "U*U")).gets(&*gate, &push).await,
        known("v")
    );
    for _ in 0..2 {
        assert_eq!(
            Client::with(&basic("alice", "pass:word"))
                .gets(&*gate, &push)
                .await,
            known("alice")
        );
        assert_eq!(
            Client::with(&basic("alice", "pass:word")).gets(&*gate, &[]).await,
            known("alice")
        );
        for (name, password) in [
            ("alice", "pass"),
            ("alice", ""),
            ("Alice", "pass:word"),
            ("bob", "pass:word"),
            ("old", "x"),
            ("old", ""),
            ("", "pass:word"),
        ] {
            let header = basic(name, password);
            assert_eq!(
                Client::with(&header).gets(&*gate, &push).await,
                Err(401),
                "{name} {password}"
            );
        }
    }
    assert_eq!(
        Client::with(&basic("alice", "pass:word"))
            .gets(&*gate, &admin())
            .await,
        Err(403)
    );
    let Err(Refusal::Unauthenticated { challenge, .. }) = STRANGER.ask(&*gate, &push).await else {
        panic!()
    };
    assert_eq!(challenge, "Basic realm=\"Registry\"");
}

#[tokio::test]
async fn a_changed_file_counts_at_once_and_a_broken_one_does_not() {
    let place = Place::new();
    place.write("users", &format!("alice:{}\n", hash("one")));
    let gate = place.gate(HTPASSWD);
    let (one, two) = (basic("alice", "one"), basic("alice", "two"));
    assert_eq!(Client::with(&one).gets(&*gate, &[]).await, known("alice"));
    place.write("users", &format!("alice:{}\n", hash("two")));
    assert_eq!(Client::with(&one).gets(&*gate, &[]).await, Err(401));
    assert_eq!(Client::with(&two).gets(&*gate, &[]).await, known("alice"));
    place.write("users", "broken");
    assert_eq!(Client::with(&two).gets(&*gate, &[]).await, known("alice"));
    place.write("users", "");
    assert_eq!(Client::with(&two).gets(&*gate, &[]).await, Err(401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_passwords_is_bounded_and_known_ones_go_through() {
    let place = Place::new();
    // A cost at which bcrypt is slow enough for a queue to form.
    let slow = bcrypt::hash("right", 6).unwrap();
    let mut users = format!("alice:{slow}\n");
    for number in 0..5000 {
        writeln!(users, "user-{number}:{slow}").unwrap();
    }
    place.write("users", &users);
    let settings = htpasswd::Settings {
        realm: "r".to_owned(),
        path: place.path("users"),
    };
    let gate = Arc::new(htpasswd::Htpasswd::open(&settings).unwrap());
    let right = basic("alice", "right");
    assert_eq!(Client::with(&right).gets(&*gate, &[]).await, known("alice"));
    let flood: Vec<_> = (0..2000)
        .map(|number| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let header = basic(&format!("user-{number}"), "wrong");
                Client::with(&header).gets(&*gate, &[]).await
            })
        })
        .collect();
    // Alice's password is remembered, so she does not wait in the queue.
    for _ in 0..100 {
        assert_eq!(Client::with(&right).gets(&*gate, &[]).await, known("alice"));
    }
    let mut counts = (0, 0);
    for client in flood {
        match client.await.unwrap() {
            Err(401) => counts.0 += 1,
            Err(429) => counts.1 += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts.0 + counts.1, 2000);
    assert!(counts.0 >= 256 && counts.1 > 0, "{counts:?}");
    // And afterwards there is room again.
    let other = basic("user-1", "right");
    assert_eq!(Client::with(&other).gets(&*gate, &[]).await, known("user-1"));
}

#[tokio::test]
async fn strangers_may_pull_if_that_is_configured() {
    let place = Place::new();
    place.write("users", &format!("alice:{}\n", hash("p")));
    let gate = place.gate(&format!("anonymous_pull = true\n{HTPASSWD}"));
    let (pull, push) = (wanted(Action::Pull, "a"), wanted(Action::Push, "a"));
    let catalog = [Access {
        resource: Resource::Catalog,
        action: Action::Pull,
    }];
    // containers/image sends an empty name and password when it has none.
    let empty = basic("", "");
    for client in [STRANGER, Client::with(&empty)] {
        assert_eq!(client.gets(&*gate, &pull).await, Ok(None));
        assert_eq!(client.gets(&*gate, &push).await, Err(401));
        assert_eq!(client.gets(&*gate, &[]).await, Err(401), "or nobody would log in");
        assert_eq!(client.gets(&*gate, &catalog).await, Err(401));
        assert_eq!(client.gets(&*gate, &[&pull[..], &push].concat()).await, Err(401));
    }
    assert_eq!(
        Client::with(&basic("alice", "x")).gets(&*gate, &pull).await,
        Err(401)
    );
    assert_eq!(
        Client::with(&basic("alice", "p")).gets(&*gate, &push).await,
        known("alice")
    );
    let gate = place.gate(&format!("anonymous_ping = true\n{HTPASSWD}"));
    assert_eq!(STRANGER.gets(&*gate, &[]).await, Ok(None));
    assert_eq!(STRANGER.gets(&*gate, &pull).await, Err(401));
}

#[tokio::test]
async fn ways_to_log_in_stand_beside_each_other() {
    let place = Place::new();
    place.write("users", &format!("alice:{}\n", hash("p")));
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/keys/ca.crt");
    let token = format!(
        "[token]\nrealm = \"https://t/\"\nservice = \"s\"\nissuer = \"i\"\ncertificates = {keys:?}\n"
    );
    let gate = place.gate(&format!("{HTPASSWD}{token}[certificates]\n"));
    let pull = wanted(Action::Pull, "a");
    let ci = Client {
        certificate: Some("CN=ci,O=team"),
        ..STRANGER
    };
    assert_eq!(ci.gets(&*gate, &pull).await, known("certificate:ci"));
    let header = basic("alice", "p");
    let both = Client {
        authorization: Some(&header),
        ..ci
    };
    assert_eq!(both.gets(&*gate, &pull).await, known("alice"));
    assert_eq!(Client::with("Bearer x").gets(&*gate, &pull).await, Err(401));
    let Err(Refusal::Unauthenticated { challenge, .. }) = STRANGER.ask(&*gate, &pull).await else {
        panic!()
    };
    assert_eq!(
        challenge,
        "Bearer realm=\"https://t/\",service=\"s\",scope=\"repository:a:pull\", Basic realm=\"Registry\""
    );
    // A certificate that is not asked for is nothing.
    assert_eq!(ci.gets(&*place.gate(HTPASSWD), &pull).await, Err(401));
    let only = place.gate("[certificates]\nname = \"subject\"\n");
    assert_eq!(ci.gets(&*only, &pull).await, known("certificate:CN=ci,O=team"));
    assert_eq!(STRANGER.gets(&*only, &pull).await, Err(403));
    assert_eq!(STRANGER.gets(&*place.gate(""), &admin()).await, Ok(None));
}

const POLICY: &str = r#"
[[rules]]
repositories = ["public/**"]
who = ["anonymous"]
allow = ["pull"]

[[rules]]
repositories = ["users/{user}/**"]
who = ["authenticated"]
allow = ["pull", "push"]

[[rules]]
who = ["user:root"]
allow = ["admin", "catalog"]
"#;

#[tokio::test]
async fn a_policy_says_what_those_who_are_known_may_do() {
    let place = Place::new();
    place.write("users", &format!("alice:{0}\nroot:{0}\n", hash("p")));
    place.write("policy.toml", POLICY);
    let gate = place.policed(&format!("{HTPASSWD}[certificates]\n"));
    let (alice, root) = (basic("alice", "p"), basic("root", "p"));
    let (alice, root) = (Client::with(&alice), Client::with(&root));
    let ci = Client {
        certificate: Some("CN=ci"),
        ..STRANGER
    };
    let public = wanted(Action::Pull, "public/x");
    let own = wanted(Action::Push, "users/alice/x");
    assert_eq!(STRANGER.gets(&*gate, &public).await, Ok(None));
    assert_eq!(STRANGER.gets(&*gate, &own).await, Err(401));
    assert_eq!(STRANGER.gets(&*gate, &[]).await, Err(401));
    assert_eq!(alice.gets(&*gate, &own).await, known("alice"));
    assert_eq!(
        alice.gets(&*gate, &public).await,
        Err(403),
        "the first rule is about strangers only"
    );
    assert_eq!(alice.gets(&*gate, &[]).await, known("alice"));
    assert_eq!(alice.gets(&*gate, &admin()).await, Err(403));
    assert_eq!(root.gets(&*gate, &admin()).await, known("root"));
    assert_eq!(root.gets(&*gate, &own).await, Err(403));
    assert_eq!(ci.gets(&*gate, &own).await, Err(403));
    assert_eq!(ci.gets(&*gate, &[]).await, known("certificate:ci"));
    assert_eq!(
        Client::with(&basic("alice", "x")).gets(&*gate, &public).await,
        Err(401)
    );
    let Err(Refusal::Denied { reason }) = alice.ask(&*gate, &admin()).await else {
        panic!()
    };
    assert_eq!(reason, "alice may not push administration");

    // A new policy counts at once; a broken one changes nothing.
    place.write("policy.toml", &POLICY.replace("anonymous", "everyone"));
    assert_eq!(alice.gets(&*gate, &public).await, known("alice"));
    place.write(
        "policy.toml",
        "[[rules]]\nwho = [\"everyone\"]\nallow = [\"admim\"]\n",
    );
    assert_eq!(alice.gets(&*gate, &public).await, known("alice"));
    assert_eq!(STRANGER.gets(&*gate, &admin()).await, Err(401));

    // Without any way to log in, all are strangers.
    place.write("policy.toml", POLICY);
    let gate = place.policed("");
    assert_eq!(STRANGER.gets(&*gate, &public).await, Ok(None));
    assert_eq!(alice.gets(&*gate, &own).await, Err(403));
}

#[tokio::test]
async fn too_many_requests_and_too_many_wrong_passwords_are_told_to_wait() {
    let place = Place::new();
    place.write("users", &format!("alice:{0}\nbob:{0}\n", hash("p")));
    let limits = "[limits]\nrequests_per_second = 0.001\nburst = 5\nfailures_per_minute = 3\n";
    let gate = place.gate(&format!("{HTPASSWD}{limits}"));
    let (alice, bob, wrong) = (basic("alice", "p"), basic("bob", "p"), basic("alice", "x"));
    for _ in 0..5 {
        assert_eq!(Client::with(&alice).gets(&*gate, &[]).await, known("alice"));
    }
    assert_eq!(Client::with(&alice).gets(&*gate, &[]).await, Err(429));
    assert_eq!(
        Client::with(&bob).gets(&*gate, &[]).await,
        known("bob"),
        "each user by itself"
    );
    let Err(Refusal::TooMany { retry_after }) = Client::with(&alice).ask(&*gate, &[]).await else {
        panic!()
    };
    assert!(retry_after > 500);

    let elsewhere = |text: &'static str, authorization| Client {
        authorization: Some(authorization),
        address: text.parse().unwrap(),
        certificate: None,
    };
    for _ in 0..3 {
        assert_eq!(elsewhere("10.0.0.1", &wrong).gets(&*gate, &[]).await, Err(401));
    }
    assert_eq!(elsewhere("10.0.0.1", &wrong).gets(&*gate, &[]).await, Err(429));
    assert_eq!(
        elsewhere("10.0.0.1", &bob).gets(&*gate, &[]).await,
        Err(429),
        "also if it were right"
    );
    assert_eq!(elsewhere("10.0.0.2", &bob).gets(&*gate, &[]).await, known("bob"));
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let place = Place::new();
    place.write("users", "nonsense\n");
    place.write("policy.toml", "x = 1\n");
    let refused = |text: &str, policy: bool| {
        let file = place.path("policy.toml");
        let policy = policy.then_some(policy::Settings { file });
        let opened = gate_with(&place.settings(text), policy.as_ref(), Duration::ZERO);
        opened.unwrap_err().to_string()
    };
    assert!(refused(HTPASSWD, false).ends_with("users: line 1: write NAME:HASH, as `htpasswd -B` does"));
    assert!(refused("[htpasswd]\nrealm = \"r\"\npath = \"@none\"", false).contains("none"));
    assert!(refused("", true).ends_with("policy.toml: line 1: unknown key `x`; there are `groups`, `rules`"));
    assert!(refused("anonymous_pull = true", true).contains("with a policy"));
    assert!(refused("anonymous_pull = true", false).contains("a way to log in"));
    assert!(
        refused("[limits]\nrequests_per_second = -1.0", false).starts_with("auth.limits.requests_per_second")
    );
    assert!(
        refused("[limits]\nrequests_per_second = 1.0\nburst = 0", false).starts_with("auth.limits.burst")
    );
    let unknown = parse::<auth::Settings>("[htpasswd]\nrealm = \"r\"\npaht = \"x\"").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "line 3: unknown key `paht`; did you mean `path`?"
    );
}
