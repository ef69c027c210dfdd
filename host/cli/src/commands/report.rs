//! What became of a layer, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use transom_image::unpack::UnpackedLayer;
use transom_layer::pump::StageReport;
use transom_layer::stage::{Document, Finding, HandlerKind, Severity};
use transom_oci::Digest;

use crate::show::{count, duration, printable, size};

/// A layer as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerJson<'a> {
    index: usize,
    digest: &'a Digest,
    media_type: &'a str,
    size: u64,
    #[serde(rename = "diffID")]
    diff_id: &'a Digest,
    #[serde(rename = "chainID")]
    chain_id: &'a Digest,
    uncompressed_size: u64,
    stages: Vec<StageJson<'a>>,
    entries: u64,
    files: u64,
    folders: u64,
    symlinks: u64,
    hard_links: u64,
    devices: u64,
    fifos: u64,
    whiteouts: u64,
    warnings: Vec<String>,
    warnings_total: u64,
    seconds: f64,
    read_cpu_seconds: f64,
    hash_cpu_seconds: f64,
    apply_cpu_seconds: f64,
}

/// A stage as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageJson<'a> {
    name: &'a str,
    kind: HandlerKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    input_media_type: &'a str,
    output_media_type: &'a str,
    bytes_in: u64,
    bytes_out: u64,
    cpu_seconds: f64,
    annotations: &'a BTreeMap<String, String>,
    findings: &'a [Finding],
    documents: &'a [Document],
}

impl<'a> LayerJson<'a> {
    pub(crate) fn of(unpacked: &'a UnpackedLayer) -> LayerJson<'a> {
        let (report, descriptor) = (&unpacked.report, &unpacked.layer.descriptor);
        let counts = &report.applied.counts;
        let warning =
            |warning: &transom_layer::apply::Warning| format!("{}: {}", warning.entry, warning.message);
        LayerJson {
            index: unpacked.index,
            digest: &descriptor.digest,
            media_type: &descriptor.media_type,
            size: descriptor.size,
            diff_id: &report.diff_id,
            chain_id: &unpacked.chain_id,
            uncompressed_size: report.diff_size,
            stages: report.stages.iter().map(StageJson::of).collect(),
            entries: report.applied.entries,
            files: counts.files,
            folders: counts.folders,
            symlinks: counts.symlinks,
            hard_links: counts.hard_links,
            devices: counts.devices,
            fifos: counts.fifos,
            whiteouts: counts.whiteouts,
            warnings: report.applied.warnings.kept.iter().map(warning).collect(),
            warnings_total: report.applied.warnings.total,
            seconds: report.wall.as_secs_f64(),
            read_cpu_seconds: report.read_cpu.as_secs_f64(),
            hash_cpu_seconds: report.hash_cpu.as_secs_f64(),
            apply_cpu_seconds: report.apply_cpu.as_secs_f64(),
        }
    }
}

impl<'a> StageJson<'a> {
    pub(crate) fn of(stage: &'a StageReport) -> StageJson<'a> {
        StageJson {
            name: &stage.name,
            kind: stage.kind,
            detail: stage.outcome.detail.as_deref(),
            input_media_type: &stage.input,
            output_media_type: &stage.output,
            bytes_in: stage.bytes_in,
            bytes_out: stage.bytes_out,
            cpu_seconds: stage.cpu.as_secs_f64(),
            annotations: &stage.outcome.annotations,
            findings: &stage.outcome.findings,
            documents: &stage.outcome.documents,
        }
    }
}

/// Warnings shown for one layer; the JSON has more of them.
const WARNINGS_SHOWN: usize = 5;
/// Findings shown for one stage; the JSON has all of them.
const FINDINGS_SHOWN: usize = 20;

/// A layer as lines.
pub(crate) fn layer_text(unpacked: &UnpackedLayer, layers: usize) -> String {
    let (report, descriptor) = (&unpacked.report, &unpacked.layer.descriptor);
    let mut text = format!(
        "layer {} of {layers}  {}  {}\n  {}\n",
        unpacked.index + 1,
        descriptor.digest.short(),
        size(descriptor.size),
        printable(&descriptor.media_type),
    );
    for stage in &report.stages {
        text.push_str(&stage_text(stage));
    }
    let applied = &report.applied;
    let _ = writeln!(
        text,
        "    apply {:<27} {} entries, {} whiteouts",
        format!("{:>10}", size(report.diff_size)),
        count(applied.entries),
        count(applied.counts.whiteouts),
    );
    for warning in applied.warnings.kept.iter().take(WARNINGS_SHOWN) {
        let _ = writeln!(
            text,
            "      warning: {}: {}",
            printable(&warning.entry),
            printable(&warning.message)
        );
    }
    let hidden = applied.warnings.total.saturating_sub(WARNINGS_SHOWN as u64);
    if hidden > 0 {
        let _ = writeln!(text, "      and {} more warnings", count(hidden));
    }
    let _ = writeln!(text, "  diffID  {}  verified", report.diff_id);
    let _ = writeln!(text, "  chainID {}", unpacked.chain_id);
    let _ = writeln!(text, "  took {}\n", duration(report.wall));
    text
}

/// A stage as lines: what it did, then what it reported.
pub(crate) fn stage_text(stage: &StageReport) -> String {
    let how = match &stage.outcome.detail {
        Some(detail) => format!("{}, {}", stage.kind.as_str(), printable(detail)),
        None => stage.kind.as_str().to_owned(),
    };
    let mut text = format!(
        "    {:<10} {:<16} {:>10} > {:<10} {:>9} CPU  gives {}\n",
        printable(&stage.name),
        format!("({how})"),
        size(stage.bytes_in),
        size(stage.bytes_out),
        duration(stage.cpu),
        printable(&stage.output),
    );
    for finding in stage.outcome.findings.iter().take(FINDINGS_SHOWN) {
        let severity = match finding.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        let (rule, place) = (printable(&finding.rule), printable(&finding.location));
        let _ = writeln!(
            text,
            "      {severity}: {rule} at {place}: {}",
            printable(&finding.message)
        );
    }
    let hidden = stage.outcome.findings.len().saturating_sub(FINDINGS_SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "      and {hidden} more findings");
    }
    for (key, value) in &stage.outcome.annotations {
        let _ = writeln!(text, "      {} = {}", printable(key), printable(value));
    }
    for document in &stage.outcome.documents {
        let _ = writeln!(
            text,
            "      wrote {}, {}",
            printable(&document.media_type),
            size(document.size)
        );
    }
    text
}
