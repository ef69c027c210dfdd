//! Tokens: what a token server makes is taken, and what it did not make is refused.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::PublicKey;
use p521::ecdsa::SigningKey;
use p521::elliptic_curve::Generate;
use p521::pkcs8::{EncodePublicKey, LineEnding};
use ring::hmac;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
};
use serde_json::{Value, json};
use transom_registry::access::{Access, Action, Actor, Gate, Presented, Refusal, Resource};
use transom_registry::auth::token::{Settings, Token};
use transom_registry::names::RepositoryName;
use transom_registry::settings::parse;

use crate::signer::{Key, certificate, claims, file, now, with};

fn gate(keys: &str) -> Token {
    let text = format!(
        "realm = \"https://auth.example/token\"\nservice = \"registry.example\"\nissuer = \"auth.example\"\n{keys}"
    );
    let settings: Settings = parse(&text).unwrap();
    Token::open_with(&settings, Duration::ZERO).unwrap()
}

/// A gate that trusts these keys by the ids `0`, `1`, ….
fn jwks(folder: &Path, keys: &[&Key]) -> Token {
    let keys: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(id, key)| key.jwk(&id.to_string()))
        .collect();
    let path = folder.join("jwks.json");
    std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
    gate(&format!("jwks = {path:?}"))
}

fn bundle(names: &[&str]) -> (tempfile::TempDir, Token) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.pem");
    let texts: Vec<String> = names
        .iter()
        .map(|name| std::fs::read_to_string(file(name)).unwrap())
        .collect();
    std::fs::write(&path, texts.concat()).unwrap();
    let gate = gate(&format!("certificates = {path:?}"));
    (folder, gate)
}

fn access(name: &str, actions: &[Action]) -> Vec<Access> {
    let name = RepositoryName::new(name).unwrap();
    actions
        .iter()
        .map(|&action| Access::repository(&name, action))
        .collect()
}

async fn check(gate: &Token, authorization: &str, wanted: &[Access]) -> Result<Actor, Refusal> {
    let presented = Presented {
        authorization: Some(authorization).filter(|text| !text.is_empty()),
        certificate: None,
        address: Ipv4Addr::LOCALHOST.into(),
        origin: "https://registry.example:5000",
    };
    gate.check(&presented, wanted).await
}

async fn taken(gate: &Token, token: &str) -> bool {
    let wanted = access("team/app", &[Action::Pull, Action::Push]);
    match check(gate, &format!("Bearer {token}"), &wanted).await {
        Ok(actor) => {
            assert_eq!(actor.name.as_deref(), Some("alice"));
            true
        }
        Err(Refusal::Unauthenticated { challenge, .. }) => {
            assert!(challenge.ends_with(",error=\"invalid_token\""), "{challenge}");
            false
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_is_sent_to_the_token_server_and_comes_back_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::p256();
    let gate = jwks(folder.path(), &[&key]);
    let both = access("team/app", &[Action::Pull, Action::Push]);
    let challenge = |refusal: Result<Actor, Refusal>| match refusal.unwrap_err() {
        Refusal::Unauthenticated { challenge, .. } => challenge,
        other => panic!("{other:?}"),
    };
    let base = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\"";
    assert_eq!(challenge(check(&gate, "", &[]).await), base);
    let scope = ",scope=\"repository:team/app:pull,push\"";
    assert_eq!(challenge(check(&gate, "", &both).await), format!("{base}{scope}"));
    assert_eq!(
        challenge(check(&gate, "Basic dTpw", &both).await),
        format!("{base}{scope}")
    );

    // What the token server gives for that scope is enough for it, and for no more.
    let token = format!("Bearer {}", key.token("0"));
    assert_eq!(
        check(&gate, &token, &both).await.unwrap().name.as_deref(),
        Some("alice")
    );
    assert!(check(&gate, &token, &[]).await.is_ok());
    let more = [&both[..], &access("other", &[Action::Pull])].concat();
    assert_eq!(
        challenge(check(&gate, &token, &more).await),
        format!(
            "{base},scope=\"repository:team/app:pull,push repository:other:pull\",error=\"insufficient_scope\""
        )
    );
    let delete = access("team/app", &[Action::Delete]);
    assert!(challenge(check(&gate, &token, &delete).await).ends_with("error=\"insufficient_scope\""));
    let catalog = [Access {
        resource: Resource::Catalog,
        action: Action::Pull,
    }];
    assert!(challenge(check(&gate, &token, &catalog).await).contains("scope=\"registry:catalog:*\""));
}

#[tokio::test]
async fn a_redirect_names_the_host_that_the_client_knows() {
    let text = format!(
        "service = \"s\"\nissuer = \"i\"\nredirect = \"/auth/token\"\ncertificates = {:?}",
        file("ca.crt")
    );
    let gate = Token::open(&parse(&text).unwrap()).unwrap();
    let Err(Refusal::Unauthenticated { challenge, .. }) = check(&gate, "", &[]).await else {
        panic!()
    };
    assert_eq!(
        challenge,
        "Bearer realm=\"https://registry.example:5000/auth/token\",service=\"s\""
    );
}

#[tokio::test]
async fn every_algorithm_is_checked_by_the_key_that_the_token_names() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        Key::rsa(&RSA_PKCS1_SHA256, "RS256"),
        Key::rsa(&RSA_PKCS1_SHA384, "RS384"),
        Key::rsa(&RSA_PKCS1_SHA512, "RS512"),
        Key::rsa(&RSA_PSS_SHA256, "PS256"),
        Key::p256(),
        Key::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384"),
        Key::ed25519(),
        Key::p521(),
    ];
    let gate = jwks(folder.path(), &keys.iter().collect::<Vec<_>>());
    for (id, key) in keys.iter().enumerate() {
        assert!(
            taken(&gate, &key.token(&id.to_string())).await,
            "{}",
            key.algorithm()
        );
        // The first four are one key.
        let other = if id < 4 { 4 + id % 3 } else { (id + 1) % keys.len() };
        assert!(!taken(&gate, &key.token(&other.to_string())).await);
        assert!(!taken(&gate, &key.token("8")).await);
    }
    // Somebody else's key of the same kind.
    assert!(!taken(&gate, &Key::p256().token("4")).await);
    assert!(!taken(&gate, &Key::ed25519().token("6")).await);
    assert!(!taken(&gate, &Key::p521().token("7")).await);
}

