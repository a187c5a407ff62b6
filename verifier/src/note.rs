//! Signed notes: a text with signatures, as C2SP's `signed-note` defines them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    hash::Sha256,
    key::{KeyId, Keys, is_name},
};

/// More signatures than the platform's. The specification asks for at least 16.
const MAX_SIGNATURES: usize = 64;

/// A note whose signatures have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// With its last line break.
    pub text: &'a str,
    /// What the signatures say about it.
    pub signature: Signature,
}

/// What the signatures of a note say about its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// By a given key. `others` are names and ids of keys that aren't given and signed as well.
    Valid {
        /// The given key's. None if it was read from a PEM file: anyone can change the name in a signature.
        name: Option<String>,
        /// The given key's.
        id: KeyId,
        /// Of the given key.
        key_sha256: Sha256,
        /// Of further signatures, which can't be checked.
        others: Vec<String>,
    },
    /// There is none.
    Absent,
    /// All are by keys that aren't given. The names and ids of those.
    Unknown(Vec<String>),
    /// One is by a given key, and wrong.
    Wrong {
        /// As the signature has it.
        name: String,
        /// The given key's.
        id: KeyId,
    },
}

impl<'a> Note<'a> {
    /// Takes a note apart and checks its signatures. A text without signatures is a note too.
    ///
    /// # Errors
    /// What keeps the bytes from being a note.
    pub fn open(bytes: &'a [u8], keys: &Keys) -> Result<Self, &'static str> {
        let note = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err("it has control characters");
        }
        if !note.ends_with('\n') {
            return Err("its last line is cut off");
        }
        // The text ends at the last empty line.
        let Some(blank) = note.rfind("\n\n") else { return Ok(Self { text: note, signature: Signature::Absent }) };
        let (text, signatures) = (&note[..=blank], &note[blank + 2..]);
        let signatures: Vec<_> = signatures.lines().map(parse_line).collect::<Option<_>>().ok_or(
            "a line after the blank one is not a signature: an em dash, a key name and base64, with one space between them",
        )?;
        if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
            return Err("it has a blank line at its end, or too many signatures");
        }
        Ok(Self { text, signature: check(text, &signatures, keys) })
    }
}

struct Line<'a> {
    name: &'a str,
    id: KeyId,
    signature: Vec<u8>,
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    is_name(name).then(|| Line { name, id: KeyId(*id), signature: signature.to_vec() })
}

/// By the specification, signatures of unknown keys are ignored, and one wrong signature of a known key spoils the note.
fn check(text: &str, lines: &[Line<'_>], keys: &Keys) -> Signature {
    let (mut valid, mut unknown) = (None, Vec::new());
    for Line { name, id, signature } in lines {
        let mut known = keys.matching(name, *id).peekable();
        if known.peek().is_none() {
            let hint = keys.other_name(*id).map(|other| format!(" (the given key of this id is named {other})"));
            unknown.push(format!("{name}+{id}{}", hint.unwrap_or_default()));
        } else if let Some(key) = known.find(|key| key.verifies(text.as_bytes(), signature)) {
            valid.get_or_insert((key.name.clone(), *id, key.sha256));
        } else {
            return Signature::Wrong { name: (*name).to_owned(), id: *id };
        }
    }
    match valid {
        Some((name, id, key_sha256)) => Signature::Valid { name, id, key_sha256, others: unknown },
        None => Signature::Unknown(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed by OpenSSL: `openssl dgst -sha256 -sign private.pem text`.
    const SIGNED: &str = include_str!("../tests/openssl/note");
    const NAME: &str = "111122223333.eu-west-1.audit-log-export";

    fn keys() -> Keys {
        let mut keys = Keys::default();
        keys.add(include_str!("../tests/openssl/key.verifier")).unwrap();
        keys
    }

    fn signature(note: &str) -> Signature {
        Note::open(note.as_bytes(), &keys()).unwrap().signature
    }

    #[test]
    fn a_signature_of_openssl_is_valid() {
        let note = Note::open(SIGNED.as_bytes(), &keys()).unwrap();
        assert!(note.text.starts_with("audit-log-export manifest v1\n") && note.text.ends_with(".json\n"));
        assert!(matches!(note.signature, Signature::Valid { name: Some(name), .. } if name == NAME));
    }

    #[test]
    fn a_signature_of_another_text_is_wrong() {
        assert!(matches!(signature(&SIGNED.replacen("acme", "acmf", 1)), Signature::Wrong { .. }));
    }

    #[test]
    fn name_and_id_must_be_the_keys_own() {
        let Signature::Unknown(keys) = signature(&SIGNED.replacen(NAME, "other", 1)) else { panic!("it is known") };
        assert!(keys[0].starts_with("other+") && keys[0].contains(NAME), "{keys:?}");
        assert!(matches!(Note::open(SIGNED.as_bytes(), &Keys::default()).unwrap().signature, Signature::Unknown(_)));
    }

    #[test]
    fn a_further_signature_by_an_unknown_key_is_named_and_changes_nothing() {
        let note = format!("{SIGNED}— witness.example AAAAAAAA\n");
        assert!(matches!(signature(&note), Signature::Valid { others, .. } if others == ["witness.example+00000000"]));
    }

    #[test]
    fn a_text_may_have_blank_lines_and_no_signature() {
        assert_eq!(signature("a\n"), Signature::Absent);
        let note = format!("a\n\nb\n\n{}\n", SIGNED.lines().last().unwrap());
        assert_eq!(Note::open(note.as_bytes(), &keys()).unwrap().text, "a\n\nb\n");
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for note in [
            "a",
            "a\n\n",
            "a\n\n\n",
            "a\r\n",
            "a\n\n— name AAAAAAAA",
            "a\n\n- name AAAAAAAA\n",
            "a\n\n— name\n",
            "a\n\n— name AAAA\n",
            "a\n\n— name  AAAAAAAA\n",
            "a\n\n— na+me AAAAAAAA\n",
            "a\n\n— name AAAAAAB=\n",
        ] {
            assert!(Note::open(note.as_bytes(), &keys()).is_err(), "{note:?}");
        }
        assert!(Note::open(b"\xff\n", &keys()).is_err());
    }
}
