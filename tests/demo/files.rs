//! Exported files as a consumer reads them.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;

/// The text of a file, unpacked where its key says that it is packed.
pub(crate) fn text(bytes: &[u8], key: &str) -> Result<String> {
    let mut text = String::new();
    if key.ends_with(".gz") {
        GzDecoder::new(bytes).read_to_string(&mut text).with_context(|| format!("unpacking {key}"))?;
    } else {
        std::str::from_utf8(bytes).with_context(|| format!("{key} is no text"))?.clone_into(&mut text);
    }
    Ok(text)
}

/// The documents of a file in their order, byte for byte as they were recorded.
pub(crate) fn documents(text: &str, key: &str) -> Result<Vec<String>> {
    if key.contains(".ndjson") {
        return Ok(text.lines().map(str::to_owned).collect());
    }
    let parsed: Vec<Value> = serde_json::from_str(text).with_context(|| format!("{key} is no JSON array"))?;
    let lines = text.trim_end().strip_prefix("[\n").and_then(|text| text.strip_suffix("\n]"));
    let lines: Vec<String> =
        lines.with_context(|| format!("{key} is not an event a line"))?.split(",\n").map(str::to_owned).collect();
    ensure!(lines.len() == parsed.len(), "{key} has {} lines and {} events", lines.len(), parsed.len());
    Ok(lines)
}

/// Whether a document is the one that the system writes for an empty window.
pub(crate) fn is_heartbeat(document: &str) -> Result<bool> {
    let document: Value = serde_json::from_str(document).context("a line that is no JSON")?;
    Ok(document["logType"] == "System" && document["action"] == "Audit Log Export Completed")
}
