//! Files of credentials, and programs that keep them.

use std::fs;
use std::path::{Path, PathBuf};

use transom_client::auth::{Asked, CredentialSource, Credentials, DockerConfig, Helper};
use transom_client::{Error, Secret};

async fn find(config: &DockerConfig, host: &str, repository: &str) -> Result<Credentials, Error> {
    let asked = Asked {
        host,
        repository,
        challenges: &[],
    };
    config.credentials(asked).await
}

fn parse(text: &str) -> DockerConfig {
    DockerConfig::parse(Path::new("config.json"), text, Vec::new()).unwrap()
}

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password {
        username: username.to_owned(),
        password: Secret::new(password),
    }
}

#[tokio::test]
async fn dockers_files_are_read() {
    // "me:s3cret", with and without padding; "zero:pw\0\0".
    let config = parse(
        r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"bWU6czNjcmV0"},
            "quay.io":{"auth":"bWU6cDp3","email":"x"},
            "padded.io":{"auth":"bWU6cDp3Cg=="},
            "plain.io":{"username":"u","password":"p"},
            "token.io":{"auth":"bWU6czNjcmV0","identitytoken":"refresh"},
            "registry.io":{"registrytoken":"bearer"},
            "empty.io":{},
            "http://localhost:5000":{"auth":"emVybzpwdwAA"}},
            "HttpHeaders":{"x":"y"}}"#,
    );
    for (host, want) in [
        ("docker.io", password("me", "s3cret")),
        ("quay.io", password("me", "p:w")),
        ("padded.io", password("me", "p:w\n")),
        ("plain.io", password("u", "p")),
        ("token.io", Credentials::IdentityToken(Secret::new("refresh"))),
        ("registry.io", Credentials::RegistryToken(Secret::new("bearer"))),
        ("empty.io", Credentials::Anonymous),
        ("localhost:5000", password("zero", "pw")),
        ("unknown.io", Credentials::Anonymous),
        ("io", Credentials::Anonymous),
    ] {
        assert!(find(&config, host, "a/b").await.unwrap() == want, "{host}");
    }
    assert!(find(&parse(""), "a", "b").await.unwrap() == Credentials::Anonymous);
    assert!(find(&parse("{}"), "a", "b").await.unwrap() == Credentials::Anonymous);
}

#[tokio::test]
async fn the_longest_name_of_a_repository_counts() {
    let config = parse(
        r#"{"auths":{"quay.io":{"username":"all","password":"1"},
            "quay.io/team":{"username":"team","password":"2"},
            "quay.io/team/app":{"username":"app","password":"3"}}}"#,
    );
    for (repository, user) in [
        ("team/app", "app"),
        ("team/app/sub", "app"),
        ("team/application", "team"),
        ("teams", "all"),
        ("", "all"),
    ] {
        let Credentials::Password { username, .. } = find(&config, "quay.io", repository).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(username, user, "{repository}");
    }
}

#[tokio::test]
async fn damaged_files_are_named_and_not_repeated() {
    let path = Path::new("/home/me/config.json");
    for text in [
        "{\n\"auths\":{\"a\":{\"password\":\"hunter2\",}}}",
        "{\n\"auths\":\"hunter2\"}",
        "{\n\"auths\":{\"a\":{\"auth\":7}}, \"hunter2\"",
    ] {
        let error = DockerConfig::parse(path, text, Vec::new())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("/home/me/config.json:2: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    // Not base64, and without a colon ("hunter2").
    for auth in ["hunter2!", "aHVudGVyMg=="] {
        let config = parse(&format!(r#"{{"auths":{{"a.io":{{"auth":"{auth}"}}}}}}"#));
        let error = find(&config, "a.io", "b").await.unwrap_err();
        let text = format!("{error} {error:?} {config:?}");
        assert!(error.to_string().contains("log in again"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(auth), "{text}");
    }
}

/// A folder with `docker-credential-test`, a program of the shell.
fn helper(script: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker-credential-test");
    transom_tests::scripts::script(&path, script);
    let folders = vec![PathBuf::from("/nowhere"), folder.path().to_owned()];
    (folder, folders)
}

/// Knows three servers, and writes down what it is told.
const KEEPER: &str = r#"
read -r server
echo "$1 $server" >> "$(dirname "$0")/log"
case "$1 $server" in
    "get quay.io") echo '{"ServerURL":"quay.io","Username":"me","Secret":"s3cret"}' ;;
    "get https://index.docker.io/v1/") echo '{"Username":"<token>","Secret":"refresh"}' ;;
    "get broken.io") echo '{"Username":"me","Secret":"hunter2"'; ;;
    "get fails.io") echo '{"Secret":"hunter2"}'; exit 1 ;;
    "get locked.io") echo 'the key ring is locked'; exit 1 ;;
    get*) echo 'credentials not found in native keychain'; exit 1 ;;
    *) exit 0 ;;
esac
"#;

#[tokio::test]
async fn helpers_are_asked() {
    let (folder, folders) = helper(KEEPER);
    let text = r#"{"auths":{"quay.io":{},"other.io":{"username":"u","password":"p"}},"credsStore":"test"}"#;
    let config = DockerConfig::parse(Path::new("c"), text, folders.clone()).unwrap();
    assert!(find(&config, "quay.io", "a").await.unwrap() == password("me", "s3cret"));
    let token = Credentials::IdentityToken(Secret::new("refresh"));
    assert!(find(&config, "docker.io", "a").await.unwrap() == token);
    // What the helper does not know stands in the file.
    assert!(find(&config, "other.io", "a").await.unwrap() == password("u", "p"));
    for host in ["broken.io", "fails.io"] {
        let error = find(&config, host, "a").await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            matches!(error, Error::Helper { .. }) && !text.contains("hunter2"),
            "{text}"
        );
    }
    let error = find(&config, "locked.io", "a").await.unwrap_err().to_string();
    assert!(
        error.contains("docker-credential-test") && error.contains("key ring is locked"),
        "{error}"
    );
    let one = r#"{"credHelpers":{"quay.io":"test"}}"#;
    let config = DockerConfig::parse(Path::new("c"), one, folders.clone()).unwrap();
    assert!(find(&config, "quay.io", "a").await.unwrap() == password("me", "s3cret"));
    assert!(find(&config, "docker.io", "a").await.unwrap() == Credentials::Anonymous);
    let helper = Helper::named("test", folders).unwrap();
    helper.store("new.io", "me", &Secret::new("p\"w")).await.unwrap();
    helper.erase("new.io").await.unwrap();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(
        log.contains(r#"store {"ServerURL":"new.io","Username":"me","Secret":"p\"w"}"#),
        "{log}"
    );
    assert!(log.ends_with("erase new.io\n"), "{log}");
}

#[tokio::test]
async fn helpers_that_are_missing_or_talk_too_much_are_named() {
    let error = Helper::named("absent", vec![PathBuf::from("/nowhere")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("docker-credential-absent") && error.contains("install it"),
        "{error}"
    );
    assert!(Helper::named("../../bin/sh", vec![PathBuf::from("/bin")]).is_err());
    let (_folder, folders) = helper("exec yes hunter2");
    let error = Helper::named("test", folders)
        .unwrap()
        .get("x")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("more than") && !error.contains("hunter2"),
        "{error}"
    );
}