#[tokio::test]
async fn only_the_chosen_algorithms_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let (rs256, rs512) = (
        Key::rsa(&RSA_PKCS1_SHA256, "RS256"),
        Key::rsa(&RSA_PKCS1_SHA512, "RS512"),
    );
    std::fs::write(&path, json!({"keys": [rs256.jwk("0")]}).to_string()).unwrap();
    let chosen = gate(&format!("jwks = {path:?}\nalgorithms = [\"RS512\"]"));
    assert!(!taken(&chosen, &rs256.token("0")).await && taken(&chosen, &rs512.token("0")).await);
    // A key may be for one algorithm only.
    let mut only = rs256.jwk("0");
    only["alg"] = "RS256".into();
    std::fs::write(&path, json!({"keys": [only]}).to_string()).unwrap();
    let gate = gate(&format!("jwks = {path:?}"));
    assert!(taken(&gate, &rs256.token("0")).await && !taken(&gate, &rs512.token("0")).await);
    for wrong in ["none", "HS256", "ES521", "rs256"] {
        let text = format!("realm=\"https://x\"\nservice=\"s\"\nissuer=\"i\"\nalgorithms=[\"{wrong}\"]");
        assert!(parse::<Settings>(&text).is_err());
    }
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (rsa, stranger) = (Key::rsa(&RSA_PKCS1_SHA256, "RS256"), Key::p256());
    let gate = jwks(folder.path(), &[&rsa]);
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", "", "HS256", "HS512"] {
        let signed = format!(
            "{}.{}",
            text(&json!({"alg": algorithm, "kid": "0"})),
            text(&claims())
        );
        assert!(!taken(&gate, &format!("{signed}.")).await);
        // The public key as the secret: what some libraries fell for.
        for secret in [
            std::fs::read(file("rsa.pub")).unwrap(),
            rsa.jwk("0").to_string().into_bytes(),
        ] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            assert!(!taken(&gate, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))).await);
        }
    }
    // A key that comes with the token, under the id of one that is trusted (CVE-2025-24976).
    for header in [
        json!({"alg": "ES256", "jwk": stranger.jwk("0")}),
        json!({"alg": "ES256", "kid": "0", "jwk": stranger.jwk("0")}),
        json!({"alg": "ES256", "kid": "0", "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u"}),
        json!({"alg": "ES256", "x5c": []}),
        json!({"alg": "ES256", "kid": "0", "x5c": [certificate("leaf.crt"), certificate("mid.crt")]}),
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "kid": ""}),
        json!({"alg": "ES256", "kid": "0", "crit": ["exp"], "exp": 1}),
    ] {
        assert!(
            !taken(&gate, &stranger.sign(&header, &claims())).await,
            "{header}"
        );
        assert!(
            !taken(&gate, &Key::leaf().sign(&header, &claims())).await,
            "{header}"
        );
    }
    // The trusted key's own id in such a hint is a name for it, and no more.
    let header = json!({"alg": "RS256", "jwk": rsa.jwk("0")});
    assert!(taken(&gate, &rsa.sign(&header, &claims())).await);
}

