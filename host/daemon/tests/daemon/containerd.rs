//! Debian's containerd with this daemon as its content store and its snapshotter.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::program::{Program, good};
use crate::rig::sha256;

/// A running containerd. It is killed when this is dropped.
struct Containerd {
    child: Child,
    socket: PathBuf,
}

impl Containerd {
    fn start(program: &Path, folder: &Path, here: &Path) -> Containerd {
        let state = folder.join("containerd-state");
        let socket = state.join("containerd.sock");
        let config = folder.join("containerd.toml");
        // What is of no use here, and what needs more of the machine than a test may ask for.
        let disabled = [
            "content.v1.content",
            "grpc.v1.cri",
            "internal.v1.opt",
            "internal.v1.restart",
        ];
        let disabled = disabled
            .map(|plugin| format!("\"io.containerd.{plugin}\""))
            .join(", ");
        let text = format!(
            "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [{disabled}]\n\
             [grpc]\naddress = {socket:?}\n\
             [ttrpc]\naddress = {ttrpc:?}\n\
             [proxy_plugins.transom]\ntype = \"content\"\naddress = {here:?}\n\
             [proxy_plugins.stacked]\ntype = \"snapshot\"\naddress = {here:?}\n",
            root = folder.join("containerd-root"),
            ttrpc = state.join("ttrpc.sock"),
        );
        std::fs::write(&config, text).expect("a file");
        let log = std::fs::File::create(folder.join("containerd.log")).expect("a file");
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().expect("containerd runs");
        Containerd { child, socket }
    }

    /// Waits until it answers.
    fn answers(&mut self, ctr: &Path, folder: &Path) {
        let log = || std::fs::read_to_string(folder.join("containerd.log")).unwrap_or_default();
        for _ in 0..2400 {
            assert_eq!(
                self.child.try_wait().expect("a child"),
                None,
                "containerd ended: {}",
                log()
            );
            if self
                .ctr(ctr)
                .arg("version")
                .output()
                .expect("ctr runs")
                .status
                .success()
            {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("containerd does not answer: {}", log());
    }

    fn ctr(&self, ctr: &Path) -> Command {
        let mut command = Command::new(ctr);
        command
            .arg("-a")
            .arg(&self.socket)
            .env_remove("CONTAINERD_NAMESPACE");
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This daemon, a containerd before it, and `ctr`; or nothing, with the reason written down.
fn both() -> Option<(Program, Containerd, PathBuf)> {
    if !transom_tests::needs::require_root() {
        return None;
    }
    let containerd = transom_tests::needs::require_program("containerd")?;
    let ctr = transom_tests::needs::require_program("ctr")?;
    let program = Program::start(&["--proxy-backend"]);
    let folder = program.folder.path().to_path_buf();
    let mut server = Containerd::start(&containerd, &folder, &program.socket());
    server.answers(&ctr, &folder);
    Some((program, server, ctr))
}

/// Waits for what containerd's collector does in its own time.
#[track_caller]
fn comes(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2400 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("containerd does not {what}");
}

#[test]
fn containerd_keeps_its_content_here() {
    let Some((program, server, ctr)) = both() else {
        return;
    };
    let folder = program.folder.path().to_path_buf();
    let run = |arguments: &[&str]| good(&server.ctr(&ctr).args(arguments).output().expect("ctr runs"));
    let plugins = run(&["plugins", "ls", "type==io.containerd.content.v1"]);
    assert!(plugins.contains("transom"), "{plugins}");

    let file = folder.join("data");
    let data: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 249) as u8).collect();
    std::fs::write(&file, &data).expect("a file");
    let digest = sha256(&data);
    let lease = run(&["leases", "create", "--id", "L"]);
    assert_eq!(lease, "L\n");
    let ingest = |reference: &str| {
        let mut command = server.ctr(&ctr);
        command
            .args(["content", "ingest", reference])
            .stdin(std::fs::File::open(&file).expect("a file"));
        good(&command.output().expect("ctr runs"));
    };
    ingest("r1");
    run(&["content", "label", &digest, "containerd.io/gc.root=now"]);
    let got = server
        .ctr(&ctr)
        .args(["content", "get", &digest])
        .output()
        .expect("ctr runs");
    assert!(got.status.success() && got.stdout == data);
    let name = digest.replace("sha256:", "root/io.containerd.content.v1.content/blobs/sha256/");
    assert_eq!(
        std::fs::read(folder.join(&name)).expect("its bytes are here"),
        data
    );
    assert!(
        !folder
            .join("containerd-root/io.containerd.content.v1.content")
            .exists()
    );

    // containerd collects: it lists, and deletes here. A lease that is deleted at once makes it do so.
    run(&["content", "rm", &digest]);
    run(&["leases", "rm", "--sync", "L"]);
    comes("delete what it has collected", || !folder.join(&name).exists());
}

#[test]
fn containerd_keeps_its_snapshots_here() {
    let Some((program, server, ctr)) = both() else {
        return;
    };
    let folder = program.folder.path().to_path_buf();
    let run = |arguments: &[&str]| good(&server.ctr(&ctr).args(arguments).output().expect("ctr runs"));
    let plugins = run(&["plugins", "ls", "id==stacked"]);
    assert!(plugins.contains("io.containerd.snapshotter.v1"), "{plugins}");
    let (archive, _) = crate::ctr::archive(&folder);
    // By a name of the operator's choice: the default snapshotter serves it.
    let of = |arguments: &[&'static str]| [arguments, &["--snapshotter", "stacked"]].concat();
    run(&[&of(&["images", "import"])[..], &[&*archive.to_string_lossy()]].concat());
    let listed = run(&["snapshots", "--snapshotter", "stacked", "ls"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let kept = folder.join("root/io.containerd.snapshotter.v1.overlayfs/snapshots");
    let count = || std::fs::read_dir(&kept).expect("its folder").count();
    assert_eq!(count(), 1);

    let target = folder.join("mnt");
    std::fs::create_dir(&target).expect("a folder");
    let place = target.to_string_lossy().into_owned();
    run(&[
        &of(&["images", "mount", "--rw"])[..],
        &["example.com/a:1", &place],
    ]
    .concat());
    assert_eq!(
        std::fs::read_to_string(target.join("hello")).expect("a file"),
        "hello\n"
    );
    std::fs::write(target.join("new"), "1").expect("it can be written to");
    run(&[&of(&["images", "unmount", "--rm"])[..], &[&place]].concat());

    // With a label that keeps it, which a mount does not have.
    let chain = listed
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().next());
    let snapshots =
        |arguments: &[&str]| run(&[&["snapshots", "--snapshotter", "stacked"], arguments].concat());
    snapshots(&["prepare", "p", chain.expect("a key")]);
    assert!(snapshots(&["usage", "p"]).contains('p'));
    snapshots(&["label", "p", "k=v"]);
    assert!(snapshots(&["info", "p"]).contains("\"k\": \"v\""));
    snapshots(&["rm", "p"]);
    run(&["images", "rm", "--sync", "example.com/a:1"]);
    comes("remove the snapshots that it has collected", || count() == 0);
    assert_eq!(snapshots(&["ls"]).lines().count(), 1);
}
