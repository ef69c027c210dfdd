//! The list stream: pages of records, made while the last ones are sent.

use bytes::Bytes;
use tonic::Status;
use transom_api::content::Info;
use transom_api::lists::ListContentResponse;
use transom_meta::seen::Rest;
use transom_meta::{Caller, Metadata};

use super::backend::{Backend, Who};
use super::info;
use crate::answers::{Answers, answers, send};
use crate::limits::{LIST_AHEAD, LIST_PAGE};
use crate::services::objects::Objects;
use crate::status;

/// Answers a list. What is wrong with the filters, and with the first page, is said at once.
pub(super) async fn list(
    backend: Backend,
    who: Who,
    filters: Vec<String>,
) -> Result<Answers<ListContentResponse>, Status> {
    if let (Backend::Whole { metadata, .. }, Who::Caller(caller), true) = (&backend, &who, filters.is_empty())
    {
        return all(metadata.clone(), caller.clone()).await;
    }
    let mut listing = backend.list(&who, filters).await.map_err(|e| status::of(&e))?;
    let mut next = listing.next().await.map_err(|e| status::of(&e))?;
    Ok(answers(LIST_AHEAD, |sink| async move {
        let mut waiting = Vec::new();
        while let Some(page) = next {
            waiting.extend(page.into_iter().map(info));
            while waiting.len() >= LIST_PAGE {
                let rest = waiting.split_off(LIST_PAGE);
                let full = std::mem::replace(&mut waiting, rest);
                if !send(&sink, of(full)).await {
                    return Ok(());
                }
            }
            next = listing.next().await.map_err(|e| status::of(&e))?;
        }
        if !waiting.is_empty() {
            send(&sink, of(waiting)).await;
        }
        Ok(())
    }))
}

fn of(info: Vec<Info>) -> ListContentResponse {
    ListContentResponse {
        info,
        ..ListContentResponse::default()
    }
}

/// Answers a list of everything, straight from the records.
async fn all(metadata: Metadata, caller: Caller) -> Result<Answers<ListContentResponse>, Status> {
    let (mut full, mut next) = page(&metadata, &caller, None).await?;
    Ok(answers(LIST_AHEAD, |sink| async move {
        loop {
            for encoded in full {
                let message = ListContentResponse {
                    encoded,
                    ..ListContentResponse::default()
                };
                if !send(&sink, message).await {
                    return Ok(());
                }
            }
            if next.is_none() {
                return Ok(());
            }
            (full, next) = page(&metadata, &caller, next).await?;
        }
    }))
}

/// The messages of a page of records, and where the next page begins.
async fn page(
    metadata: &Metadata,
    caller: &Caller,
    from: Option<Rest>,
) -> Result<(Vec<Bytes>, Option<Rest>), Status> {
    let (mut messages, mut objects, mut count) = (Vec::new(), Objects::new(), 0);
    let seen = metadata.see_content(caller, from, |content| {
        objects.content(content);
        count += 1;
        if count == LIST_PAGE {
            messages.push(objects.take());
            count = 0;
        }
    });
    let next = seen.await.map_err(|e| status::of(&e))?;
    if count > 0 {
        messages.push(objects.take());
    }
    Ok((messages, next))
}
