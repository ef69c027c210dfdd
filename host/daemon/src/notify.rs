//! Tells the service manager how far we are: systemd's protocol of one datagram for each state.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where to tell it; nowhere if there is no service manager.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    address: Option<SocketAddr>,
}

impl Notify {
    /// From the value of `NOTIFY_SOCKET`: a path, or `@` and a name without a file.
    ///
    /// # Errors
    /// If it is neither.
    pub fn new(socket: Option<&OsStr>) -> io::Result<Notify> {
        let address = match socket.map(OsStr::as_bytes) {
            None | Some([]) => None,
            Some([b'@', name @ ..]) => Some(SocketAddr::from_abstract_name(name)?),
            Some(path) => Some(SocketAddr::from_pathname(OsStr::from_bytes(path))?),
        };
        Ok(Notify { address })
    }

    /// Requests are answered from now on.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// No new requests are taken.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, state: &str) {
        let Some(address) = &self.address else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(state.as_bytes(), address));
        if let Err(error) = sent {
            tracing::warn!(%error, state, "could not tell the service manager");
        }
    }
}
