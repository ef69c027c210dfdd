//! `containerd.services.images.v1.Images`.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};
use transom_api::images as api;
use transom_api::images::images_server::{Images, ImagesServer};
use transom_api::lists::ListImagesResponse;
use transom_api::types::Descriptor;
use transom_meta::gc::Scheduler;
use transom_meta::images::{Image, NewImage, Target};
use transom_meta::{Error, Metadata};

use super::limited;
use super::objects::Objects;
use crate::convert::{caller, paths, time, timestamp};
use crate::status;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    metadata: Metadata,
    collector: Arc<Scheduler>,
}

impl Service {
    /// A service over `metadata`; `collector` removes what a deletion leaves, for those who wait for it.
    #[must_use]
    pub fn new(metadata: Metadata, collector: Arc<Scheduler>) -> Service {
        Service { metadata, collector }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> ImagesServer<Service> {
        limited!(ImagesServer::new(self))
    }
}

/// The suffix comes twice: containerd wraps what is wrapped already, and clients take off one.
fn list_failed(error: &Error) -> Status {
    let once = status::of(error);
    match error {
        Error::Filter(_) if once.code() == Code::InvalidArgument => {
            Status::invalid_argument(format!("{}: invalid argument", once.message()))
        }
        _ => once,
    }
}

fn message(image: Image) -> api::Image {
    let target = image.target;
    api::Image {
        name: image.name,
        labels: image.labels,
        target: Some(Descriptor {
            media_type: target.media_type,
            digest: target.digest,
            size: target.size,
            annotations: target.annotations,
        }),
        created_at: timestamp(image.created),
        updated_at: timestamp(image.updated),
    }
}

/// The image of a request that must name one. A missing message is an image without a name.
fn named(image: Option<api::Image>) -> Result<NewImage, Status> {
    let image = image.unwrap_or_default();
    if image.name.is_empty() {
        return Err(Status::invalid_argument("Image.Name required"));
    }
    Ok(NewImage {
        name: image.name,
        labels: image.labels,
        target: image.target.map(|target| Target {
            media_type: target.media_type,
            digest: target.digest,
            size: target.size,
            annotations: target.annotations,
        }),
    })
}

#[tonic::async_trait]
impl Images for Service {
    async fn get(
        &self,
        request: Request<api::GetImageRequest>,
    ) -> Result<Response<api::GetImageResponse>, Status> {
        let caller = caller(&request)?;
        let image = self
            .metadata
            .image(&caller, &request.get_ref().name)
            .await
            .map_err(|e| status::of(&e))?;
        let image = Some(message(image));
        Ok(Response::new(api::GetImageResponse { image }))
    }

    async fn list(
        &self,
        request: Request<api::ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        let caller = caller(&request)?;
        if request.get_ref().filters.is_empty() {
            let mut objects = Objects::new();
            let all = self.metadata.see_images(&caller, |image| objects.image(image));
            all.await.map_err(|e| list_failed(&e))?;
            return Ok(Response::new(ListImagesResponse {
                encoded: objects.take(),
                ..ListImagesResponse::default()
            }));
        }
        let images = self.metadata.images(&caller, &request.get_ref().filters).await;
        let images = images
            .map_err(|e| list_failed(&e))?
            .into_iter()
            .map(message)
            .collect();
        Ok(Response::new(ListImagesResponse {
            images,
            ..ListImagesResponse::default()
        }))
    }

    async fn create(
        &self,
        request: Request<api::CreateImageRequest>,
    ) -> Result<Response<api::CreateImageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let image = named(request.image)?;
        let epoch = time("source_date_epoch", request.source_date_epoch)?;
        let created = self
            .metadata
            .create_image(&caller, image, epoch)
            .await
            .map_err(|e| status::of(&e))?;
        let image = Some(message(created));
        Ok(Response::new(api::CreateImageResponse { image }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateImageRequest>,
    ) -> Result<Response<api::UpdateImageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let image = named(request.image)?;
        let epoch = time("source_date_epoch", request.source_date_epoch)?;
        let paths = paths(request.update_mask);
        let updated = self.metadata.update_image(&caller, image, &paths, epoch).await;
        let image = Some(message(updated.map_err(|e| status::of(&e))?));
        Ok(Response::new(api::UpdateImageResponse { image }))
    }

    async fn delete(&self, request: Request<api::DeleteImageRequest>) -> Result<Response<()>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let target = request.target.as_ref().map(|target| target.digest.as_str());
        self.metadata
            .delete_image(&caller, &request.name, target)
            .await
            .map_err(|e| status::of(&e))?;
        if request.sync {
            self.collector.collect().await.map_err(|e| status::of(&e))?;
        }
        Ok(Response::new(()))
    }
}
