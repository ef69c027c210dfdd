//! Who serves a registry: containerd's `certs.d`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use transom_client::hosts::{Capabilities, Host, Scheme};
use transom_client::{Error, Hosts};

use crate::support::testdata;

/// A folder of settings with one file in it.
fn folder(registry: &str, file: &str, text: &str) -> (tempfile::TempDir, Hosts) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(registry);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(file), text).unwrap();
    let hosts = Hosts {
        folders: vec![PathBuf::from("/does/not/exist"), root.path().to_owned()],
        ..Hosts::default()
    };
    (root, hosts)
}

fn brief(hosts: &[Host]) -> Vec<String> {
    let one = |host: &Host| {
        let mirror = host
            .mirror_of
            .as_deref()
            .map(|of| format!(" for {of}"))
            .unwrap_or_default();
        format!("{:?} {}{}{mirror}", host.scheme, host.authority, host.path)
    };
    hosts.iter().map(one).collect()
}

#[test]
fn without_settings_a_registry_serves_itself() {
    for (registry, want) in [
        ("docker.io", "Https registry-1.docker.io/v2"),
        ("quay.io", "Https quay.io/v2"),
        ("quay.io:80", "Https quay.io:80/v2"),
        ("10.0.0.1:5000", "Https 10.0.0.1:5000/v2"),
        ("localhost", "Https localhost/v2"),
        ("localhost:443", "Https localhost:443/v2"),
        ("localhost:80", "Http localhost:80/v2"),
        ("localhost:5000", "Either localhost:5000/v2"),
        ("127.1.2.3:5000", "Either 127.1.2.3:5000/v2"),
        ("[::1]:5000", "Either [::1]:5000/v2"),
        (
            "localhost.example.com:5000",
            "Https localhost.example.com:5000/v2",
        ),
    ] {
        assert_eq!(brief(&Hosts::default().lookup(registry).unwrap()), [want]);
    }
    let plain = Hosts {
        plain_http: true,
        ..Hosts::default()
    };
    assert_eq!(brief(&plain.lookup("quay.io").unwrap()), ["Http quay.io/v2"]);
    let tls_only = Hosts {
        tls_only: true,
        ..Hosts::default()
    };
    for registry in ["localhost:80", "127.0.0.1:5000", "quay.io"] {
        let found = tls_only.lookup(registry).unwrap();
        assert_eq!(brief(&found), [format!("Https {registry}/v2")]);
        assert!(!found[0].skip_verify);
    }
}

#[test]
fn mirrors_stand_in_the_order_of_the_file() {
    let text = r#"
        server = "https://registry-1.docker.io"

        [host."https://z.example"]
        capabilities = ["pull"]
        [host."http://a.example:5000/sub/"]
        override_path = true
        dial_timeout = "1.5s"
        [host."http://a.example:5000/sub/".header]
        x-one = "1"
        X-Two = ["2", "3"]
        [host."m.example/v2"]
        proxy = "socks5://proxy:1080"
        skip_verify = true
    "#;
    let (_root, hosts) = folder("docker.io", "hosts.toml", text);
    let found = hosts.lookup("docker.io").unwrap();
    assert_eq!(
        brief(&found),
        [
            "Https z.example/v2 for docker.io",
            "Http a.example:5000/sub for docker.io",
            "Https m.example/v2 for docker.io",
            "Https registry-1.docker.io/v2",
        ]
    );
    let pull = Capabilities {
        pull: true,
        resolve: false,
        push: false,
    };
    assert_eq!(
        (found[0].capabilities, found[1].capabilities),
        (pull, Capabilities::ALL)
    );
    assert_eq!(found[1].dial_timeout, Some(Duration::from_millis(1_500)));
    let two: Vec<_> = found[1].headers.get_all("x-two").iter().collect();
    assert_eq!(
        (found[1].headers["x-one"].as_bytes(), two.len()),
        (b"1".as_slice(), 2)
    );
    assert!(found[2].skip_verify && found[2].proxy.is_some() && !found[3].skip_verify);
}

#[test]
fn without_a_server_the_registry_itself_comes_last() {
    let text = "[host.\"https://mirror.example\"]\n";
    let (_root, hosts) = folder("_default", "hosts.toml", text);
    for (registry, own) in [
        ("quay.io", "Https quay.io/v2"),
        ("docker.io", "Https registry-1.docker.io/v2"),
    ] {
        let found = brief(&hosts.lookup(registry).unwrap());
        assert_eq!(
            found,
            [format!("Https mirror.example/v2 for {registry}"), own.to_owned()]
        );
    }
    let (_root, only) = folder("_default", "hosts.toml", "server = \"https://mirror.example\"\n");
    assert_eq!(
        brief(&only.lookup("quay.io").unwrap()),
        ["Https mirror.example/v2 for quay.io"]
    );
}

