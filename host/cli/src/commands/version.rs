//! `transom version`.

use serde_json::json;

use super::{print, print_json};
use crate::arguments::Place;
use crate::client::{self, Target};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::printable;

/// This command's version.
const OURS: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if !json {
        // Known without a daemon, and said also if none answers.
        print(&format!("Client:\n  Version:  {OURS}\n"))?;
    }
    let (version, server) = client::run(&Target::new(place)?, interrupt, async |client| {
        let version = client.version().version(()).await?.into_inner();
        Ok((version, client.introspection().server(()).await?.into_inner()))
    })?;
    if json {
        return print_json(&json!({
            "client": { "version": OURS },
            "server": {
                "version": version.version,
                "revision": version.revision,
                "uuid": server.uuid,
                "pid": server.pid,
            },
        }));
    }
    let revision = match printable(&version.revision) {
        revision if revision.is_empty() => "-".to_owned(),
        revision => revision,
    };
    print(&format!(
        "\nServer:\n  Version:  {}\n  Revision: {revision}\n  UUID:     {}\n  PID:      {}\n",
        printable(&version.version),
        printable(&server.uuid),
        // containerd says it since 1.7.
        if server.pid == 0 {
            "-".to_owned()
        } else {
            server.pid.to_string()
        },
    ))
}