#[tokio::test]
async fn claims_must_be_right_and_cannot_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::ed25519();
    let gate = jwks(folder.path(), &[&key]);
    let header = json!({"alg": "EdDSA", "kid": "0"});
    for claims in [
        with("iss", "other".into()),
        with("aud", "other".into()),
        with("aud", json!([])),
        with("aud", Value::Null),
        with("exp", (now() - 90).into()),
        with("exp", "99999999999".into()),
        with("exp", Value::Null),
        with("exp", json!(-1)),
        with("nbf", (now() + 90).into()),
        with("nbf", "0".into()),
        with("sub", "certificate:admin".into()),
        with("sub", "x".repeat(300).into()),
        json!([]),
        json!({}),
    ] {
        assert!(!taken(&gate, &key.sign(&header, &claims)).await, "{claims}");
    }
    for claims in [
        with("aud", json!(["other", "registry.example"])),
        with("exp", (now() - 30).into()),
        with("nbf", (now() + 30).into()),
        with("exp", json!(now() as f64 + 0.5)),
    ] {
        assert!(taken(&gate, &key.sign(&header, &claims)).await, "{claims}");
    }
    let token = key.token("0");
    let parts: Vec<&str> = token.split('.').collect();
    let other = with("sub", "root".into()).to_string();
    let changed = [parts[0], &URL_SAFE_NO_PAD.encode(other), parts[2]].join(".");
    assert!(!taken(&gate, &changed).await);
    assert!(!taken(&gate, &token[..token.len() - 2]).await);
    assert!(!taken(&gate, &format!("{token}=")).await);
    assert!(!taken(&gate, &format!("{token}.{}", parts[2])).await);
}

#[tokio::test]
async fn certificates_lead_from_an_authority_to_the_key() {
    let header = |chain: &[&str]| {
        let chain: Vec<String> = chain.iter().map(|name| certificate(name)).collect();
        json!({"alg": "ES256", "x5c": chain})
    };
    let leaf = Key::leaf();
    let sign = |chain: &[&str]| leaf.sign(&header(chain), &claims());
    let (_folder, gate) = bundle(&["ca.crt"]);
    assert!(taken(&gate, &sign(&["leaf.crt", "mid.crt"])).await);
    assert!(taken(&gate, &sign(&["leaf.crt", "mid.crt", "ca.crt"])).await);
    let hint = json!({"alg": "ES256", "jwk": {"x5c": header(&["leaf.crt", "mid.crt"])["x5c"]}});
    assert!(taken(&gate, &leaf.sign(&hint, &claims())).await);
    assert!(
        !taken(&gate, &sign(&["leaf.crt"])).await,
        "without what is between"
    );
    assert!(!taken(&gate, &sign(&["expired.crt", "mid.crt"])).await);
    assert!(
        !taken(&gate, &sign(&["mid.crt"])).await,
        "another one's certificate"
    );
    assert!(
        !taken(&gate, &sign(&["self.crt"])).await,
        "of an authority that is not here"
    );
    assert!(
        !taken(
            &gate,
            &sign(&["leaf.crt", "mid.crt", "ca.crt", "ca.crt", "ca.crt", "ca.crt"])
        )
        .await
    );
    let stranger = Key::p256();
    assert!(
        !taken(
            &gate,
            &stranger.sign(&header(&["leaf.crt", "mid.crt"]), &claims())
        )
        .await
    );
    let garbage = json!({"alg": "ES256", "x5c": ["!", "AAAA"]});
    assert!(!taken(&gate, &leaf.sign(&garbage, &claims())).await);

    // docker-registry's usual set-up: one certificate that is signed by itself, here and in the token.
    let (_folder, gate) = bundle(&["self.crt"]);
    let rsa = Key::rsa(&RSA_PKCS1_SHA256, "RS256");
    let header = json!({"alg": "RS256", "x5c": [certificate("self.crt")]});
    assert!(taken(&gate, &rsa.sign(&header, &claims())).await);
}

fn thumbprint(members: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, members.as_bytes()))
}

