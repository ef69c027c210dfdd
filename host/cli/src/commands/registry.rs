//! `transom registry`, and what other commands need of registries. A daemon has no part in it.

mod archive;
pub(crate) mod copy;
mod credentials;
mod gc;
mod import;
pub(super) mod layout;
pub(crate) mod objects;
mod policy;
pub(crate) mod pull;
mod reindex;
mod serve;
pub(crate) mod settings;

use serde_json::json;
use transom_client::auth::{Credentials, Fixed};
use transom_client::{Client, Reference, Repository, Secret};

use super::{print, print_json};
use crate::arguments::{Login, Logout, LsTags, Referrers, Registry, RegistryPolicy};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, size, table};

pub(crate) fn run(command: Registry, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    match command {
        Registry::Serve(command) => serve::serve(&command, json, interrupt),
        Registry::Gc(command) => gc::collect(&command, json, interrupt),
        Registry::Reindex(command) => reindex::reindex(&command, json, interrupt),
        Registry::Check(command) => serve::check(&command, json),
        Registry::Policy(RegistryPolicy::Check(command)) => policy::check(&command, json),
        Registry::ImportConfig(command) => import::run(&command, json),
        Registry::LsTags(command) => blocking(interrupt, ls_tags(&command, json)),
        Registry::Referrers(command) => blocking(interrupt, referrers(&command, json)),
        Registry::Login(command) => login(&command, json, interrupt),
        Registry::Logout(command) => logout(&command, json, interrupt),
    }
}

/// Does the work on threads of its own, until it is done or interrupted.
pub(super) fn blocking<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the client", &error))?;
    runtime.block_on(async {
        tokio::select! {
            done = work => done,
            () = interrupt.requested() => Err(Failure::interrupted()),
        }
    })
}

async fn ls_tags(command: &LsTags, json: bool) -> Result<(), Failure> {
    let repository: Repository = command.repository.parse()?;
    let remote = settings::client(&command.registries, repository.registry())?.remote(&repository)?;
    let (mut tags, mut rest) = remote.tags(None).await?;
    if json {
        let mut all = tags;
        all.extend(rest.all().await?);
        return print_json(&json!({ "repository": repository.to_string(), "tags": all }));
    }
    loop {
        let lines: String = tags.iter().map(|tag| format!("{}\n", printable(tag))).collect();
        print(&lines)?;
        match rest.page().await? {
            Some(page) => tags = page,
            None => return Ok(()),
        }
    }
}

async fn referrers(command: &Referrers, json: bool) -> Result<(), Failure> {
    let name: Reference = command.name.parse()?;
    let remote =
        settings::client(&command.registries, name.repository.registry())?.remote(&name.repository)?;
    let subject = match &name.digest {
        Some(digest) => digest.clone(),
        None => remote.resolve(&name.target()).await?.digest,
    };
    let found = remote
        .referrers(&subject, command.artifact_type.as_deref())
        .await?;
    if json {
        return print_json(&json!({ "subject": subject, "referrers": found }));
    }
    let row = |descriptor: &transom_oci::Descriptor| {
        vec![
            descriptor.digest.to_string(),
            printable(descriptor.artifact_type.as_deref().unwrap_or("-")),
            size(descriptor.size),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    print(&table(&["DIGEST", "TYPE", "SIZE"], &rows))
}

fn login(command: &Login, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut password = String::new();
    std::io::Read::read_to_string(&mut interrupt.stdin(), &mut password)
        .map_err(|error| Failure::io("cannot read the password from stdin", &error))?;
    let password = Secret::new(password.trim_end_matches(['\r', '\n']));
    if password.is_empty() {
        return Err(Failure::usage("the password on stdin is empty"));
    }
    let given = Credentials::Password {
        username: command.username.clone(),
        password: password.clone(),
    };
    blocking(interrupt, async {
        let mut options = settings::options(&command.registries, &command.host)?;
        options.credentials = std::sync::Arc::new(Fixed {
            host: command.host.clone(),
            credentials: given,
        });
        // Any name does: only the host is asked.
        let repository = Repository::new(&command.host, "library/any")?;
        Client::new(options).remote(&repository)?.ping().await?;
        Ok(())
    })?;
    let kept = blocking(
        interrupt,
        credentials::keep(
            command.registries.authfile.as_deref(),
            &command.host,
            &command.username,
            &password,
        ),
    )?;
    said(
        &command.host,
        "loggedIn",
        &format!("logged in to {}; kept in {kept}", command.host),
        json,
    )
}

fn logout(command: &Logout, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let found = blocking(
        interrupt,
        credentials::forget(command.authfile.as_deref(), &command.host),
    )?;
    if !found {
        return Err(Failure::new(
            crate::failure::Kind::NotFound,
            format!("nothing is kept for {}", command.host),
        ));
    }
    said(
        &command.host,
        "loggedOut",
        &format!("logged out of {}", command.host),
        json,
    )
}

fn said(host: &str, key: &str, text: &str, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ key: host }));
    }
    print(&format!("{}\n", printable(text)))
}
