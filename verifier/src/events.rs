//! Counts the events of a data file, whose bytes come in pieces, and compares their dates with the window.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    names::Format,
    window::{Window, instant},
};

/// More than an event can have: DynamoDB's items have 400 KB, wrapping one makes at most six bytes of each, and an event in OCSF has
/// each of its texts at most three times.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// What is in a data file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// All lines with an event, those of the exporter as well.
    pub lines: u64,
    /// Whether the first one says that events may be missing, which the exporter adds to a window with a gap.
    pub begins_with_retention_exceeded: bool,
    /// Whether the first one says that a window is complete, which the exporter adds to an empty window.
    pub begins_with_heartbeat: bool,
    /// Lines that wrap an event that is malformed.
    pub malformed: u64,
    /// Recorded events whose date is not in the window.
    pub outside: Outside,
}

/// Events whose date is not in their window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    pub events: u64,
    /// The earliest and the latest of their dates.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Outside {
    fn add(&mut self, date: DateTime<Utc>) {
        let (earliest, latest) = self.span.unwrap_or((date, date));
        self.events += 1;
        self.span = Some((earliest.min(date), latest.max(date)));
    }

    /// Adds those of another file.
    pub(crate) fn merge(&mut self, other: &Self) {
        if let (events, Some((earliest, latest))) = (other.events, other.span) {
            let (own_earliest, own_latest) = self.span.unwrap_or((earliest, latest));
            self.events += events;
            self.span = Some((own_earliest.min(earliest), own_latest.max(latest)));
        }
    }
}

/// Reads the lines of a data file.
pub(crate) struct EventReader<'a> {
    format: Format,
    window: Window,
    /// The window as dates begin.
    bounds: (String, String),
    /// The beginning of a line whose end hasn't come.
    rest: &'a mut Vec<u8>,
    expected: Expected,
    line_number: u64,
    found: Result<Events, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Bracket,
    Event,
    EventOrClosing,
    Closing,
    End,
}

/// The members by which the exporter's own events are known, of any type.
#[derive(Deserialize, Default)]
struct Line<'a> {
    #[serde(borrow)]
    date: Option<&'a RawValue>,
    #[serde(borrow, rename = "logType")]
    log_type: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    /// An event in OCSF has these two and none of the others.
    #[serde(borrow)]
    class_uid: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// Where an event in OCSF has the same.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    original_time: Option<&'a RawValue>,
    #[serde(borrow)]
    log_name: Option<&'a RawValue>,
    #[serde(borrow)]
    event_code: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    /// The members, wherever the event's schema has them.
    fn in_either_schema(self) -> Self {
        match self {
            Self { date: None, log_type: None, action: None, class_uid: Some(_), metadata: Some(metadata) } => {
                let ocsf: Option<Metadata<'a>> = serde_json::from_str(metadata.get()).ok();
                ocsf.map_or_else(Self::default, |ocsf| Self {
                    date: ocsf.original_time,
                    log_type: ocsf.log_name,
                    action: ocsf.event_code,
                    ..Self::default()
                })
            }
            native => native,
        }
    }
}