#[test]
fn folders_are_found_by_host_and_port() {
    for name in ["quay.io_5000_", "quay.io:5000", "_default"] {
        let (_root, hosts) = folder(name, "hosts.toml", "server = \"https://found.example\"\n");
        let found = brief(&hosts.lookup("quay.io:5000").unwrap());
        assert_eq!(found, ["Https found.example/v2 for quay.io:5000"], "{name}");
    }
    let (_root, hosts) = folder("quay.io", "hosts.toml", "server = \"https://found.example\"\n");
    assert_eq!(
        brief(&hosts.lookup("quay.io:5000").unwrap()),
        ["Https quay.io:5000/v2"]
    );
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, line, hint) in [
        ("server = ", 1, ""),
        ("\nserver = 5", 2, "server is a text"),
        ("serer = \"x\"", 1, "unknown key \"serer\""),
        (
            "[host.\"https://a\"]\ncapabilites = [\"pull\"]",
            2,
            "unknown key \"capabilites\"",
        ),
        (
            "[host.\"https://a\"]\n\ncapabilities = [\"pull\", \"pul\"]",
            3,
            "want pull, resolve or push",
        ),
        ("[host.\"ftp://a\"]", 1, "begins with https://"),
        ("[host.\"https://user:secret@a\"]", 1, "config.json"),
        ("host = 1", 1, "host is a table"),
        ("skip_verify = \"yes\"", 1, "true or false"),
        ("dial_timeout = \"soon\"", 1, "want a time"),
        ("proxy = \"gopher://p\"", 1, "want a proxy"),
        ("ca = \"absent.pem\"", 1, "absent.pem"),
        ("ca = 1", 1, "ca is a text in quotes, or a list"),
        ("client = [[\"a\", \"b\", \"c\"]]", 1, "a certificate and a key"),
        ("\n\n[header]\n\"b d\" = \"x\"", 4, "not a header's name"),
        ("[header]\na = \"se\\ncret\"", 2, "not the value of a header"),
    ] {
        let (_root, hosts) = folder("quay.io", "hosts.toml", text);
        let error = hosts.lookup("quay.io").unwrap_err();
        let Error::File {
            path, line: found, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert!(path.ends_with("quay.io/hosts.toml"), "{error}");
        assert_eq!(*found, Some(line), "{text:?}: {error}");
        assert!(error.to_string().contains(hint), "{text:?}: {error}");
        assert!(!error.to_string().contains("cret"), "{error}");
    }
}

fn copy(name: &str, to: &Path) {
    fs::copy(testdata(name), to).unwrap();
}

#[test]
fn certificates_lie_as_docker_lays_them() {
    let (root, hosts) = folder("localhost:5000", "readme.txt", "");
    let folder = root.path().join("localhost:5000");
    copy("ca.pem", &folder.join("ca.crt"));
    copy("client.pem", &folder.join("me.cert"));
    copy("client.key", &folder.join("me.key"));
    let found = hosts.lookup("localhost:5000").unwrap();
    assert_eq!((found[0].authorities.len(), found[0].identities.len()), (1, 1));
    // Certificates count, even where none are asked for by default.
    assert_eq!((found[0].scheme, found[0].skip_verify), (Scheme::Https, false));
    fs::remove_file(folder.join("me.key")).unwrap();
    let error = hosts.lookup("localhost:5000").unwrap_err().to_string();
    assert!(
        error.contains("me.cert") && error.contains("no private key"),
        "{error}"
    );
}

#[test]
fn certificates_are_named_relative_to_the_file() {
    let text = "ca = [\"ca.pem\"]\nclient = [[\"client.pem\", \"client.key\"], \"both.pem\"]\n";
    let (root, hosts) = folder("quay.io", "hosts.toml", text);
    let folder = root.path().join("quay.io");
    for name in ["ca.pem", "client.pem", "client.key"] {
        copy(name, &folder.join(name));
    }
    let both = [testdata("client.pem"), testdata("client.key")].map(|path| fs::read_to_string(path).unwrap());
    fs::write(folder.join("both.pem"), both.concat()).unwrap();
    let found = hosts.lookup("quay.io").unwrap();
    assert_eq!((found[0].authorities.len(), found[0].identities.len()), (1, 2));
    let shown = format!("{found:?}");
    assert!(
        !shown.contains("PRIVATE") && !shown.to_lowercase().contains("key:"),
        "{shown}"
    );
    fs::write(folder.join("ca.pem"), "nothing").unwrap();
    let error = hosts.lookup("quay.io").unwrap_err().to_string();
    assert!(
        error.contains("hosts.toml:1:") && error.contains("no certificate"),
        "{error}"
    );
}
