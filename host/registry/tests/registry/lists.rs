//! Lists: tags, repositories, referrers, in pages.

use serde_json::{Value, json};

use crate::client::Client;
use crate::serving::{INDEX, MANIFEST, Serving, image, put_manifest, sha256};

/// All pages from a path on, each with its list.
fn pages(client: &mut Client, first: &str, list: &str) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let answer = client.ask("GET", &path).expect(200);
        pages.push(answer.json()[list].clone());
        next = answer.header("link").map(|link| {
            let link = link.strip_suffix(">; rel=\"next\"").unwrap();
            link.strip_prefix('<').unwrap().to_owned()
        });
    }
    pages
}

#[test]
fn tags_come_in_order_and_in_pages() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let manifest = image(&mut client, "a", "layer", "");
        for tag in ["b", "a-b", "a", "B", "a.b", "_", "10", "9"] {
            put_manifest(&mut client, "a", tag, MANIFEST, &manifest).expect(201);
        }
        let all = json!(["10", "9", "B", "_", "a", "a-b", "a.b", "b"]);
        let answer = client.ask("GET", "/v2/a/tags/list").expect(200);
        assert_eq!(answer.json(), json!({ "name": "a", "tags": all }));
        assert_eq!(answer.header("link"), None);
        assert_eq!(
            pages(&mut client, "/v2/a/tags/list?n=3", "tags"),
            [
                json!(["10", "9", "B"]),
                json!(["_", "a", "a-b"]),
                json!(["a.b", "b"])
            ]
        );
        assert_eq!(pages(&mut client, "/v2/a/tags/list?n=4", "tags").len(), 2);
        let none = client.ask("GET", "/v2/a/tags/list?n=0").expect(200);
        assert_eq!(
            (none.json()["tags"].clone(), none.header("link")),
            (json!([]), None)
        );
        let after = client.ask("GET", "/v2/a/tags/list?last=a").expect(200);
        assert_eq!(after.json()["tags"], json!(["a-b", "a.b", "b"]));
        let end = client.ask("GET", "/v2/a/tags/list?n=2&last=zzz").expect(200);
        assert_eq!(end.json()["tags"], json!([]));
        let wrong = client.ask("GET", "/v2/a/tags/list?n=x").expect(400);
        assert_eq!(wrong.code(), "PAGINATION_NUMBER_INVALID");
        assert_eq!(
            client.ask("GET", "/v2/none/tags/list").expect(404).code(),
            "NAME_UNKNOWN"
        );
    }
}

#[test]
fn repositories_come_in_order_and_in_pages() {
    for serving in Serving::each() {
        let mut client = serving.client();
        assert_eq!(
            client.ask("GET", "/v2/_catalog").expect(200).json(),
            json!({ "repositories": [] })
        );
        for name in ["b/c", "b-c", "a", "b", "b/0", "b/c/d", "c/d/e"] {
            let manifest = image(&mut client, name, "layer", "");
            put_manifest(&mut client, name, "latest", MANIFEST, &manifest).expect(201);
        }
        // One that has only blobs is none.
        crate::serving::push_blob(&mut client, "blobs", b"x");
        let all = ["a", "b", "b/0", "b/c", "b/c/d", "b-c", "c/d/e"];
        for length in 1..=8 {
            let found = pages(&mut client, &format!("/v2/_catalog?n={length}"), "repositories");
            let want: Vec<Value> = all.chunks(length).map(|page| json!(page)).collect();
            assert_eq!(found, want);
        }
        client.ask("GET", "/v2/_catalog?last=..").expect(400);
        client.ask("GET", "/v2/_catalog?n=999999999").expect(200);
    }
}

fn referrer(client: &mut Client, subject: &str, kind: &str, note: &str) -> String {
    let extra = format!(
        r#","artifactType":"{kind}","subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":1}},"annotations":{{"note":"{note}"}}"#
    );
    let manifest = image(client, "a", "artifact", &extra);
    let digest = sha256(manifest.as_bytes());
    let made = put_manifest(client, "a", &digest, MANIFEST, &manifest).expect(201);
    assert_eq!(made.header("oci-subject"), Some(subject));
    digest
}

#[test]
fn referrers_are_found_also_before_their_subject_is_there() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let subject = image(&mut client, "a", "subject", "");
        let subject_digest = sha256(subject.as_bytes());
        let path = format!("/v2/a/referrers/{subject_digest}");
        let none = client.ask("GET", &path).expect(200);
        assert_eq!(none.header("content-type"), Some(INDEX));
        assert_eq!(
            none.json(),
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
        );
        let mut sums: Vec<String> = (0..3)
            .map(|number| referrer(&mut client, &subject_digest, "x/sum", &number.to_string()))
            .collect();
        let sign = referrer(&mut client, &subject_digest, "x/sign", "s");
        put_manifest(&mut client, "a", "latest", MANIFEST, &subject).expect(201);
        let found = client.ask("GET", &path).expect(200);
        assert_eq!(found.header("oci-filters-applied"), None);
        assert_eq!(found.json()["manifests"].as_array().unwrap().len(), 4);
        let filtered = client
            .ask("GET", &format!("{path}?artifactType=x/sign"))
            .expect(200);
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        let listed = filtered.json()["manifests"][0].clone();
        assert_eq!(listed["digest"], json!(sign));
        assert_eq!(listed["artifactType"], json!("x/sign"));
        assert_eq!(listed["annotations"], json!({ "note": "s" }));
        assert_eq!(listed["mediaType"], json!(MANIFEST));
        sums.sort();
        let paged = pages(
            &mut client,
            &format!("{path}?n=2&artifactType=x%2fsum"),
            "manifests",
        );
        let digests = paged.iter().flat_map(|page| page.as_array().unwrap());
        let digests: Vec<&str> = digests.map(|listed| listed["digest"].as_str().unwrap()).collect();
        assert_eq!(
            (paged.len(), digests),
            (2, sums.iter().map(String::as_str).collect())
        );
        client
            .ask("DELETE", &format!("/v2/a/manifests/{sign}"))
            .expect(202);
        let left = client.ask("GET", &path).expect(200).json();
        assert_eq!(left["manifests"].as_array().unwrap().len(), 3);
        client.ask("GET", "/v2/a/referrers/sha256:x").expect(400);
    }
}

#[test]
fn referrers_of_old_clients_are_listed_too() {
    for serving in Serving::each() {
        let mut client = serving.client();
        let subject = sha256(b"subject");
        let native = referrer(&mut client, &subject, "x/sum", "n");
        let old = sha256(b"old");
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{native}","size":1}}]}}"#
        );
        let listed = image(&mut client, "a", "old", "");
        let old = if old.is_empty() {
            old
        } else {
            sha256(listed.as_bytes())
        };
        put_manifest(&mut client, "a", &old, MANIFEST, &listed).expect(201);
        let index = index.replace(
            "\"manifests\":[",
            &format!(r#""manifests":[{{"mediaType":"{MANIFEST}","digest":"{old}","size":2,"artifactType":"x/old"}},"#),
        );
        put_manifest(&mut client, "a", &subject.replace(':', "-"), INDEX, &index).expect(201);
        let found = client
            .ask("GET", &format!("/v2/a/referrers/{subject}"))
            .expect(200)
            .json();
        assert_eq!(found["manifests"].as_array().unwrap().len(), 2);
        let filtered = client.ask("GET", &format!("/v2/a/referrers/{subject}?artifactType=x/old"));
        assert_eq!(filtered.expect(200).json()["manifests"][0]["digest"], json!(old));
    }
}
