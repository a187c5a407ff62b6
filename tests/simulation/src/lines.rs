//! Reads stored objects line by line, and finds the event of a line.

use std::io::Read as _;

use audit_log_core::event::Body;
use chrono::{DateTime, Utc};
use serde_json::{Value, value::RawValue};

/// An event that is missing at its place: its key and shard, its body, and when it became visible.
pub(crate) type Skipped<'a> = ((&'a str, u16), &'a Body, DateTime<Utc>);

/// The lines of a window's objects.
type Lines<'a> = std::iter::Peekable<std::slice::Iter<'a, String>>;

/// Whether it is a heartbeat or the event about a gap.
pub(crate) fn is_window_event(line: &str) -> bool {
    line.contains("Audit Log Export Completed") || line.contains("Audit Log Retention Exceeded")
}

/// [`match_line`] for the next line.
pub(crate) fn match_next(lines: &mut Lines<'_>, key: &str, body: &Body) -> Option<bool> {
    lines.peek().and_then(|line| match_line(line, key, body))
}

/// Takes the next lines as long as they are skipped events. Returns how many of them are malformed.
pub(crate) fn take_skipped(lines: &mut Lines<'_>, skipped: &mut Vec<Skipped>) -> u64 {
    let mut malformed = 0;
    while let Some(at) = skipped.iter().position(|((key, _), body, _)| match_next(lines, key, body).is_some()) {
        let ((key, _), body, _) = skipped.swap_remove(at);
        malformed += u64::from(match_next(lines, key, body) == Some(true));
        lines.next();
    }
    malformed
}

/// Returns whether the line is wrapped as malformed; `None` if it is not this event's line.
pub(crate) fn match_line(line: &str, key: &str, body: &Body) -> Option<bool> {
    let (date, id) = key.split_once('#')?;
    let (Body::Text(text) | Body::NoText(text)) = body;
    let is_object = matches!(body, Body::Text(_)) && serde_json::from_str::<Value>(text).is_ok_and(|it| it.is_object());
    if is_object {
        let same = if text.contains('\n') {
            serde_json::from_str::<Value>(line).ok() == serde_json::from_str::<Value>(text).ok()
        } else {
            line == text
        };
        return same.then_some(false);
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let wrapped = event["action"] == "Malformed Audit Event"
        && event["id"] == id
        && event["date"] == date
        && event["additionalInfo"]["raw"] == *text;
    wrapped.then_some(true)
}

/// Reads an object's lines in the format and compression of its key.
///
/// # Errors
/// If the object is not in them.
pub(crate) fn object_lines(key: &str, bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut text = String::new();
    let (read, key) = match key.strip_suffix(".gz") {
        Some(key) => (flate2::read::GzDecoder::new(bytes).read_to_string(&mut text), key),
        None => ({ bytes }.read_to_string(&mut text), key),
    };
    read.map_err(|error| format!("{key} can't be read: {error}"))?;
    if key.ends_with(".ndjson") {
        return Ok(text.lines().map(str::to_owned).collect());
    }
    let array: Vec<&RawValue> =
        serde_json::from_str(&text).map_err(|error| format!("{key} is no JSON array: {error}"))?;
    Ok(array.into_iter().map(|line| line.get().to_owned()).collect())
}
