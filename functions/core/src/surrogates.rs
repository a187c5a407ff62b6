//! Replaces lone surrogates in JSON: halves of characters, which no UTF-8 text can hold.
//!
//! JavaScript's strings are sequences of UTF-16 code units. Where a program cuts one inside of an emoji, `JSON.stringify`
//! writes the half that is left as an escape, `\ud83d` (by "QuoteJSONString" in ECMA-262). The JSON grammar allows it, and
//! RFC 8259, section 8.2, calls its meaning unpredictable. The sender can't tell, and sending it again brings the same text.

use std::borrow::Cow;

/// U+FFFD, by the Unicode Standard, section 5.22. As long as what it replaces.
const REPLACEMENT: &str = "\\ufffd";

/// Returns the text with an escaped U+FFFD in place of each escaped lone surrogate, and their number. No other text changes.
pub(crate) fn replace_lone(json: &str) -> (Cow<'_, str>, usize) {
    let lone = find_lone(json.as_bytes());
    if lone.is_empty() {
        return (Cow::Borrowed(json), 0);
    }
    let (mut text, mut copied) = (String::with_capacity(json.len()), 0);
    for at in &lone {
        text.push_str(&json[copied..*at]);
        text.push_str(REPLACEMENT);
        copied = at + REPLACEMENT.len();
    }
    text.push_str(&json[copied..]);
    (Cow::Owned(text), lone.len())
}

/// Returns where each escaped lone surrogate begins.
fn find_lone(json: &[u8]) -> Vec<usize> {
    let (mut lone, mut at) = (Vec::new(), 0);
    while let Some(next) = memchr::memchr(b'\\', json.get(at..).unwrap_or_default()) {
        at += next;
        at += match (escaped_unit(json, at), escaped_unit(json, at + REPLACEMENT.len())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * REPLACEMENT.len(),
            (Some(0xd800..=0xdfff), _) => {
                lone.push(at);
                REPLACEMENT.len()
            }
            // Any other escape, in particular an escaped backslash.
            _ => 2,
        };
    }
    lone
}

/// Returns the code unit of an escape like `\u00e9` at this place.
fn escaped_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + REPLACEMENT.len())?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for (json, expected, count) in [
            (r#""\ud83d""#, r#""\ufffd""#, 1),
            (r#""\uDD80\uD83E""#, r#""\ufffd\ufffd""#, 2),
            (r#""\ud83e\ud83e\udd80\udd80""#, r#""\ufffd\ud83e\udd80\ufffd""#, 2),
            (r#""\ud83e \udd80""#, r#""\ufffd \ufffd""#, 2),
            (r#"{"\ud83e": "x"}"#, r#"{"\ufffd": "x"}"#, 1),
            (r#""\\ud83e""#, r#""\\ud83e""#, 0),
            (r#""\\\ud83e\\""#, r#""\\\ufffd\\""#, 1),
            (r#""\ud83e\udd80 \u00e9 \" 🦀""#, r#""\ud83e\udd80 \u00e9 \" 🦀""#, 0),
            (r#""\ud83"#, r#""\ud83"#, 0),
            (r"\", r"\", 0),
        ] {
            let (text, replaced) = replace_lone(json);
            assert_eq!((text.as_ref(), replaced), (expected, count), "{json}");
        }
    }

    /// Code units near both ends of the surrogates, and others.
    fn unit() -> impl Strategy<Value = u16> {
        prop_oneof![
            prop::sample::select(vec![
                0xd7ff, 0xd800, 0xd83e, 0xdbff, 0xdc00, 0xdd80, 0xdfff, 0xe000, 0x5c, 0x22, 0x75
            ]),
            any::<u16>(),
        ]
    }

    proptest! {
        #[test]
        fn an_escaped_text_of_utf_16_is_read_as_unicode_reads_it(units in vec(unit(), 0..12), plain in "[a-z🦀]{0,2}") {
            let escapes: Vec<String> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{plain}{}{plain}\"", escapes.concat());
            let (text, replaced) = replace_lone(&json);
            let read: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, format!("{plain}{}{plain}", String::from_utf16_lossy(&units)));
            prop_assert_eq!(replaced, char::decode_utf16(units).filter(Result::is_err).count());
        }

        #[test]
        fn json_that_can_be_read_does_not_change(
            pieces in vec(prop::sample::select(vec!["\\", "\"", "u", "d83e", "\\ud83e", "\\udd80", "\\ud83e\\udd80", "{", "}", ":", " "]), 0..12),
            text in any::<String>(),
        ) {
            for json in [format!("\"{}\"", pieces.concat()), pieces.concat(), Value::from(text).to_string()] {
                let (replaced_text, replaced) = replace_lone(&json);
                prop_assert_eq!(replaced_text.len(), json.len());
                if serde_json::from_str::<Value>(&json).is_ok() {
                    prop_assert_eq!((replaced_text.as_ref(), replaced), (json.as_str(), 0));
                }
            }
        }
    }
}
