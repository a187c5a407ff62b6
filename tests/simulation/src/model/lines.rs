//! What lies in a bucket, line by line, and which event a line is.

use std::io::Read as _;

use audit_log_core::event::Body;
use chrono::{DateTime, Utc};
use serde_json::{Value, value::RawValue};

/// An event that was not where it belongs: its key and shard, what it holds, and when it became visible.
pub(super) type Skipped<'a> = ((&'a str, u16), &'a Body, DateTime<Utc>);

/// What lies in a window's objects, line by line.
type Lines<'a> = std::iter::Peekable<std::slice::Iter<'a, String>>;

/// Whether it is the system's own word about the window.
pub(super) fn is_about_the_window(line: &str) -> bool {
    line.contains("Audit Log Export Completed") || line.contains("Audit Log Retention Exceeded")
}

/// Whether the line that comes next is this event's, and if so, whether it is wrapped as malformed.
pub(super) fn is_next(lines: &mut Lines<'_>, key: &str, body: &Body) -> Option<bool> {
    lines.peek().and_then(|line| is_line_of(line, key, body))
}

/// Takes the lines of events that were skipped before, as long as they come; how many of them are malformed.
pub(super) fn take_skipped(lines: &mut Lines<'_>, skipped: &mut Vec<Skipped>) -> u64 {
    let mut malformed = 0;
    while let Some(at) = skipped.iter().position(|((key, _), body, _)| is_next(lines, key, body).is_some()) {
        let ((key, _), body, _) = skipped.swap_remove(at);
        malformed += u64::from(is_next(lines, key, body) == Some(true));
        lines.next();
    }
    malformed
}

/// Whether a line is this event's, and if so, whether it is wrapped as malformed.
pub(super) fn is_line_of(line: &str, key: &str, body: &Body) -> Option<bool> {
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

/// An object's lines, by what its key says of it.
///
/// # Errors
/// If it is not what its key says.
pub fn lines(key: &str, bytes: &[u8]) -> Result<Vec<String>, String> {
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