impl<'a> EventReader<'a> {
    /// `rest` is memory to use, so that not each file needs its own.
    pub(crate) fn new(format: Format, window: Window, rest: &'a mut Vec<u8>) -> Self {
        rest.clear();
        let begin = |at| instant(at).trim_end_matches('Z').to_owned();
        let expected = match format {
            Format::Json => Expected::Bracket,
            Format::Ndjson => Expected::Event,
        };
        let bounds = (begin(window.from), begin(window.to));
        Self { format, window, bounds, rest, expected, line_number: 0, found: Ok(Events::default()) }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while let (true, Some(end)) = (self.found.is_ok(), memchr::memchr(b'\n', bytes)) {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            if self.rest.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(self.rest);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                *self.rest = whole;
            }
            bytes = after;
        }
        if self.found.is_ok() {
            if self.rest.len() + bytes.len() > MAX_LINE_BYTES {
                self.found = Err(format!("line {} is too long", self.line_number + 1));
            } else {
                self.rest.extend_from_slice(bytes);
            }
        }
    }

    /// Whether no further bytes can make it a file of events.
    pub(crate) fn has_failed(&self) -> bool {
        self.found.is_err()
    }

    /// Returns what the file has, or why it isn't a file of events.
    pub(crate) fn finish(self) -> Result<Events, String> {
        let events = self.found?;
        let is_complete = match self.format {
            Format::Json => self.expected == Expected::End,
            Format::Ndjson => events.lines > 0,
        };
        if is_complete && self.rest.is_empty() { Ok(events) } else { Err("it ends too early".to_owned()) }
    }

    fn line(&mut self, line: &[u8]) {
        self.line_number += 1;
        if let Err(reason) = self.read_line(line) {
            self.found = Err(format!("line {} {reason}", self.line_number));
        }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        match (self.expected, line) {
            (Expected::Bracket, b"[") => self.expected = Expected::EventOrClosing,
            (Expected::Closing | Expected::EventOrClosing, b"]") => self.expected = Expected::End,
            (Expected::Event | Expected::EventOrClosing, line) => {
                let event = match (self.format, line.strip_suffix(b",")) {
                    (Format::Ndjson, _) => line,
                    (Format::Json, Some(event)) => {
                        self.expected = Expected::Event;
                        event
                    }
                    (Format::Json, None) => {
                        self.expected = Expected::Closing;
                        line
                    }
                };
                return self.event(event);
            }
            (Expected::Bracket, _) => return Err("is not the bracket with which an array begins"),
            (Expected::Closing, _) => return Err("is not the bracket with which the array ends"),
            (Expected::End, _) => return Err("is after the array's end"),
        }
        Ok(())
    }

    fn event(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8")?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err("is not a JSON object");
        }
        let event = match serde_json::from_str::<Line<'_>>(text) {
            Ok(event) => Some(event.in_either_schema()),
            // JSON too, but with a name that isn't Unicode, for example.
            Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => None,
            Err(_) => return Err("is not JSON"),
        };
        let Ok(events) = &mut self.found else { return Ok(()) };
        events.lines += 1;
        let Some(event) = event else { return Ok(()) };
        if event.log_type.is_some_and(|kind| kind.get() == r#""System""#) {
            // Products can't record this logType: the recorder reserves it. Of the system's events, the exporter's own have the
            // window's end as their date.
            let date = event.date.map_or("", RawValue::get).trim_matches('"');
            let is_own = date.strip_prefix(self.bounds.1.as_str()) == Some(".000Z");
            match event.action.map(RawValue::get) {
                Some(r#""Malformed Audit Event""#) => events.malformed += 1,
                Some(r#""Audit Log Retention Exceeded""#) if events.lines == 1 && is_own => {
                    events.begins_with_retention_exceeded = true;
                    return Ok(());
                }
                Some(r#""Audit Log Export Completed""#) if events.lines == 1 && is_own => {
                    events.begins_with_heartbeat = true;
                    return Ok(());
                }
                _ => {}
            }
        }
        if let Some(date) = event.date.and_then(|date| date_outside(date.get(), self.window, &self.bounds)) {
            events.outside.add(date);
        }
        Ok(())
    }
}

