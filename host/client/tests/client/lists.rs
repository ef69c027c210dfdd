//! Tags, repositories, referrers, deletes.

use transom_client::{Client, Error};
use transom_oci::{Algorithm, Digest, media_type};

use crate::fake::{Fake, Fault, reply};
use crate::support::{options, remote};

#[tokio::test]
async fn tags_come_in_pages() {
    let fake = Fake::start().await;
    fake.plan(|seen| match seen.parameter("last").as_deref() {
        None => reply(
            200,
            &[("link", r#"</v2/team/app/tags/list?n=2&last=b>; rel="next""#)],
            r#"{"name":"team/app","tags":["a","b"]}"#,
        ),
        Some("b") => reply(
            200,
            &[("link", r#"<list?n=2&last=c>; rel="next""#)],
            r#"{"name":"team/app","tags":[]}"#,
        ),
        _ => reply(200, &[], r#"{"name":"team/app","tags":["d"]}"#),
    });
    assert_eq!(remote(&fake).all_tags().await.unwrap(), ["a", "b", "d"]);
    assert_eq!(fake.lines(), ["GET /v2/team/app/tags/list"; 3]);
    let (first, _) = remote(&fake).tags(Some(7)).await.unwrap();
    assert_eq!(first, ["a", "b"]);
    assert_eq!(fake.seen()[3].parameter("n").as_deref(), Some("7"));
}

#[tokio::test]
async fn a_list_without_end_or_on_another_host_is_refused() {
    let fake = Fake::start().await;
    fake.plan(|_| {
        reply(
            200,
            &[("link", "</v2/team/app/tags/list>; rel=next")],
            r#"{"tags":null}"#,
        )
    });
    assert!(matches!(
        remote(&fake).all_tags().await,
        Err(Error::Protocol { .. })
    ));
    let other = Fake::start().await;
    let link = format!("<http://{}/v2/team/app/tags/list?x=1>; rel=next", other.address);
    fake.plan(move |_| reply(200, &[("link", &link)], "{}"));
    assert!(matches!(
        remote(&fake).all_tags().await,
        Err(Error::Protocol { .. })
    ));
    assert!(other.seen().is_empty());
    fake.plan(|_| reply(200, &[], "[1]"));
    assert!(matches!(
        remote(&fake).all_tags().await,
        Err(Error::Protocol { .. })
    ));
}

#[tokio::test]
async fn repositories_are_listed() {
    let fake = Fake::start().await;
    fake.plan(|_| reply(200, &[], r#"{"repositories":["a","b/c"]}"#));
    let list = Client::new(options())
        .repositories(&fake.address.to_string(), None)
        .await
        .unwrap();
    assert_eq!(list.all().await.unwrap(), ["a", "b/c"]);
    assert_eq!(fake.lines(), ["GET /v2/_catalog"]);
}

fn subject() -> Digest {
    Digest::of(Algorithm::Sha256, b"subject")
}

fn entry(name: &str, kind: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, name.as_bytes());
    format!(
        r#"{{"mediaType":"{}","digest":"{digest}","size":1,"artifactType":"{kind}"}}"#,
        media_type::MANIFEST
    )
}

fn index(entries: &[String]) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        media_type::INDEX,
        entries.join(",")
    )
}

#[tokio::test]
async fn referrers_are_paged_and_filtered() {
    let fake = Fake::start().await;
    let path = format!("/v2/team/app/referrers/{}", subject());
    let next = format!("<{path}?artifactType=a%2Fb&last=x>; rel=\"next\"");
    fake.plan(move |seen| {
        if seen.parameter("last").is_none() {
            // A registry that does not filter.
            reply(
                200,
                &[("link", &next)],
                &index(&[entry("1", "a/b"), entry("2", "c/d")]),
            )
        } else {
            reply(200, &[], &index(&[entry("3", "a/b")]))
        }
    });
    let found = remote(&fake).referrers(&subject(), Some("a/b")).await.unwrap();
    let want = ["1", "3"].map(|name| Digest::of(Algorithm::Sha256, name.as_bytes()));
    assert_eq!(
        found.into_iter().map(|found| found.digest).collect::<Vec<_>>(),
        want
    );
    assert_eq!(fake.seen()[0].parameter("artifactType").as_deref(), Some("a/b"));
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn referrers_are_found_under_their_tag() {
    let fake = Fake::start().await;
    let remote = remote(&fake);
    assert!(remote.referrers(&subject(), None).await.unwrap().is_empty());
    let tag = format!("sha256-{}", subject().hex());
    fake.add_manifest(
        "team/app",
        &tag,
        media_type::INDEX,
        &index(&[entry("1", "a/b"), entry("2", "c/d")]),
    );
    assert_eq!(remote.referrers(&subject(), None).await.unwrap().len(), 2);
    assert_eq!(remote.referrers(&subject(), Some("c/d")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_has_a_subject_is_listed_there() {
    let fake = Fake::start().await;
    let remote = remote(&fake);
    let manifest = |artifact: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{}",{artifact}"config":{{"mediaType":"x/config","digest":"{}","size":2}},"layers":[],
            "subject":{{"mediaType":"{}","digest":"{}","size":7}},"annotations":{{"k":"v"}}}}"#,
            media_type::MANIFEST,
            subject(),
            media_type::MANIFEST,
            subject()
        )
    };
    for artifact in ["\"artifactType\":\"a/b\",", ""] {
        let put = remote
            .put_manifest("sig", media_type::MANIFEST, manifest(artifact).into())
            .await
            .unwrap();
        assert!(!put.listed);
    }
    // Twice is once.
    remote
        .put_manifest("sig", media_type::MANIFEST, manifest("").into())
        .await
        .unwrap();
    let found = remote.referrers(&subject(), None).await.unwrap();
    let kinds: Vec<_> = found
        .iter()
        .map(|found| found.artifact_type.as_deref().unwrap())
        .collect();
    assert_eq!(kinds, ["a/b", "x/config"]);
    assert_eq!(found[0].annotations["k"], "v");
    // A registry that lists by itself is left to it.
    let before = fake.seen().len();
    fake.plan(|_| Fault::With("oci-subject", subject().to_string()));
    let put = remote
        .put_manifest("other", media_type::MANIFEST, manifest(" ").into())
        .await
        .unwrap();
    assert!(put.listed && fake.seen().len() == before + 1);
}

#[tokio::test]
async fn deleting_may_be_forbidden() {
    let fake = Fake::start().await;
    let remote = remote(&fake);
    fake.plan(|_| reply(202, &[], ""));
    remote.delete_manifest(subject().as_str()).await.unwrap();
    remote.delete_manifest("tag").await.unwrap();
    remote.delete_blob(&subject()).await.unwrap();
    assert_eq!(
        fake.lines(),
        [
            format!("DELETE /v2/team/app/manifests/{}", subject()),
            "DELETE /v2/team/app/manifests/tag".to_owned(),
            format!("DELETE /v2/team/app/blobs/{}", subject()),
        ]
    );
    fake.plan(|_| {
        reply(
            405,
            &[],
            r#"{"errors":[{"code":"UNSUPPORTED","message":"deletes are off"}]}"#,
        )
    });
    let error = remote.delete_manifest("tag").await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("deletes are off"));
    fake.plan(|_| Fault::None);
    assert!(remote.delete_blob(&subject()).await.unwrap_err().is_not_found());
}
