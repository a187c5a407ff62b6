//! Reads exported files as a consumer does.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;

/// A file's text, decompressed if the key ends with `.gz`.
pub(crate) fn text(bytes: &[u8], key: &str) -> Result<String> {
    let mut text = String::new();
    if key.ends_with(".gz") {
        GzDecoder::new(bytes).read_to_string(&mut text).with_context(|| format!("decompressing {key}"))?;
    } else {
        std::str::from_utf8(bytes).with_context(|| format!("{key} isn't text"))?.clone_into(&mut text);
    }
    Ok(text)
}

/// A file's documents, as recorded, in order.
pub(crate) fn documents(text: &str, key: &str) -> Result<Vec<String>> {
    if key.contains(".ndjson") {
        return Ok(text.lines().map(str::to_owned).collect());
    }
    let parsed: Vec<Value> = serde_json::from_str(text).with_context(|| format!("{key} isn't a JSON array"))?;
    let lines = text.trim_end().strip_prefix("[\n").and_then(|text| text.strip_suffix("\n]"));
    let lines: Vec<String> = lines
        .with_context(|| format!("{key} doesn't have one event a line"))?
        .split(",\n")
        .map(str::to_owned)
        .collect();
    ensure!(lines.len() == parsed.len(), "{key} has {} lines and {} events", lines.len(), parsed.len());
    Ok(lines)
}

/// Whether a document is the heartbeat of an empty window.
pub(crate) fn is_heartbeat(document: &str) -> Result<bool> {
    let document: Value = serde_json::from_str(document).context("a line isn't JSON")?;
    Ok(document["logType"] == "System" && document["action"] == "Audit Log Export Completed")
}
