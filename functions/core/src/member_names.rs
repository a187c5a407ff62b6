//! Finds names that occur twice in an object of an event. Query engines fail on such a line, and with it on its whole file.
//!
//! Athena takes no duplicate keys, and by default lower-cases keys first, so that `URL` and `Url` are one ("Hive JSON SerDe"
//! and "OpenX JSON SerDe" in the Amazon Athena User Guide). Spark fails on columns of one name, nested ones too, and compares
//! without case unless `spark.sql.caseSensitive` is set ("Upgrading from Spark SQL 3.0 to 3.1" in its migration guide). Both
//! lower-case by `toLowerCase` of Java, which follows the same rules of Unicode as [`str::to_lowercase`].

use std::{borrow::Cow, collections::HashSet};

use crate::surrogates;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// Up to this number of members of an object, comparing a hash with all before it is quicker than looking it up.
const MAX_COMPARED_NAMES: usize = 256;

/// The characters of a member's name that a place repeats.
const MAX_SHOWN_NAME_CHARS: usize = 60;

/// The characters of a place as a whole.
const MAX_SHOWN_PLACE_CHARS: usize = 300;

/// A member with the name of an earlier one of the same object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} occurs twice in the same object; names that differ only in case count as one")]
pub struct RepeatedName {
    /// A JSON pointer.
    place: String,
}

/// Returns a member with the name of an earlier one of the same object, at any depth. The text is valid JSON.
pub fn find_repeated(json: &str) -> Option<RepeatedName> {
    if !may_repeat(json) {
        return None;
    }
    first_repeated(json).map(|end| RepeatedName { place: place(json, end) })
}

/// Writes a member's name as a part of a JSON pointer.
pub(crate) fn pointer(name: &str) -> String {
    let shown: String = name.chars().take(MAX_SHOWN_NAME_CHARS).flat_map(char::escape_debug).collect();
    shown.replace('~', "~0").replace('/', "~1")
}

/// Returns whether a name may be repeated, since some hashes are the same or a name has a rare shape. Each exported event comes
/// by here, so it is a loop of its own: over [`Tokens`] it takes half as long again.
fn may_repeat(json: &str) -> bool {
    let bytes = json.as_bytes();
    // The hashes of the names of all open objects, and for each object where its own begin and a bit for the first six bits
    // of each. Nearly every new name has a bit of its own, and is compared with none.
    let (mut hashes, mut outer) = (Vec::with_capacity(32), Vec::with_capacity(8));
    let (mut start, mut bits, mut at) = (0, 0_u64, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let name = at;
                let Some((end, escaped)) = end_of_string(bytes, at) else { return true };
                at = end + 1;
                if !is_name(bytes, at) {
                    continue;
                }
                let Some(hash) = hash(bytes, name, end).filter(|_| !escaped) else { return true };
                let before = hashes.get(start..).unwrap_or_default();
                let bit = 1_u64 << (hash >> 26);
                if before.len() >= MAX_COMPARED_NAMES || bits & bit != 0 && before.contains(&hash) {
                    return true;
                }
                bits |= bit;
                hashes.push(hash);
            }
            b'{' => {
                outer.push((start, bits));
                (start, bits) = (hashes.len(), 0);
            }
            b'}' => {
                hashes.truncate(start);
                (start, bits) = outer.pop().unwrap_or_default();
            }
            _ => {}
        }
    }
    false
}

/// Returns a hash of `bytes[start..end]` that is the same in upper and lower case; `None` if that is not ASCII.
#[inline]
fn hash(bytes: &[u8], start: usize, end: usize) -> Option<u32> {
    // An odd number with its bits evenly spread.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    // The bit that tells a letter's case. Some other characters differ in it alone, and collide.
    const CASE_BITS: u64 = ONES * 0x20;
    let (mut hash, mut all, mut at) = ((end - start) as u64, 0, start);
    while at < end {
        let chunk = bytes.get(at..).and_then(<[u8]>::first_chunk).map_or_else(
            || bytes[at..].iter().rev().fold(0, |chunk, byte| chunk << 8 | u64::from(*byte)),
            |chunk| u64::from_le_bytes(*chunk),
        );
        let chunk = if end - at < 8 { chunk & (u64::MAX >> (64 - 8 * (end - at))) } else { chunk };
        all |= chunk;
        hash = (hash.rotate_left(5) ^ (chunk | CASE_BITS)).wrapping_mul(FACTOR);
        at += 8;
    }
    (all & HIGH_BITS == 0).then_some((hash >> 32) as u32)
}