/// The date, if it isn't in the window. None for what is no date.
fn date_outside(json: &str, window: Window, (from, to): &(String, String)) -> Option<DateTime<Utc>> {
    // Dates that are written alike compare like texts.
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'))?;
    let begin = inner.get(..from.len())?;
    if inner.ends_with('Z') && begin >= from.as_str() && begin < to.as_str() {
        return None;
    }
    let text = if inner.contains('\\') { serde_json::from_str(json).ok()? } else { Cow::Borrowed(inner) };
    let date: DateTime<Utc> = text.parse().ok()?;
    (date < window.from || date >= window.to).then_some(date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(format: Format, text: &[u8], piece: usize) -> Result<Events, String> {
        let window = Window::parse("2026-11-21T10:00:00Z 2026-11-21T11:00:00Z").unwrap();
        let mut rest = Vec::new();
        let mut reader = EventReader::new(format, window, &mut rest);
        text.chunks(piece).for_each(|piece| reader.push(piece));
        reader.finish()
    }

    #[test]
    fn events_are_counted_wherever_the_pieces_end() {
        let json = b"[\n{\"date\":\"2026-11-21T10:00:00.000Z\"},\n{\"a\":\"\\n\"},\n{}\n]\n";
        let ndjson = b"{\"date\":\"2026-11-21T10:00:00.000Z\"}\n{\"a\":\"\\n\"}\n{}\n";
        for piece in 1..json.len() {
            for (format, text) in [(Format::Json, &json[..]), (Format::Ndjson, &ndjson[..])] {
                assert_eq!(read(format, text, piece), Ok(Events { lines: 3, ..Events::default() }));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_wherever_the_pieces_end(
            lines in prop::collection::vec(
                prop::sample::select(vec![
                    "[", "]", "{}", "{},", ",", "", "{\"date\":\"2026-11-21T10:00:00.000Z\"}", "{\"date\":\"\u{fc}\"},", "{\"a\":1", "\0",
                    "{\"date\":\"2026-11-21T09:00:00.000Z\"},", "{\"logType\":\"System\",\"action\":\"Malformed Audit Event\"}", "[[[[{",
                ]),
                0..8,
            ),
            other in prop::collection::vec(any::<u8>(), 0..8),
            is_json in any::<bool>(),
            piece in 1..32_usize,
        ) {
            let bytes = [lines.join("\n").as_bytes(), &other].concat();
            let format = if is_json { Format::Json } else { Format::Ndjson };
            prop_assert_eq!(read(format, &bytes, piece), read(format, &bytes, usize::MAX));
        }
    }

    #[test]
    fn only_the_date_of_the_event_itself_is_compared() {
        let outside = |line: &str| read(Format::Ndjson, format!("{line}\n").as_bytes(), 64).unwrap().outside.events;
        for inside in [
            r#"{"date":"2026-11-21T10:00:00.000Z"}"#,
            r#"{"date":"2026-11-21T10:59:59.999Z"}"#,
            r#"{"date":"2026-11-21T12:30:00.000+02:00"}"#,
            r#"{"date":"2026-11-21T10:30:00.000Z","user":{"date":"2020-01-01T00:00:00.000Z"}}"#,
            r#"{"date":"2026-11-21T10:30:00.000Z","text":"{\"date\":\"2020-01-01T00:00:00.000Z\"}"}"#,
            r#"{"text":"\\","date":"2026-11-21T10:30:00.000Z"}"#,
            r#"{"date":"yesterday"}"#,
            r#"{"date":"é"}"#,
            r#"{"date":{"date":"2020-01-01T00:00:00.000Z"}}"#,
            r#"{"date":null}"#,
            "{}",
        ] {
            assert_eq!(outside(inside), 0, "{inside}");
        }
        for line in [
            r#"{"date":"2026-11-21T11:00:00.000Z"}"#,
            r#"{"date":"2026-11-21T09:59:59.999Z"}"#,
            r#"{"date":"2026-11-21T10:30:00.000+02:00"}"#,
            r#"{"\u0064ate":"2020-01-01T00:00:00.000Z"}"#,
            r#"{"date":"2020-01-01T00:00:00.000\u005a"}"#,
            r#"{"user":{"date":"2026-11-21T10:30:00.000Z"}, "date" : "2020-01-01T00:00:00.000Z"}"#,
        ] {
            assert_eq!(outside(line), 1, "{line}");
        }
    }

    #[test]
    fn the_exporters_own_events_are_known_and_their_date_is_not_compared() {
        let own = |action: &str| {
            format!("{{\"date\":\"2026-11-21T11:00:00.000Z\",\"logType\":\"System\",\"action\":\"{action}\"}}\n")
        };
        let heartbeat = read(Format::Ndjson, own("Audit Log Export Completed").as_bytes(), 64).unwrap();
        assert!(heartbeat.begins_with_heartbeat && heartbeat.outside.events == 0);
        let exceeded = read(Format::Ndjson, own("Audit Log Retention Exceeded").as_bytes(), 64).unwrap();
        assert!(exceeded.begins_with_retention_exceeded && exceeded.outside.events == 0);
        let malformed = read(Format::Ndjson, own("Malformed Audit Event").as_bytes(), 64).unwrap();
        assert_eq!((malformed.malformed, malformed.outside.events), (1, 1));
        let later = format!("{{}}\n{}", own("Audit Log Export Completed"));
        assert!(!read(Format::Ndjson, later.as_bytes(), 64).unwrap().begins_with_heartbeat);
        let recorded = own("Audit Log Export Completed").replace("11:00:00", "10:30:00");
        assert!(!read(Format::Ndjson, recorded.as_bytes(), 64).unwrap().begins_with_heartbeat);
    }

    #[test]
    fn events_in_ocsf_are_read_like_native_ones() {
        let read = |text: &str| read(Format::Ndjson, format!("{text}\n").as_bytes(), 64).unwrap();
        let examples: Vec<&str> = include_str!("../../functions/schema/examples/ocsf.ndjson").lines().collect();
        let [login, malformed, gap, heartbeat] = examples[..] else { panic!("{examples:?}") };
        let found = Events { lines: 1, ..Events::default() };
        assert_eq!(read(login), found);
        assert_eq!(read(malformed), Events { malformed: 1, ..found.clone() });
        assert_eq!(read(gap), Events { begins_with_retention_exceeded: true, ..found.clone() });
        assert_eq!(read(heartbeat), Events { begins_with_heartbeat: true, ..found.clone() });
        assert_eq!(read(&login.replace("T10:03", "T09:03")).outside.events, 1);
        let recorded = read(&heartbeat.replace("\"System\"", "\"Scan\""));
        assert!(!recorded.begins_with_heartbeat && recorded.outside.events == 1);
        let native = heartbeat.replacen('{', "{\"date\":\"2026-11-21T10:30:00.000Z\",", 1);
        assert_eq!(read(&native), found, "a native event's own members count");
        assert_eq!(read(&heartbeat.replace("class_uid", "class")), found, "a native event may have metadata, too");
        for metadata in ["null", "{\"original_time\":17}", "{}"] {
            assert_eq!(read(&format!("{{\"class_uid\":0,\"metadata\":{metadata}}}")), found, "{metadata}");
        }
    }

    #[test]
    fn json_with_unusual_names_counts() {
        for line in ["{\"\\ud800\":1}\n", "{\"date\":1,\"date\":2}\n"] {
            assert_eq!(read(Format::Ndjson, line.as_bytes(), 64).unwrap().lines, 1, "{line}");
        }
    }

    #[test]
    fn what_is_no_file_of_events_is_refused_with_the_line() {
        for (format, text, reason) in [
            (Format::Json, "", "ends too early"),
            (Format::Json, "[\n{},\n", "ends too early"),
            (Format::Json, "[\n{}\n]", "ends too early"),
            (Format::Json, "{}\n", "line 1 is not the bracket"),
            (Format::Json, "[\n{}\n{}\n]\n", "line 3 is not the bracket"),
            (Format::Json, "[\n{},\n]\n", "line 3 is not a JSON object"),
            (Format::Json, "[\n{}\n]\n[\n", "line 4 is after"),
            (Format::Ndjson, "", "ends too early"),
            (Format::Ndjson, "{}", "ends too early"),
            (Format::Ndjson, "{}\n\n", "line 2 is not a JSON object"),
            (Format::Ndjson, "{\"a\":}\n", "line 1 is not JSON"),
            (Format::Ndjson, "{},\n", "line 1 is not JSON"),
            (Format::Ndjson, "[1]\n", "line 1 is not a JSON object"),
            (Format::Ndjson, "{} {}\n", "line 1 is not JSON"),
        ] {
            let error = read(format, text.as_bytes(), 64).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        assert!(read(Format::Ndjson, b"{\"a\":\"\xff\"}\n", 64).unwrap_err().contains("UTF-8"));
        assert!(read(Format::Ndjson, &vec![b' '; MAX_LINE_BYTES + 1], 1 << 20).unwrap_err().contains("too long"));
    }
}
