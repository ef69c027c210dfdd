//! Resolving tags, and the bytes of manifests.

use transom_client::Error;
use transom_oci::{Algorithm, Digest, media_type};

use crate::fake::{Fake, Fault, reply};
use crate::support::remote;

const BODY: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#;

#[tokio::test]
async fn a_tag_is_resolved_by_its_head() {
    let fake = Fake::start().await;
    let digest = fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let found = remote(&fake).resolve("1").await.unwrap();
    assert_eq!((found.digest, found.size), (digest, BODY.len() as u64));
    assert_eq!(found.media_type, media_type::MANIFEST);
    let seen = fake.seen();
    assert_eq!(fake.lines(), ["HEAD /v2/team/app/manifests/1"]);
    let accept = seen[0].header("accept").unwrap();
    for kind in [
        media_type::INDEX,
        media_type::MANIFEST,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
    ] {
        assert!(accept.contains(kind), "{accept}");
    }
    assert!(seen[0].header("user-agent").unwrap().starts_with("transom/"));
}

#[tokio::test]
async fn the_body_is_asked_where_the_head_says_too_little() {
    let faults = || {
        [
            reply(405, &[], ""),
            reply(400, &[], ""),
            Fault::Without("docker-content-digest"),
            Fault::Without("content-length"),
            Fault::With("content-type", "text/plain".to_owned()),
        ]
    };
    for fault in faults() {
        let text = format!("{fault:?}");
        let fake = Fake::start().await;
        let digest = fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
        let mut fault = Some(fault);
        fake.plan(move |seen| {
            if seen.method == "HEAD" {
                fault.take().unwrap_or_default()
            } else {
                Fault::None
            }
        });
        let found = remote(&fake).resolve("1").await.unwrap();
        assert_eq!(found.digest, digest, "{text}");
        assert_eq!(
            fake.lines().last().unwrap(),
            "GET /v2/team/app/manifests/1",
            "{text}"
        );
    }
}

#[tokio::test]
async fn other_bytes_than_asked_for_are_refused() {
    let fake = Fake::start().await;
    let digest = fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let remote = remote(&fake);
    assert_eq!(remote.manifest(digest.as_str()).await.unwrap().bytes, BODY);
    fake.next(vec![Fault::Flip(3)]);
    let error = remote.manifest(digest.as_str()).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    // By tag, the registry's own digest is what it is held to.
    fake.next(vec![Fault::Flip(3)]);
    assert!(matches!(
        remote.manifest("1").await,
        Err(Error::WrongDigest { .. })
    ));
    let other = Digest::of(Algorithm::Sha256, b"other").to_string();
    fake.next(vec![Fault::With("docker-content-digest", other)]);
    assert!(matches!(
        remote.resolve(digest.as_str()).await,
        Err(Error::WrongDigest { .. })
    ));
}

#[tokio::test]
async fn digests_of_other_algorithms_are_kept() {
    let fake = Fake::start().await;
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    let digest = Digest::of(Algorithm::Sha512, BODY.as_bytes());
    let named = digest.to_string();
    fake.plan(move |_| Fault::With("docker-content-digest", named.clone()));
    let fetched = remote(&fake).manifest("1").await.unwrap();
    assert_eq!(fetched.descriptor.digest, digest);
}

#[tokio::test]
async fn what_is_two_things_or_too_large_is_refused() {
    let fake = Fake::start().await;
    let remote = remote(&fake);
    fake.add_manifest(
        "team/app",
        "two",
        media_type::MANIFEST,
        r#"{"layers":[],"manifests":[]}"#,
    );
    fake.add_manifest(
        "team/app",
        "large",
        media_type::MANIFEST,
        &" ".repeat((4 << 20) + 1),
    );
    assert!(matches!(
        remote.manifest("two").await,
        Err(Error::Protocol { .. })
    ));
    assert!(matches!(
        remote.manifest("large").await,
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        remote.resolve("large").await,
        Err(Error::TooLarge { .. })
    ));
    // Without a length, too.
    fake.plan(|_| Fault::Without("content-length"));
    assert!(matches!(
        remote.manifest("large").await,
        Err(Error::TooLarge { .. })
    ));
}

#[tokio::test]
async fn a_cut_manifest_is_asked_for_again() {
    let fake = Fake::start().await;
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    fake.next(vec![Fault::Cut(10), reply(503, &[], ""), Fault::None]);
    assert_eq!(remote(&fake).manifest("1").await.unwrap().bytes, BODY);
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn errors_say_what_the_registry_said() {
    let fake = Fake::start().await;
    let remote = remote(&fake);
    let error = remote.resolve("absent").await.unwrap_err();
    assert!(error.is_not_found());
    assert!(error.to_string().contains(":absent"), "{error}");
    fake.plan(|_| {
        reply(
            403,
            &[],
            r#"{"errors":[{"code":"DENIED","message":"no access for you"}]}"#,
        )
    });
    let error = remote.manifest("1").await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }));
    assert!(error.to_string().contains("no access for you"), "{error}");
    assert!(matches!(
        remote.resolve("a/b").await,
        Err(Error::Reference { .. })
    ));
}
