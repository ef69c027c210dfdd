//! `transom image`: names for blobs in a daemon.

mod check;
mod inspect;
mod mount;
pub(crate) mod registry;
mod transfer;

use serde_json::{Value, json};
use tonic::Code;
use transom_api::images::{CreateImageRequest, DeleteImageRequest, Image as Record, UpdateImageRequest};

use super::{each, print, print_json};
use crate::arguments::{Image, ImageLabel, ImageList, ImageRemove, ImageTag, Place};
use crate::client::image::Node;
use crate::client::{self, Client, Labels, Target, labels, time};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{printable, size, table};

pub(crate) fn run(command: Image, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if let Image::Copy(command) = command {
        return super::registry::copy::run(&command, json, interrupt);
    }
    client::run(&Target::new(place)?, interrupt, async |client| match command {
        Image::Ls(command) => list(client, command, json).await,
        Image::Get(command) => show(&client.image(&command.name).await?, json),
        Image::Inspect(command) => inspect::run(client, &command.name, json).await,
        Image::Pull(command) => registry::pull(client, *command, json).await,
        Image::Push(command) => registry::push(client, &command, json).await,
        Image::Import(command) => transfer::import(client, command, json, interrupt).await,
        Image::Export(command) => transfer::export(client, command, json).await,
        Image::Unpack(command) => mount::unpack(client, command, json).await,
        Image::Mount(command) => mount::mount(client, command, json).await,
        Image::Unmount(command) => mount::unmount(client, &command).await,
        Image::Usage(command) => mount::usage(client, command, json).await,
        Image::Check(command) => check::run(client, command, json).await,
        Image::Label(command) => label(client, command, json).await,
        Image::Tag(command) => tag(client, command, json).await,
        Image::Rm(command) => remove(client, &command, json).await,
        Image::Copy(_) => Err(Failure::usage("a copy needs no daemon")),
    })
}

/// The record of an image for programs.
fn document(image: &Record) -> Value {
    let target = image.target.clone().unwrap_or_default();
    json!({
        "name": image.name,
        "target": {
            "mediaType": target.media_type,
            "digest": target.digest,
            "size": target.size,
            "annotations": target.annotations,
        },
        "created": time::text(image.created_at.as_ref()),
        "updated": time::text(image.updated_at.as_ref()),
        "labels": image.labels,
    })
}

fn show(image: &Record, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&document(image));
    }
    let target = image.target.clone().unwrap_or_default();
    let bytes = size(target.size.try_into().unwrap_or_default());
    let mut text = format!("{}\n", printable(&image.name));
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<12} {value}\n"));
    line("target", &format!("{} ({bytes})", printable(&target.digest)));
    line("type", &printable(&target.media_type));
    line("annotations", &labels::text(&target.annotations));
    line("labels", &labels::text(&image.labels));
    line(
        "created",
        &time::text(image.created_at.as_ref()).unwrap_or_default(),
    );
    line(
        "updated",
        &time::text(image.updated_at.as_ref()).unwrap_or_default(),
    );
    print(&text)
}

async fn list(client: &Client, command: ImageList, json: bool) -> Result<(), Failure> {
    let images = client.image_list(command.filters).await?;
    let mut rows = Vec::new();
    for image in &images {
        if command.quiet && !json {
            print(&format!("{}\n", printable(&image.name)))?;
            continue;
        }
        let tree = client.tree(image).await?;
        if json {
            let mut document = document(image);
            document["size"] = tree.size_here().into();
            document["platforms"] = platforms(&tree).into();
            print_json(&document)?;
        } else {
            rows.push(row(image, &tree));
        }
    }
    if json || command.quiet {
        return Ok(());
    }
    print(&table(
        &["NAME", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "AGE", "LABELS"],
        &rows,
    ))
}

fn row(image: &Record, tree: &Node) -> Vec<String> {
    let platforms = platforms(tree);
    vec![
        printable(&image.name),
        printable(&tree.descriptor.media_type),
        tree.descriptor.digest.to_string(),
        size(tree.size_here()),
        if platforms.is_empty() {
            "-".to_owned()
        } else {
            printable(&platforms.join(","))
        },
        time::age(image.created_at.as_ref()),
        labels::text(&image.labels),
    ]
}

fn platforms(tree: &Node) -> Vec<String> {
    let manifests = tree.manifests();
    let named = manifests.iter().filter_map(|node| node.platform());
    let mut platforms: Vec<_> = named.map(ToString::to_string).collect();
    platforms.sort();
    platforms.dedup();
    platforms
}

async fn label(client: &Client, command: ImageLabel, json: bool) -> Result<(), Failure> {
    let image = if command.labels.is_empty() && !command.replace_all {
        client.image(&command.name).await?
    } else {
        let labels = Labels::parse(&command.labels)?;
        let labels = if command.replace_all {
            labels.replacing()
        } else {
            labels
        };
        let request = UpdateImageRequest {
            image: Some(Record {
                name: command.name,
                labels: labels.values,
                ..Record::default()
            }),
            update_mask: Some(labels.mask),
            ..UpdateImageRequest::default()
        };
        let response = client.images().update(request).await?.into_inner();
        response.image.ok_or_else(|| Failure::silent("the image"))?
    };
    if json {
        return print_json(&document(&image));
    }
    print(&format!(
        "{} {}\n",
        printable(&image.name),
        labels::text(&image.labels)
    ))
}

async fn tag(client: &Client, command: ImageTag, json: bool) -> Result<(), Failure> {
    let image = client.image(&command.name).await?;
    each(&command.new_names, async |name| {
        let new = Record {
            name: name.clone(),
            ..image.clone()
        };
        let request = CreateImageRequest {
            image: Some(new.clone()),
            ..CreateImageRequest::default()
        };
        match client.images().create(request).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::AlreadyExists && command.force => {
                let request = UpdateImageRequest {
                    image: Some(new),
                    ..UpdateImageRequest::default()
                };
                client.images().update(request).await?;
            }
            Err(status) if status.code() == Code::AlreadyExists => {
                return Err(Failure::from(status).advise("--force takes the name over"));
            }
            Err(status) => return Err(status.into()),
        }
        said(name, "tagged", json)
    })
    .await
}

async fn remove(client: &Client, command: &ImageRemove, json: bool) -> Result<(), Failure> {
    each(&command.names, async |name| {
        // One collection, with the last one removed, is enough for all.
        let last = command.names.last() == Some(name);
        let request = DeleteImageRequest {
            name: name.clone(),
            sync: command.sync && last,
            target: None,
        };
        client.images().delete(request).await?;
        said(name, "removed", json)
    })
    .await
}

fn said(name: &str, what: &str, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ what: name }));
    }
    print(&format!("{}\n", printable(name)))
}
