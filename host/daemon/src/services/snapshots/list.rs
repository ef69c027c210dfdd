//! The list stream: pages of records, made while the last ones are sent.

use std::sync::Arc;

use tonic::Status;
use transom_api::snapshots::ListSnapshotsResponse;
use transom_meta::Error;
use transom_meta::filter::Filters;

use super::backend::Asked;
use super::message;
use crate::answers::{Answers, answers, send};
use crate::limits::{LIST_AHEAD, LIST_PAGE};
use crate::services::blocking;
use crate::status;

/// Answers a list. What is wrong with the filters, and with the first page, is said at once.
pub(super) async fn list(
    asked: Asked,
    filters: Vec<String>,
) -> Result<Answers<ListSnapshotsResponse>, Status> {
    let plugins = asked.plugins();
    // Compiling an expression may take a plugin some time.
    let compiled = blocking(move || Filters::compile(&filters, &plugins)).await?;
    let filters = Arc::new(compiled.map_err(|e| status::of(&Error::from(e)))?);
    let mut page = asked.page(&filters, None).await.map_err(|e| status::of(&e))?;
    Ok(answers(LIST_AHEAD, |sink| async move {
        let mut waiting = Vec::new();
        loop {
            let (found, next) = page;
            waiting.extend(found.into_iter().map(message));
            while waiting.len() >= LIST_PAGE {
                let rest = waiting.split_off(LIST_PAGE);
                let full = std::mem::replace(&mut waiting, rest);
                if !send(&sink, ListSnapshotsResponse { info: full }).await {
                    return Ok(());
                }
            }
            let Some(after) = next else { break };
            page = asked
                .page(&filters, Some(&after))
                .await
                .map_err(|e| status::of(&e))?;
        }
        if !waiting.is_empty() {
            send(&sink, ListSnapshotsResponse { info: waiting }).await;
        }
        Ok(())
    }))
}
