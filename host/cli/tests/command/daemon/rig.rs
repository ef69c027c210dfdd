//! A daemon for one test: Transom's in this process, or the installed containerd in one of its own.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use transomd::Daemon;
use transomd::config::Config;
use transomd::notify::Notify;
use transomd::places::Places;
use transomd::reload::Reloading;
use transomd::shutdown::Shutdown;

use crate::support::{Done, transom, wait_until};

/// Makes a test of a function for either daemon.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn on_transomd() {
                super::$name(&crate::daemon::rig::Rig::transomd());
            }

            #[test]
            fn on_containerd() {
                if let Some(rig) = crate::daemon::rig::Rig::containerd() {
                    super::$name(&rig);
                }
            }
        }
    )+};
}
pub(crate) use on_both;

/// A daemon that serves until this is dropped, and a folder for files.
pub(crate) struct Rig {
    folder: TempDir,
    socket: PathBuf,
    server: Server,
}

enum Server {
    Here {
        shutdown: Shutdown,
        thread: Option<JoinHandle<()>>,
    },
    There(Child),
}

impl Rig {
    pub(crate) fn transomd() -> Rig {
        Rig::transomd_in(tempfile::tempdir().unwrap())
    }

    /// The same in a folder where one may have been before.
    pub(crate) fn transomd_in(folder: TempDir) -> Rig {
        let places = Places {
            config: folder.path().join("config.toml"),
            root: folder.path().join("root"),
            state: folder.path().join("state"),
        };
        let read = move || {
            let text = fs::read_to_string(&places.config).unwrap_or_default();
            let mut config = Config::parse(&text, &places).map_err(|mistakes| mistakes.to_string())?;
            config.metrics = Some(([127, 0, 0, 1], 0).into());
            Ok(config)
        };
        let config = read().unwrap();
        let socket = config.socket_path();
        let shutdown = Shutdown::default();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let daemon = Daemon::open_with(config, stop, Reloading::from(read))
                    .await
                    .unwrap();
                daemon.serve(&Notify::default()).await.unwrap();
            });
        });
        let server = Server::Here {
            shutdown,
            thread: Some(thread),
        };
        Rig::ready(folder, socket, server)
    }

    /// `None` where the test must be left out.
    pub(crate) fn containerd() -> Option<Rig> {
        if !transom_tests::require_root() {
            return None;
        }
        let program = transom_tests::require_program("containerd")?;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let config = folder.path().join("config.toml");
        fs::write(&config, containerd_config(folder.path())).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Some(Rig::ready(folder, socket, Server::There(child)))
    }

    fn ready(folder: TempDir, socket: PathBuf, server: Server) -> Rig {
        wait_until("the daemon listens", || UnixStream::connect(&socket).is_ok());
        Rig {
            folder,
            socket,
            server,
        }
    }

    /// Stops the daemon, and gives its folder.
    pub(crate) fn stop(mut self) -> TempDir {
        self.server.stop();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    pub(crate) fn is_containerd(&self) -> bool {
        matches!(self.server, Server::There(_))
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A file with some content.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with this daemon's socket, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = transom(["--address"]);
        command.arg(&self.socket).args(arguments);
        for variable in ["TRANSOM_ADDRESS", "CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    /// What a command wrote, which succeeded.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// Every document that a command wrote.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let mut command = self.command(&["--json"]);
        let done = Done::from(command.args(arguments).output().unwrap());
        let text = done.ok();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The one document that a command wrote.
    #[track_caller]
    pub(crate) fn one(&self, arguments: &[&str]) -> Value {
        let mut all = self.json(arguments);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Stores some bytes, and gives their digest.
    #[track_caller]
    pub(crate) fn ingest(&self, content: &[u8]) -> String {
        let file = self.file("ingested", content);
        self.ok(&["content", "ingest", "some", &file]).trim().to_owned()
    }
}

impl Server {
    fn stop(&mut self) {
        match self {
            Server::Here { shutdown, thread } => {
                shutdown.begin();
                // That it could not serve has failed the test before.
                drop(thread.take().map(JoinHandle::join));
            }
            Server::There(child) => {
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_child(child),
                    rustix::process::Signal::TERM,
                );
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.stop();
    }
}

/// What needs no container: everything in the folder, nothing of the machine's own containerd.
fn containerd_config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{folder}/sock"
[ttrpc]
  address = "{folder}/ttrpc"
"#
    )
}

/// The keys of a document, of what is in it, and of the first of a list.
pub(crate) fn shape(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| match value {
                // Labels and the like have keys of their own.
                Value::Object(_) if matches!(key.as_str(), "labels" | "annotations") => key.clone(),
                Value::Object(_) | Value::Array(_) => format!("{key}:{}", shape(value)),
                _ => key.clone(),
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
        Value::Array(values) => format!("[{}]", values.first().map(shape).unwrap_or_default()),
        _ => String::new(),
    }
}