#[tokio::test]
async fn a_key_of_p521_may_be_in_a_bundle() {
    let (pair, folder) = (SigningKey::generate(), tempfile::tempdir().unwrap());
    let path = folder.path().join("bundle.pem");
    let public = PublicKey::from(pair.verifying_key());
    std::fs::write(&path, public.to_public_key_pem(LineEnding::LF).unwrap()).unwrap();
    let gate = gate(&format!("certificates = {path:?}"));
    let key = Key::P521(pair);
    let jwk = key.jwk("");
    let (x, y) = (&jwk["x"], &jwk["y"]);
    let id = thumbprint(&format!(r#"{{"crv":"P-521","kty":"EC","x":{x},"y":{y}}}"#));
    assert!(taken(&gate, &key.token(&id)).await);
    assert!(!taken(&gate, &Key::p521().token(&id)).await);
}

#[tokio::test]
async fn keys_of_a_bundle_are_known_by_their_thumbprints() {
    // Computed by other programs.
    let libtrust = "3XHF:5SCC:32EC:LOMV:7QMP:DDGS:QSZR:45MY:JDO5:FRNS:4CBC:QVJN";
    let key = Key::rsa(&RSA_PKCS1_SHA256, "RS256");
    let jwk = key.jwk("");
    let thumbprint = thumbprint(&format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, jwk["e"], jwk["n"]));
    for name in ["rsa.pub", "self.crt"] {
        let (_folder, gate) = bundle(&[name]);
        assert!(taken(&gate, &key.token(libtrust)).await, "{name}");
        assert!(taken(&gate, &key.token(&thumbprint)).await, "{name}");
        assert!(!taken(&gate, &key.token("0")).await, "{name}");
    }
}

#[tokio::test]
async fn new_keys_are_taken_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Key::p256(), Key::p256());
    let gate = jwks(folder.path(), &[&old]);
    assert!(taken(&gate, &old.token("0")).await && !taken(&gate, &new.token("1")).await);
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({"keys": [new.jwk("1")]}).to_string()).unwrap();
    assert!(!taken(&gate, &old.token("0")).await && taken(&gate, &new.token("1")).await);
    std::fs::write(&path, "{}").unwrap();
    assert!(
        taken(&gate, &new.token("1")).await,
        "a broken file changes nothing"
    );
    assert!(gate.problem().is_some());
}

#[tokio::test]
async fn hostile_tokens_are_refused_and_nothing_more_happens() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::p256();
    let gate = jwks(folder.path(), &[&key]);
    let wanted = access("team/app", &[Action::Pull]);
    let refused = async |authorization: &str| {
        let refusal = check(&gate, authorization, &wanted).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unauthenticated { .. }), "{refusal:?}");
    };
    let token = key.token("0");
    for authorization in [
        "Bearer",
        "Bearer ",
        "Bearer \u{0}",
        "bearer a b",
        "Token x",
        "x",
        " ",
        "\u{e4}\u{e4}",
    ] {
        refused(authorization).await;
    }
    for size in [1 << 10, 1 << 14, 1 << 20, 16 << 20] {
        refused(&format!("Bearer {}", "a".repeat(size))).await;
        refused(&format!("Bearer {}", ".".repeat(size))).await;
        refused(&format!("Bearer {token}{}", "A".repeat(size))).await;
        refused(&format!(
            "Bearer {}.e30.e30",
            URL_SAFE_NO_PAD.encode("[".repeat(size))
        ))
        .await;
    }
    let many: Vec<Value> = (0..5000)
        .map(|number| json!({"type": "repository", "name": number.to_string(), "actions": ["*"]}))
        .collect();
    refused(&format!(
        "Bearer {}",
        key.sign(&json!({"alg": "ES256", "kid": "0"}), &with("access", many.into()))
    ))
    .await;
    // Every prefix, and every one with a letter changed.
    for end in 0..token.len() {
        refused(&format!("Bearer {}", &token[..end])).await;
    }
    for at in (0..token.len() - 1).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        refused(&format!("Bearer {}", String::from_utf8(changed).unwrap())).await;
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |text: &str| Token::open(&parse(text).unwrap()).unwrap_err().to_string();
    let base = "realm = \"https://x\"\nservice = \"s\"\nissuer = \"i\"\n";
    assert!(refused(base).contains("set jwks or certificates"));
    assert!(refused("service = \"s\"\nissuer = \"i\"").starts_with("auth.token.realm"));
    assert!(refused("service = \"s\"\nissuer = \"\"").starts_with("auth.token.issuer"));
    assert!(refused("service = \"s\"\nissuer = \"i\"\nredirect = \"x\"").starts_with("auth.token.redirect"));
    assert!(refused(&format!("{base}jwks = \"/nowhere\"")).contains("/nowhere"));
    let no_keys = file("README.md");
    assert!(refused(&format!("{base}jwks = {no_keys:?}")).contains("line 1"));
    assert!(refused(&format!("{base}certificates = {no_keys:?}")).contains("neither a certificate nor"));
}
