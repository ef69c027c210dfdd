//! A cache that is killed while a blob comes, and what the next process finds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use transom_registry::run::Running;
use transom_storage::Factory;

use super::halting::Halting;
use super::rig::{Cache, config, data, proxy, runtime};
use crate::serving::noise;

const ROOT: &str = "TRANSOM_REGISTRY_PROXY_ROOT";
const UPSTREAM: &str = "TRANSOM_REGISTRY_PROXY_UPSTREAM";

/// Runs in a process of its own, says where it listens, and serves until it is killed.
#[test]
#[ignore = "the process that the test of this file kills"]
fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let upstream = variable(UPSTREAM).parse().unwrap();
    let config = config(Path::new(&variable(ROOT)), &proxy("hub", upstream));
    runtime().block_on(async {
        let running = Running::open(&config, &Factory::builtin()).await.unwrap();
        eprintln!("listening on {}", running.address().unwrap());
        running.serve(std::future::pending()).await;
    });
}

fn start(root: &Path, upstream: SocketAddr) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "proxy::crash::child", "--ignored", "--nocapture"])
        .env(ROOT, root)
        .env(UPSTREAM, upstream.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.map_while(Result::ok).find_map(|line| {
        let address = line.strip_prefix("listening on ")?;
        address.parse().ok()
    });
    (child, address.unwrap())
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_that_is_taken_for_whole() {
    let blob = noise(2_000_000, 31);
    let upstream = Halting::start(blob.clone());
    let folder = tempfile::tempdir().unwrap();
    let path = format!("/v2/hub/team/app/blobs/{}", upstream.digest);
    let (mut child, address) = start(folder.path(), upstream.address);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // More than a quarter has come through, and the rest does not.
    stream.read_exact(&mut vec![0; blob.len() / 4]).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < blob.len());
    assert!(!data(folder.path(), &upstream.digest).exists());

    upstream.go();
    let cache = Cache::again(folder, &proxy("hub", upstream.address));
    assert!(cache.client().ask("GET", &path).expect(200).body == blob);
    assert_eq!(upstream.asked("GET"), 2);
    assert!(cache.kept(&upstream.digest) == blob);
}
