//! What processors found in a layer: for whoever reads the log, and as events; and what they wrote about it.

use serde_json::json;
use transom_diff::{Applied, DiffError};
use transom_layer::pump::PumpError;
use transom_layer::stage::{Outcome, Severity};
use transom_meta::events::Exchange;
use transom_meta::names::Namespace;
use transom_meta::{Caller, Metadata};
use transom_oci::Digest;
use transom_transfer::artifacts::{self, Made};

/// The topic of an event about what a processor found in a layer.
const TOPIC: &str = "/layers/findings";

/// Its type. The event is JSON, as those of containerd's clients are that are no messages of protobuf.
const TYPE: &str = "transom.events.LayerFindings";

/// Says what was found in a layer that was applied, or refused.
pub(super) fn tell(
    applied: &Result<Applied, DiffError>,
    layer: &Digest,
    events: Option<(&Exchange, &Namespace)>,
) {
    match applied {
        Ok(applied) => {
            let Some(report) = &applied.report else { return };
            let warnings = &report.applied.warnings;
            for warning in &warnings.kept {
                tracing::debug!(entry = warning.entry, "{}", warning.message);
            }
            if warnings.total > 0 {
                tracing::info!(
                    count = warnings.total,
                    "the layer has entries that cannot be made as they are"
                );
            }
            for stage in &report.stages {
                found(&stage.name, &stage.outcome, layer, events);
            }
        }
        Err(DiffError::Layer { source, .. }) => {
            if let PumpError::Refused { stage, outcome, .. } = &**source {
                found(stage, outcome, layer, events);
            }
        }
        Err(_) => {}
    }
}

/// Keeps what was written about a layer with its blob. That it cannot be kept is no reason not to apply the layer.
pub(super) async fn keep(made: &[Made], layer: &Digest, (metadata, caller): (&Metadata, &Caller)) {
    if let Err(error) = artifacts::keep(metadata, caller, layer, made).await {
        tracing::warn!(%layer, %error, "documents about the layer are not kept");
    }
}

fn found(processor: &str, outcome: &Outcome, layer: &Digest, events: Option<(&Exchange, &Namespace)>) {
    for finding in &outcome.findings {
        let (rule, location, message) = (&finding.rule, &finding.location, &finding.message);
        match finding.severity {
            Severity::Info => tracing::info!(processor, rule, location, "{message}"),
            Severity::Warning | Severity::Critical => tracing::warn!(processor, rule, location, "{message}"),
        }
    }
    let Some((events, namespace)) = events.filter(|_| !outcome.findings.is_empty()) else {
        return;
    };
    let event = json!({
        "layer": layer,
        "processor": processor,
        "annotations": outcome.annotations,
        "findings": outcome.findings,
        "verdict": outcome.verdict,
    });
    let told = events.publish(namespace, TOPIC, TYPE.to_owned(), event.to_string().into());
    if let Err(error) = told {
        tracing::error!(%error, "an event about a layer cannot be published");
    }
}
