//! `transom namespace`.

use std::collections::BTreeMap;

use serde_json::json;
use transom_api::namespaces::{
    CreateNamespaceRequest, DeleteNamespaceRequest, GetNamespaceRequest, ListNamespacesRequest,
    Namespace as Record, UpdateNamespaceRequest,
};

use super::{each, print, print_json};
use crate::arguments::{Names, Namespace, NamespaceLabels, NamespaceList, Place};
use crate::client::{self, Client, Labels, Target, labels};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, table};

pub(crate) fn run(
    command: Namespace,
    place: &Place,
    json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    client::run(&Target::new(place)?, interrupt, async |client| match command {
        Namespace::Ls(command) => list(client, &command, json).await,
        Namespace::Create(command) => create(client, command, json).await,
        Namespace::Label(command) => label(client, command, json).await,
        Namespace::Rm(command) => remove(client, &command, json).await,
    })
}

async fn list(client: &Client, command: &NamespaceList, json: bool) -> Result<(), Failure> {
    let response = client.namespaces().list(ListNamespacesRequest::default()).await?;
    let namespaces = response.into_inner().namespaces;
    if json {
        return namespaces
            .iter()
            .try_for_each(|namespace| show(&namespace.name, &namespace.labels, true));
    }
    if command.quiet {
        let names = namespaces
            .iter()
            .map(|namespace| format!("{}\n", printable(&namespace.name)));
        return print(&names.collect::<String>());
    }
    let rows: Vec<_> = namespaces
        .iter()
        .map(|namespace| vec![printable(&namespace.name), labels::text(&namespace.labels)])
        .collect();
    print(&table(&["NAME", "LABELS"], &rows))
}

fn show(name: &str, labels: &BTreeMap<String, String>, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ "name": name, "labels": labels }));
    }
    print(&format!("{} {}\n", printable(name), labels::text(labels)))
}

async fn create(client: &Client, command: NamespaceLabels, json: bool) -> Result<(), Failure> {
    let namespace = Record {
        name: command.name,
        labels: Labels::parse(&command.labels)?.values,
    };
    let request = CreateNamespaceRequest {
        namespace: Some(namespace.clone()),
    };
    client.namespaces().create(request).await?;
    if json {
        return show(&namespace.name, &namespace.labels, true);
    }
    print(&format!("{}\n", printable(&namespace.name)))
}

async fn label(client: &Client, command: NamespaceLabels, json: bool) -> Result<(), Failure> {
    let labels = Labels::parse(&command.labels)?;
    if !labels.values.is_empty() {
        let request = UpdateNamespaceRequest {
            namespace: Some(Record {
                name: command.name.clone(),
                labels: labels.values,
            }),
            update_mask: Some(labels.mask),
        };
        client.namespaces().update(request).await?;
    }
    // The answer to the update is empty, and so is containerd's.
    let request = GetNamespaceRequest { name: command.name };
    let response = client.namespaces().get(request).await?.into_inner();
    let namespace = response
        .namespace
        .ok_or_else(|| Failure::silent("the namespace"))?;
    show(&namespace.name, &namespace.labels, json)
}

async fn remove(client: &Client, command: &Names, json: bool) -> Result<(), Failure> {
    each(&command.names, async |name| {
        let request = DeleteNamespaceRequest { name: name.clone() };
        client.namespaces().delete(request).await?;
        if json {
            print_json(&json!({ "removed": name }))
        } else {
            print(&format!("{}\n", printable(name)))
        }
    })
    .await
}
