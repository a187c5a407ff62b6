//! Texts, numbers and instants as pages show them. Templates escape them like everything else.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

/// How much of a string in an event is shown, in characters and in bytes on the page, and how much of the whole event.
const MAX_STRING_CHARS: usize = 2_000;
const MAX_STRING_BYTES: usize = 6_000;
const MAX_DOCUMENT_BYTES: usize = 50_000;

/// The bytes that a text adds to a page. A character that is escaped takes five.
pub(super) fn weight(text: &str) -> usize {
    text.len() + 4 * text.bytes().filter(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')).count()
}

/// At most `max` characters of a text, without any that would hide or reorder what is next to it.
pub(super) fn shown(text: &str, max: usize) -> String {
    let mut characters = text.chars();
    let mut shown = String::new();
    for character in characters.by_ref().take(max) {
        push(&mut shown, character);
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Adds a character, or its number if it is invisible or changes how others look. By Unicode Technical Report 36, section
/// 2.5, such characters forge names.
fn push(shown: &mut String, character: char) {
    let hidden = matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}');
    if hidden || (character.is_control() && !matches!(character, '\n' | '\t')) {
        // Writing to a string never fails.
        let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(character));
    } else {
        shown.push(character);
    }
}

/// A JSON document on several lines, in its own order. Very long strings are cut.
pub(super) fn pretty(json: &str) -> String {
    let (mut out, mut depth, mut tokens) = (String::new(), 0_usize, json.trim().chars().peekable());
    let (mut weighed, mut bytes) = (0, 0);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(token) = tokens.next() {
        bytes += weight(out.get(weighed..).unwrap_or_default());
        weighed = out.len();
        if bytes > MAX_DOCUMENT_BYTES {
            out += "\n… see the CSV file or the export for the rest";
            break;
        }
        match token {
            '"' => string(&mut out, &mut tokens),
            '{' | '[' => {
                out.push(token);
                while tokens.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = tokens.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(token);
            }
            ',' => {
                out.push(token);
                line(&mut out, depth);
            }
            ':' => out += ": ",
            token if token.is_ascii_whitespace() => {}
            token => push(&mut out, token),
        }
    }
    out
}

/// The rest of a string, after its first quote.
fn string(out: &mut String, tokens: &mut impl Iterator<Item = char>) {
    out.push('"');
    let (mut escaped, mut length, mut heavy, mut cut) = (false, 0_usize, 0_usize, 0_u64);
    for token in tokens {
        if token == '"' && !escaped {
            break;
        }
        escaped = token == '\\' && !escaped;
        if length == MAX_STRING_CHARS || heavy >= MAX_STRING_BYTES {
            cut += 1;
            continue;
        }
        let before = out.len();
        push(out, token);
        (length, heavy) = (length + 1, heavy + weight(out.get(before..).unwrap_or_default()));
    }
    if cut > 0 {
        let _ = write!(out, "… {} more characters", number(cut));
    }
    out.push('"');
}

/// `12,345`
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `193.0 kB`
pub(super) fn bytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let exact = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", exact / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", exact / 1e6),
        _ => format!("{:.1} GB", exact / 1e9),
    }
}

/// An instant in UTC. The pages' script adds the reader's own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    /// By RFC 3339; blank if it is no instant.
    pub(super) exact: String,
    pub(super) text: String,
}

impl When {
    pub(super) fn minute(at: &str) -> Self {
        Self::new(at, "%-d %b %Y, %H:%M")
    }

    pub(super) fn second(at: &str) -> Self {
        Self::new(at, "%-d %b %Y, %H:%M:%S")
    }

    /// The text in parts within which no line may break.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(", ").map(str::trim_end)
    }

    fn new(at: &str, format: &str) -> Self {
        match at.parse::<DateTime<Utc>>() {
            Ok(instant) => Self { exact: shown(at, 40), text: instant.format(format).to_string() },
            Err(_) => Self { exact: String::new(), text: shown(at, 40) },
        }
    }
}

