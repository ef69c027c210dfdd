//! Whatever strangers send, and whatever stands in files: an answer, never a panic and never a way in.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use transom_registry::access::{Access, Action, Gate, Presented, Refusal, Resource};
use transom_registry::auth::{Settings, gate_with};
use transom_registry::import::import;
use transom_registry::names::RepositoryName;
use transom_registry::policy::{self, Policy, ask};
use transom_registry::settings::{Period, parse};

use crate::signer::file;

/// A gate with everything: passwords, tokens, certificates, a policy that lets those who are known do all.
fn gate() -> (tempfile::TempDir, std::sync::Arc<dyn Gate>) {
    let folder = tempfile::tempdir().unwrap();
    let (users, policy) = (folder.path().join("users"), folder.path().join("policy"));
    std::fs::write(&users, format!("alice:{}\n", bcrypt::hash("p", 4).unwrap())).unwrap();
    let rules = "[[rules]]\nrepositories = [\"**\"]\nwho = [\"authenticated\"]\nallow = [\"pull\", \"push\", \"delete\"]\n";
    std::fs::write(&policy, rules).unwrap();
    let text = format!(
        "[htpasswd]\nrealm = \"r\"\npath = {users:?}\n[certificates]\n[token]\nrealm = \"https://t/\"\nservice = \"s\"\n\
         issuer = \"i\"\ncertificates = {:?}\n",
        file("self.crt")
    );
    let settings: Settings = parse(&text).unwrap();
    let gate = gate_with(
        &settings,
        Some(&policy::Settings { file: policy }),
        Duration::ZERO,
    )
    .unwrap();
    (folder, gate)
}

#[test]
fn no_header_is_a_way_in() {
    let (_folder, gate) = gate();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let wanted = [Access::repository(
        &RepositoryName::new("a").unwrap(),
        Action::Pull,
    )];
    let header = prop_oneof![
        ".{0,200}",
        "(Basic|Bearer|basic|bearer|Digest) ?[A-Za-z0-9+/=._-]{0,300}",
        "Bearer [A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,400}",
        "Bearer eyJhbGciOiJ[A-Za-z0-9_-]{0,40}\\.e30\\.[A-Za-z0-9_-]{0,40}",
    ];
    proptest!(|(header in header)| {
        let presented = Presented {
            authorization: Some(&header),
            certificate: None,
            address: Ipv4Addr::LOCALHOST.into(),
            origin: "http://localhost",
        };
        let refused = runtime.block_on(gate.check(&presented, &wanted));
        match refused {
            Err(Refusal::Unauthenticated { challenge, .. }) => {
                prop_assert!(!challenge.contains(char::is_control), "{challenge}");
            }
            other => prop_assert!(false, "{other:?}"),
        }
    });
}

proptest! {
    #[test]
    fn no_file_stops_the_program(text in ".{0,200}", yaml in "([a-z]{1,8}: ?(\\[|\\{|&a|\\*a|[0-9a-z.]{0,5}|\\|)?\n? {0,4}){0,20}") {
        let none = BTreeMap::new();
        drop(import(&text, &none));
        drop(import(&yaml, &none));
        let variables = BTreeMap::from([(format!("REGISTRY_{}", text.to_uppercase()), yaml)]);
        drop(import("version: 0.1", &variables));
        drop(Policy::parse(&text));
        drop(parse::<Settings>(&text));
        prop_assert!(Period::parse(&text).is_none_or(|period| Period::parse(&period.to_string()) == Some(period)));
    }
}

#[test]
fn a_large_policy_is_read_and_asked() {
    let mut text = String::from("[groups]\nall = [");
    for number in 0..100_000 {
        write!(text, "\"user-{number}\",").unwrap();
    }
    text.push_str("]\n");
    for number in 0..2000 {
        let group = if number == 1999 {
            "group:all"
        } else {
            "user:nobody"
        };
        writeln!(
            text,
            "[[rules]]\nrepositories = [\"team-{number}/**\", \"**/x/**/y\"]\nwho = [\"{group}\"]\nallow = [\"pull\"]"
        )
        .unwrap();
    }
    let policy = Policy::parse(&text).unwrap();
    let pull = |name: &str| Access::repository(&RepositoryName::new(name).unwrap(), Action::Pull);
    let deep = format!("{}z", "x/".repeat(120));
    for _ in 0..20 {
        assert!(policy.verdict(Some("user-99999"), &pull("team-1999/app")).allowed);
        assert!(!policy.verdict(Some("user-99999"), &pull(&deep)).allowed);
        assert!(
            !policy
                .verdict(Some("user-100000"), &pull("team-1999/app"))
                .allowed
        );
        assert!(!policy.verdict(None, &pull("team-1999/app")).allowed);
    }
    let whole = Access {
        resource: Resource::Admin,
        action: Action::Push,
    };
    assert_eq!(policy.verdict(Some("user-1"), &whole).line, None);
    assert!(
        ask(&text, "user-7", "pull", Some("team-1999/app"))
            .unwrap()
            .allowed
    );
}
