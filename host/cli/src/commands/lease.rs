//! `transom lease`: what keeps blobs from being collected.

use serde_json::{Value, json};
use transom_api::leases::{
    AddResourceRequest, DeleteResourceRequest, Lease as Record, ListRequest, ListResourcesRequest, Resource,
};

use super::{each, print, print_json};
use crate::arguments::{Lease, LeaseCreate, LeaseList, LeaseRemove, LeaseResource, LeaseResources, Place};
use crate::client::lease::EXPIRE;
use crate::client::{self, Client, Labels, Target, labels, time};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, table};

pub(crate) fn run(command: Lease, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    client::run(&Target::new(place)?, interrupt, async |client| match command {
        Lease::Ls(command) => list(client, command, json).await,
        Lease::Create(command) => create(client, command, json).await,
        Lease::Rm(command) => remove(client, &command, json).await,
        Lease::Resources(LeaseResources::Ls { lease }) => resources(client, lease, json).await,
        Lease::Resources(LeaseResources::Add(command)) => {
            let (id, resource) = resource(command);
            client
                .leases()
                .add_resource(AddResourceRequest { id, resource })
                .await?;
            Ok(())
        }
        Lease::Resources(LeaseResources::Rm(command)) => {
            let (id, resource) = resource(command);
            client
                .leases()
                .delete_resource(DeleteResourceRequest { id, resource })
                .await?;
            Ok(())
        }
    })
}

fn document(lease: &Record) -> Value {
    json!({
        "id": lease.id,
        "created": time::text(lease.created_at.as_ref()),
        "labels": lease.labels,
    })
}

async fn list(client: &Client, command: LeaseList, json: bool) -> Result<(), Failure> {
    let filters = command.filters;
    let leases = client
        .leases()
        .list(ListRequest { filters })
        .await?
        .into_inner()
        .leases;
    if json {
        return leases.iter().try_for_each(|lease| print_json(&document(lease)));
    }
    if command.quiet {
        let ids = leases.iter().map(|lease| format!("{}\n", printable(&lease.id)));
        return print(&ids.collect::<String>());
    }
    let rows: Vec<_> = leases
        .into_iter()
        .map(|mut lease| {
            let end = lease.labels.remove(EXPIRE);
            vec![
                printable(&lease.id),
                time::age(lease.created_at.as_ref()),
                time::until(end.as_ref()),
                labels::text(&lease.labels),
            ]
        })
        .collect();
    print(&table(&["ID", "AGE", "ENDS IN", "LABELS"], &rows))
}

async fn create(client: &Client, command: LeaseCreate, json: bool) -> Result<(), Failure> {
    let labels = Labels::parse(&command.labels)?.values;
    let id = command.id.unwrap_or_default();
    let lease = client.create_lease(&id, command.expires, labels).await?;
    if json {
        return print_json(&document(&lease));
    }
    print(&format!("{}\n", printable(&lease.id)))
}

async fn remove(client: &Client, command: &LeaseRemove, json: bool) -> Result<(), Failure> {
    each(&command.ids, async |id| {
        // One collection, with the last one removed, is enough for all.
        let last = command.ids.last() == Some(id);
        client.delete_lease(id, command.sync && last).await?;
        if json {
            print_json(&json!({ "removed": id }))
        } else {
            print(&format!("{}\n", printable(id)))
        }
    })
    .await
}

async fn resources(client: &Client, id: String, json: bool) -> Result<(), Failure> {
    let response = client
        .leases()
        .list_resources(ListResourcesRequest { id })
        .await?;
    let resources = response.into_inner().resources;
    if json {
        return resources
            .iter()
            .try_for_each(|resource| print_json(&json!({ "type": resource.r#type, "id": resource.id })));
    }
    let rows: Vec<_> = resources
        .iter()
        .map(|resource| vec![printable(&resource.r#type), printable(&resource.id)])
        .collect();
    print(&table(&["TYPE", "ID"], &rows))
}

fn resource(command: LeaseResource) -> (String, Option<Resource>) {
    let resource = Resource {
        id: command.id,
        r#type: command.kind,
    };
    (command.lease, Some(resource))
}