/// A message about a field as a sentence. A message that begins with a verb continues the field's name.
pub(super) fn sentence(field: &str, message: &str) -> String {
    let verb = message
        .split(' ')
        .next()
        .is_some_and(|word| matches!(word, "is" | "has" | "can" | "can't" | "must" | "failed"));
    if verb {
        return format!("{field} {message}.");
    }
    // A first word that is no plain word was typed by the user, and stays as it is.
    let plain = message.split(' ').next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let mut characters = message.chars();
    let first: String = match characters.next() {
        Some(first) if plain => first.to_uppercase().collect(),
        first => first.into_iter().collect(),
    };
    format!("{first}{}.", characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_hide_or_reorder_text_are_shown_by_their_numbers() {
        assert_eq!(shown("admin\u{202e}gpj.exe", 40), "admin⟨U+202E⟩gpj.exe");
        assert_eq!(shown("a\u{200b}b\u{0}\u{feff}", 40), "a⟨U+200B⟩b⟨U+0000⟩⟨U+FEFF⟩");
        assert_eq!(shown("שלום 👩‍💻 Jürgen", 40), "שלום 👩‍💻 Jürgen", "text in any language stays as it is");
        assert_eq!(shown(&"x".repeat(100), 3), "xxx…");
    }

    #[test]
    fn a_document_keeps_its_order_and_long_strings_are_cut() {
        let laid_out = pretty(r#"{"b":1.50,"a":[ ],"c":{"x":"}\",\"","y":[1,{}]}}"#);
        let expected = "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"c\": {\n    \"x\": \"}\\\",\\\"\",\n    \"y\": [\n      1,\n      {}\n    ]\n  }\n}";
        assert_eq!(laid_out, expected);
        let long = pretty(&format!(r#"{{"a":"{}","b":1}}"#, "x".repeat(100_000)));
        assert!(long.contains("x… 98,000 more characters\",\n  \"b\": 1") && long.len() < 2_100, "{long}");
        let wide = pretty(&format!("[{}1]", "1,".repeat(100_000)));
        assert!(wide.len() < 51_000 && wide.ends_with("for the rest"));
        for hostile in ["<".repeat(1_900), "語".repeat(1_900), "\u{202e}".repeat(1_900)] {
            let heavy = pretty(&format!("[{}1]", format!("\"{hostile}\",").repeat(60)));
            assert!(weight(&heavy) < MAX_DOCUMENT_BYTES + MAX_STRING_BYTES + 200, "{}", weight(&heavy));
        }
    }

    #[test]
    fn numbers_are_grouped_and_sizes_are_rounded() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1000, 12_345_678].map(number).each_ref().map(String::as_str)
        );
        assert_eq!(
            ["0 B", "1.5 kB", "2.0 MB", "3.1 GB"],
            [0, 1_500, 2_000_000, 3_100_000_000].map(bytes).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn a_message_is_a_sentence_about_its_field() {
        assert_eq!(sentence("Bucket", "is required"), "Bucket is required.");
        assert_eq!(sentence("Bucket", "a bucket name has no dots"), "A bucket name has no dots.");
        assert_eq!(sentence("Bucket", ""), ".");
        let typed = "cn-north-1 is in the partition aws-cn";
        assert_eq!(sentence("Region", typed), format!("{typed}."), "typed text stays as it is");
    }

    #[test]
    fn an_instant_is_shown_in_utc_and_other_text_as_it_is() {
        assert_eq!(When::second("2026-11-21T10:03:12.345Z").text, "21 Nov 2026, 10:03:12");
        assert_eq!(When::minute("2026-11-01T10:03:00Z").text, "1 Nov 2026, 10:03");
        assert_eq!(When::minute("soon"), When { exact: String::new(), text: "soon".to_owned() });
    }
}
