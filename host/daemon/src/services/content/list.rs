//! The list stream: pages of records, made while the last ones are sent.

use tonic::Status;
use transom_api::content::ListContentResponse;

use super::backend::{Backend, Who};
use super::info;
use crate::answers::{Answers, answers, send};
use crate::limits::{LIST_AHEAD, LIST_PAGE};
use crate::status;

/// Answers a list. What is wrong with the filters, and with the first page, is said at once.
pub(super) async fn list(
    backend: Backend,
    who: Who,
    filters: Vec<String>,
) -> Result<Answers<ListContentResponse>, Status> {
    let mut listing = backend.list(&who, filters).await.map_err(|e| status::of(&e))?;
    let mut next = listing.next().await.map_err(|e| status::of(&e))?;
    Ok(answers(LIST_AHEAD, |sink| async move {
        let mut waiting = Vec::new();
        while let Some(page) = next {
            waiting.extend(page.into_iter().map(info));
            while waiting.len() >= LIST_PAGE {
                let rest = waiting.split_off(LIST_PAGE);
                let full = std::mem::replace(&mut waiting, rest);
                if !send(&sink, ListContentResponse { info: full }).await {
                    return Ok(());
                }
            }
            next = listing.next().await.map_err(|e| status::of(&e))?;
        }
        if !waiting.is_empty() {
            send(&sink, ListContentResponse { info: waiting }).await;
        }
        Ok(())
    }))
}
