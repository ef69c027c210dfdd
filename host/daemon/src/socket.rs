//! The socket: made with its owner and permissions, taken over from a daemon that died, and who may talk to it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::config;
use crate::{Failure, lock};

/// A listening socket. It is removed when this is dropped, unless somebody else has put theirs in its place.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
    peers: Peers,
}

impl Socket {
    /// Listens on `path`. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Served`] if somebody answers there, [`Failure::NotASocket`], [`Failure::Io`].
    pub fn listen(path: &Path, settings: &config::Socket) -> Result<Socket, Failure> {
        if let Some(folder) = path.parent() {
            lock::folder(folder, 0o711)?;
        }
        remove_stale(path)?;
        let fail = |action, e| Failure::io(action, path, e);
        let listener = UnixListener::bind(path).map_err(|e| fail("listen on", e))?;
        let own = std::fs::symlink_metadata(path).map_err(|e| fail("look at", e))?;
        let socket = Socket {
            listener,
            path: path.to_path_buf(),
            inode: (own.dev(), own.ino()),
            peers: Peers::new(settings),
        };
        if settings.uid.is_some() || settings.gid.is_some() {
            std::os::unix::fs::chown(path, settings.uid, settings.gid)
                .map_err(|e| fail("change the owner of", e))?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(settings.mode))
            .map_err(|e| fail("set the permissions of", e))?;
        Ok(socket)
    }

    /// The next who connects.
    ///
    /// # Errors
    /// Those of `accept(2)`.
    pub async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.listener.accept().await?;
        let peer = self.peers.judge(&stream);
        Ok((stream, peer))
    }
}

/// Removes a socket that nobody answers on.
fn remove_stale(path: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Failure::io("look at", path, e)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Failure::NotASocket {
                path: path.to_path_buf(),
            });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(stream) => Err(Failure::Served {
            path: path.to_path_buf(),
            pid: peer_pid(&stream),
        }),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing the socket of a daemon that is gone");
            std::fs::remove_file(path).map_err(|e| Failure::io("remove", path, e))
        }
        Err(e) => Err(Failure::io("connect to", path, e)),
    }
}

fn peer_pid(stream: &std::os::unix::net::UnixStream) -> Option<u32> {
    let credentials = rustix::net::sockopt::socket_peercred(stream).ok()?;
    u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
}

impl Drop for Socket {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who may talk to the daemon.
#[derive(Debug)]
struct Peers {
    own_uid: u32,
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl Peers {
    fn new(settings: &config::Socket) -> Peers {
        Peers {
            own_uid: rustix::process::geteuid().as_raw(),
            uids: settings.allowed_uids.clone(),
            gids: settings.allowed_gids.clone(),
        }
    }

    fn judge(&self, stream: &UnixStream) -> Peer {
        let Ok(credentials) = stream.peer_cred() else {
            return Peer {
                uid: None,
                allowed: false,
            };
        };
        let (uid, gid) = (credentials.uid(), credentials.gid());
        let allowed = uid == 0 || uid == self.own_uid || self.uids.contains(&uid) || self.gids.contains(&gid);
        if !allowed {
            tracing::warn!(
                uid,
                gid,
                pid = credentials.pid(),
                "a user that is not allowed connects"
            );
        }
        Peer {
            uid: Some(uid),
            allowed,
        }
    }
}

/// Who is at the other end of a connection, as every request of it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user, if the system says.
    pub uid: Option<u32>,
    /// Whether requests are answered.
    pub allowed: bool,
}