/// Returns where the tokens end with the first repeated name. It takes linear time for any number of members.
fn first_repeated(json: &str) -> Option<usize> {
    let (mut seen, mut open, mut objects) = (HashSet::new(), Vec::new(), 0_usize);
    let mut tokens = Tokens::new(json);
    while let Some(token) = tokens.next() {
        match token {
            Token::OpenObject => {
                open.push(objects);
                objects += 1;
            }
            Token::CloseObject => {
                open.pop();
            }
            Token::Name { raw, escaped } => {
                if !seen.insert((open.last().copied(), comparable(raw, escaped))) {
                    return Some(tokens.at);
                }
            }
            Token::OpenArray | Token::CloseArray | Token::Comma => {}
        }
    }
    None
}

/// Returns the name as engines compare it.
fn comparable(raw: &str, escaped: bool) -> Cow<'_, str> {
    let name = if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) };
    let is_lower = name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lower { name } else { Cow::Owned(name.to_lowercase()) }
}

fn unescape(raw: &str) -> String {
    let (whole, _) = surrogates::replace_lone(raw);
    serde_json::from_str(&format!("\"{whole}\"")).unwrap_or_else(|_| raw.to_owned())
}

/// Returns the place to which the tokens up to `end` lead, as a JSON pointer.
fn place(json: &str, end: usize) -> String {
    enum Step {
        Member(String),
        Element(usize),
    }
    let (mut path, mut tokens) = (Vec::new(), Tokens::new(json));
    while tokens.at < end
        && let Some(token) = tokens.next()
    {
        match (token, path.last_mut()) {
            (Token::OpenObject, _) => path.push(Step::Member(String::new())),
            (Token::OpenArray, _) => path.push(Step::Element(0)),
            (Token::CloseObject | Token::CloseArray, _) => {
                path.pop();
            }
            (Token::Comma, Some(Step::Element(index))) => *index += 1,
            (Token::Name { raw, .. }, Some(Step::Member(name))) => *name = pointer(&unescape(raw)),
            (Token::Comma | Token::Name { .. }, _) => {}
        }
    }
    let steps = path.iter().map(|step| match step {
        Step::Member(name) => format!("/{name}"),
        Step::Element(index) => format!("/{index}"),
    });
    let mut place: String = steps.collect();
    if let Some((cut, _)) = place.char_indices().nth(MAX_SHOWN_PLACE_CHARS) {
        place.truncate(cut);
        place.push('…');
    }
    place
}

/// What the names of members and their places depend on.
enum Token<'a> {
    OpenObject,
    CloseObject,
    OpenArray,
    CloseArray,
    Comma,
    /// Without its quotes.
    Name {
        raw: &'a str,
        escaped: bool,
    },
}

/// The tokens of valid JSON. Of any other text they may be any, and end.
struct Tokens<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.json.as_bytes();
        loop {
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => {
                    let (end, escaped) = end_of_string(bytes, self.at)?;
                    let raw = self.json.get(self.at..end)?;
                    self.at = end + 1;
                    if is_name(bytes, self.at) {
                        return Some(Token::Name { raw, escaped });
                    }
                }
                b'{' => return Some(Token::OpenObject),
                b'}' => return Some(Token::CloseObject),
                b'[' => return Some(Token::OpenArray),
                b']' => return Some(Token::CloseArray),
                b',' => return Some(Token::Comma),
                _ => {}
            }
        }
    }
}

/// Returns whether a string that ends before `at` is a member's name: only a name is followed by a colon.
#[inline]
fn is_name(bytes: &[u8], at: usize) -> bool {
    let after = bytes.get(at..).unwrap_or_default();
    after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// Returns where a string has its last quote, and whether it has escapes. It begins behind its first quote.
#[inline]
fn end_of_string(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let (mut at, mut escaped) = (start, false);
    loop {
        at += quote_or_backslash(bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some((at, escaped));
        }
        escaped = true;
        at += 2;
    }
}

/// As `memchr2`, and quicker for strings of a few bytes.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let chunk = u64::from_le_bytes(*chunk);
        let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGH_BITS;
        // The lowest bit that is set is right, and higher ones need not be.
        let found = zero_byte(chunk ^ (ONES * b'"' as u64)) | zero_byte(chunk ^ (ONES * b'\\' as u64));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let before = bytes.len() - rest.len();
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| before + at)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;

    fn repeated(json: &str) -> Option<String> {
        serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap();
        find_repeated(json).map(|repeated| repeated.place)
    }

    #[test]
    fn a_name_is_repeated_if_an_engine_takes_it_for_an_earlier_one_of_its_object() {
        for (json, place) in [
            (r#"{"a":1,"a":1}"#, Some("/a")),
            (r#"{"URL":1,"b":2,"Url":3}"#, Some("/Url")),
            (r#"{"a":{"b":1},"b":{"a":{}},"c":[{"a":1},{"a":2}]}"#, None),
            (r#"{"a":[0,[{"x":1}],{"b":{"c":1,"d":{},"C":2}}]}"#, Some("/a/2/b/C")),
            (r#"{"x":{"y":[[],{}]},"z":[1,{"k":0,"K":0}]}"#, Some("/z/1/K")),
            (r#"{"a":1,"\u0041":2}"#, Some("/A")),
            (r#"{"a\"b":1,"a\\":2,"A\"B" : 3}"#, Some(r#"/A\"B"#)),
            (r#"{"Zoë":1,"ZOË":2}"#, Some("/ZOË")),
            (r#"{"Zoë":1,"zo\u00CB":2}"#, Some("/zoË")),
            // By Unicode the Kelvin sign is another capital k, and this s has no capital of its own.
            ("{\"k\":1,\"\u{212a}\":2}", Some("/\u{212a}")),
            ("{\"s\":1,\"\u{17f}\":2}", None),
            // The small dotless i is another letter; a German sharp s is not lower-cased to two.
            ("{\"i\":1,\"\u{131}\":2,\"ss\":3,\"\u{df}\":4}", None),
            (r#"{"":1,"":2}"#, Some("/")),
            (r#"{"a/b":{"~":1,"~":2}}"#, Some("/a~1b/~0")),
            (r#"{"a":"{\"a\":1,\"a\":2}","b":"\"a\":"}"#, None),
            (r#"{"a":"a","b":["a","a"],"c" :"a"}"#, None),
            (r#"[{"a":1},{"b":1,"a" : 2 , "A" :3}]"#, Some("/1/A")),
            // A half of a character is U+FFFD to those that can read it at all.
            (r#"{"\ud83d":1,"\ud83e":2}"#, Some("/\u{fffd}")),
            (r#"{"\ud83e\udd80":1,"🦀":2}"#, Some("/🦀")),
            ("{\n\t\"a\" :\r\n1,\n\"A\"\n:2}", Some("/A")),
            ("{}", None),
            ("7", None),
        ] {
            assert_eq!(repeated(json).as_deref(), place, "{json}");
        }
    }

    #[test]
    fn a_place_is_short_and_has_no_invisible_characters() {
        let long = "x".repeat(100);
        assert_eq!(
            repeated(&json!({ &long: { "a": 1, "a\n": 2, "A\n": 3 } }).to_string()).unwrap(),
            format!("/{}/A\\n", &long[..60])
        );
        let deep = format!("{}{{\"b\":1,\"b\":2}}{}", "{\"ä\":".repeat(1_000), "}".repeat(1_000));
        let place = repeated(&deep).unwrap();
        assert_eq!((place.chars().count(), place.ends_with('…')), (MAX_SHOWN_PLACE_CHARS + 1, true));
    }

    #[test]
    fn an_object_of_any_number_of_members_is_read_in_linear_time() {
        let members = |count: usize| (0..count).map(|n| format!("\"n{n}\":{{\"a\":0}}")).collect::<Vec<_>>().join(",");
        for count in [1, MAX_COMPARED_NAMES, MAX_COMPARED_NAMES + 1, 50_000] {
            assert_eq!(repeated(&format!("{{{}}}", members(count))), None, "{count}");
            let more = format!("{{\"list\":[1,{{{},\"N0\":1}}]}}", members(count));
            assert_eq!(repeated(&more).as_deref(), Some("/list/1/N0"), "{count}");
        }
        // Each of 25,000 open objects has a name.
        assert_eq!(repeated(&format!("{}1{}", "{\"a\":".repeat(25_000), "}".repeat(25_000))), None);
    }

    #[test]
    fn text_that_is_not_json_ends() {
        for text in [
            "",
            "\"",
            "{\"",
            "{\"a",
            "{\"a\\",
            "{\"a\"",
            "}}\"a\":1",
            "{\"a\":1,\"a",
            "{\"a\"\u{a0}:1,ü\"a\":",
            "\\\"\\",
        ] {
            let _ = find_repeated(text);
        }
    }

    /// JSON by the plain reading of the rules.
    #[derive(Debug, Clone)]
    enum Model {
        Leaf(&'static str),
        List(Vec<Model>),
        /// Each name as written, read and compared.
        Object(Vec<([&'static str; 3], Model)>),
    }

    impl Model {
        fn text(&self) -> String {
            match self {
                Self::Leaf(text) => (*text).to_owned(),
                Self::List(values) => format!("[{}]", values.iter().map(Self::text).collect::<Vec<_>>().join(" ,")),
                Self::Object(members) => {
                    let member = |([name, ..], value): &([&str; 3], Self)| format!("\"{name}\" :{}", value.text());
                    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(",\n"))
                }
            }
        }

        fn first_repeated(&self, place: &str) -> Option<String> {
            match self {
                Self::Leaf(_) => None,
                Self::List(values) => values
                    .iter()
                    .enumerate()
                    .find_map(|(index, value)| value.first_repeated(&format!("{place}/{index}"))),
                Self::Object(members) => {
                    let mut seen = HashSet::new();
                    members.iter().find_map(|([_, name, compared], value)| {
                        let place = format!("{place}/{}", pointer(name));
                        if seen.insert(compared) { value.first_repeated(&place) } else { Some(place) }
                    })
                }
            }
        }
    }

    fn model() -> impl Strategy<Value = Model> {
        let leaves = vec!["1", "null", r#""a""#, r#""a\\""#, r#""{\"a\":1""#, "[]", "{}", "-1e9", r#""\ud83d""#];
        let name = prop::sample::select(vec![
            ["a", "a", "a"],
            ["A", "A", "a"],
            [r"\u0061", "a", "a"],
            [r#"a\""#, "a\"", "a\""],
            ["", "", ""],
            ["ä", "ä", "ä"],
            [r"\u00C4", "Ä", "ä"],
            ["{", "{", "{"],
            [":", ":", ":"],
            ["K", "K", "k"],
            ["\u{212a}", "\u{212a}", "k"],
        ]);
        prop::sample::select(leaves).prop_map(Model::Leaf).prop_recursive(4, 32, 6, move |inner| {
            let list = vec(inner.clone(), 0..4).prop_map(Model::List);
            prop_oneof![list, vec((name.clone(), inner), 0..6).prop_map(Model::Object)]
        })
    }

    proptest! {
        #[test]
        fn the_first_repeated_name_is_found_wherever_it_is(model in model()) {
            let (text, expected) = (model.text(), model.first_repeated(""));
            prop_assert_eq!(&repeated(&text), &expected, "{}", text);
            // Else the quick check decides.
            prop_assert_eq!(first_repeated(&text).map(|end| place(&text, end)), expected, "{}", text);
        }

        #[test]
        fn any_text_is_read_to_its_end(text in r#"[{}\[\]:,"\\ \na-cA-C0ü]{0,40}"#) {
            let _ = find_repeated(&text);
        }
    }
}
