//! Signed manifests: the proof that every window of a tenant is in its bucket, unchanged.
//!
//! Each window has one, stored after its objects and before its commit. It lists their checksums and names the manifest of the
//! window before, so that neither a file nor a window can be taken away, changed or added unnoticed. docs/proof.md has the
//! format for readers. Everything but the signature follows from the window's receipt, so a retry writes the same text.

use std::cmp::Reverse;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::{
    failure::{Code, Failure},
    object::{hex, sha256},
    records::Receipt,
    tenant::TenantId,
    timestamp,
};

/// The algorithm's byte in a verifier key: ECDSA, by "Signature types" of C2SP's signed-note specification.
const ECDSA: u8 = 2;

/// What a manifest says beside the window's receipt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    pub is_final: bool,
    /// SHA-256 of the text of the manifest before.
    pub previous: Option<&'a str>,
    /// SHA-256 of the text that this one amends, and why, in one word.
    pub amends: Option<(&'a str, &'a str)>,
}

/// Returns the text of a window's manifest. It ends with a line break.
///
/// # Errors
/// If an object is not in the receipt's folder.
pub fn text(tenant: &TenantId, receipt: &Receipt, context: Context<'_>) -> Result<String, Failure> {
    let folder = &receipt.location.folder;
    let kind = if context.is_final { "final" } else { "window" };
    let [from, to] = [receipt.window.from, receipt.window.to].map(timestamp::seconds);
    let gap = if receipt.gap { "yes" } else { "no" };
    let mut text = format!(
        "audit-log-export manifest v1\ntenant {}\n{kind} {from} {to}\nevents {} late {} malformed {} gap {gap}\nprevious {}\n",
        tenant,
        receipt.events(),
        receipt.late,
        receipt.malformed,
        context.previous.unwrap_or("none"),
    );
    if let Some((amends, cause)) = context.amends {
        text.push_str(&format!("amends {amends} {cause}\n"));
    }
    for object in &receipt.objects {
        let outside = || Failure::new(Code::Unexpected, format!("{} is not in the tenant's folder.", object.key));
        let path = object.key.strip_prefix(folder).ok_or_else(outside)?;
        text.push_str(&format!("{}  {path}\n", object.sha256));
    }
    Ok(text)
}

/// Returns a signed manifest: its text, a blank line and the signature.
pub fn signed_note(text: &str, signature: &Signature) -> String {
    let Signature { key_name, key_id, der } = signature;
    let bytes: Vec<u8> = key_id.iter().chain(der).copied().collect();
    format!("{text}\n\u{2014} {key_name} {}\n", STANDARD.encode(bytes))
}

/// A signature of a manifest's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub key_name: String,
    pub key_id: [u8; 4],
    /// ECDSA with P-256 and SHA-256, in DER.
    pub der: Vec<u8>,
}

/// The public part of a key that signs manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestKey {
    /// `<account>.<region>.<stack>`: who signs. It has neither spaces nor plus signs.
    pub name: String,
    /// In DER, as a SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
}

impl ManifestKey {
    /// The first four bytes of SHA-256 of the public key, by C2SP's signed-note specification for ECDSA.
    pub fn id(&self) -> [u8; 4] {
        let digest = Sha256::digest(&self.public_key);
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// The id in lower-case hex.
    pub fn hex_id(&self) -> String {
        hex(&self.id())
    }

    /// SHA-256 of the public key in lower-case hex. The id is its beginning.
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(&self.public_key))
    }

    /// The key as verifiers of signed notes take it: `<name>+<id>+<base64>`.
    pub fn verifier_key(&self) -> String {
        let bytes: Vec<u8> = [ECDSA].iter().chain(&self.public_key).copied().collect();
        format!("{}+{}+{}", self.name, self.hex_id(), STANDARD.encode(bytes))
    }

    /// The key as `openssl` takes it, with a line break at the end.
    pub fn pem(&self) -> String {
        let base64 = STANDARD.encode(&self.public_key);
        let lines: Vec<&str> = (0..base64.len()).step_by(64).map(|at| &base64[at..base64.len().min(at + 64)]).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.public_key)
    }

    /// None if the text is not base64.
    pub fn from_base64(name: &str, text: &str) -> Option<Self> {
        Some(Self { name: name.to_owned(), public_key: STANDARD.decode(text).ok()? })
    }
}

/// A key that has signed manifests of this platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedKey {
    pub key: ManifestKey,
    pub first_used_at: DateTime<Utc>,
    /// When another key took over; none for the key in use.
    pub retired_at: Option<DateTime<Utc>>,
}

impl UsedKey {
    /// Returns all keys once this one signs: it comes first, all others are retired, and those retired last come first.
    #[must_use]
    pub fn after_use(keys: &[Self], key: &ManifestKey, now: DateTime<Utc>) -> Vec<Self> {
        let now = timestamp::whole_seconds(now);
        let (same, others): (Vec<&Self>, Vec<&Self>) = keys.iter().partition(|used| used.key == *key);
        let first_used_at = same.first().map_or(now, |used| used.first_used_at);
        let mut after = vec![Self { key: key.clone(), first_used_at, retired_at: None }];
        let retired = |used: &&Self| Self { retired_at: used.retired_at.or(Some(now)), ..(*used).clone() };
        after.extend(others.iter().map(retired));
        after[1..].sort_by_key(|used| Reverse(used.retired_at));
        after
    }
}

/// SHA-256 of a manifest's text.
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The same in lower-case hex, as the next manifest names it.
pub fn text_sha256(text: &str) -> String {
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        late_arrivals::TrailingCounts,
        records::{Location, StoredObject},
        schedule::Window,
    };

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn receipt(folder: &str) -> Receipt {
        let window =
            Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
        let minute =
            Window { from: "2026-11-21T09:58:00Z".parse().unwrap(), to: "2026-11-21T09:59:00Z".parse().unwrap() };
        let object = |name: &str, digit: &str, events, late| StoredObject {
            key: format!("{folder}dt=2026-11-21/{name}"),
            bytes: 100,
            events,
            sha256: digit.repeat(64),
            late,
            last_event: None,
        };
        let location = Location { bucket: "acme-audit".to_owned(), folder: folder.to_owned() };
        Receipt {
            objects: vec![
                object("20261121T095800Z_20261121T095900Z_late_0001.json", "1", 7, Some(minute)),
                object("20261121T100000Z_20261121T110000Z_0001.json", "2", 600, None),
                object("20261121T100000Z_20261121T110000Z_0002.json", "3", 13, None),
            ],
            late: 2,
            malformed: 1,
            ..Receipt::empty(window, location, TrailingCounts::new(window))
        }
    }

    #[test]
    fn the_text_is_the_same_under_any_prefix() {
        let here = receipt("audit-logs/tenant=acme/");
        let text = text(&acme(), &here, Context::default()).unwrap();
        let elsewhere = receipt("security/audit-logs/tenant=acme/");
        assert_eq!(super::text(&acme(), &elsewhere, Context::default()).as_ref(), Ok(&text));
        let mixed = Receipt { location: here.location, ..elsewhere };
        assert!(super::text(&acme(), &mixed, Context::default()).is_err(), "another folder");
        insta::assert_snapshot!(text, @r"
        audit-log-export manifest v1
        tenant acme
        window 2026-11-21T10:00:00Z 2026-11-21T11:00:00Z
        events 613 late 2 malformed 1 gap no
        previous none
        1111111111111111111111111111111111111111111111111111111111111111  dt=2026-11-21/20261121T095800Z_20261121T095900Z_late_0001.json
        2222222222222222222222222222222222222222222222222222222222222222  dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json
        3333333333333333333333333333333333333333333333333333333333333333  dt=2026-11-21/20261121T100000Z_20261121T110000Z_0002.json
        ");
    }

    #[test]
    fn a_final_delivery_a_gap_the_manifest_before_and_the_amended_one_are_in_the_text() {
        let with_gap = Receipt { gap: true, ..receipt("audit-logs/tenant=acme/") };
        let (head, amended) = ("a".repeat(64), "b".repeat(64));
        let context = Context { is_final: true, previous: Some(&head), amends: None };
        let text = super::text(&acme(), &with_gap, context).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).take(3).collect();
        assert_eq!(
            lines,
            [
                "final 2026-11-21T10:00:00Z 2026-11-21T11:00:00Z",
                "events 613 late 2 malformed 1 gap yes",
                &format!("previous {head}")
            ]
        );
        let context = Context { is_final: false, previous: Some(&head), amends: Some((&amended, "late-events")) };
        let text = super::text(&acme(), &with_gap, context).unwrap();
        assert_eq!(text.lines().nth(5), Some(format!("amends {amended} late-events").as_str()));
    }

    #[test]
    fn a_key_is_written_as_openssl_and_verifiers_of_notes_take_it() {
        // openssl ecparam -genkey -name prime256v1 -noout | openssl ec -pubout -outform DER | base64 -w 0
        const DER: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDwtxdcf4dowrkaQ2y/638kxD3D8b1vqrjgHOVvilq0BqKxDFMo+x3fw9WFmp4KZRdvoktV7ITOaQQ2lxXWwVfA==";
        let key = ManifestKey::from_base64("111111111111.eu-west-1.audit-logs", DER).unwrap();
        assert_eq!(key.to_base64(), DER);
        // base64 -d | sha256sum | head -c 8
        assert_eq!(key.hex_id(), "d526f365");
        let verifier_key = key.verifier_key();
        assert!(verifier_key.starts_with("111111111111.eu-west-1.audit-logs+d526f365+AjBZMBMG"), "{verifier_key}");
        let pem = key.pem();
        let lines: Vec<usize> = pem.lines().map(str::len).collect();
        assert_eq!(lines, [26, 64, 60, 24]);
    }

    #[test]
    fn the_key_in_use_comes_first_and_all_others_are_retired() {
        let key = |name: &str| ManifestKey { name: name.to_owned(), public_key: name.into() };
        let at = |hour: u32| format!("2026-11-21T{hour:02}:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let mut keys = Vec::new();
        let mut seen = Vec::new();
        for (hour, name) in [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "b")] {
            keys = UsedKey::after_use(&keys, &key(name), at(hour));
            let hours = |it: &UsedKey| {
                let hour = |at: DateTime<Utc>| at.format("%-H").to_string();
                format!("{} {}-{}", it.key.name, hour(it.first_used_at), it.retired_at.map(hour).unwrap_or_default())
            };
            seen.push(keys.iter().map(hours).collect::<Vec<_>>().join(", "));
        }
        assert_eq!(seen, ["a 1-", "a 1-", "b 3-, a 1-3", "c 4-, b 3-4, a 1-3", "b 3-, c 4-5, a 1-3"]);
    }

    #[test]
    fn a_signature_is_appended_and_changes_no_byte_of_the_text() {
        let signature = Signature { key_name: "platform".to_owned(), key_id: [1, 2, 3, 4], der: vec![5, 6] };
        assert_eq!(signed_note("a text\n", &signature), "a text\n\n\u{2014} platform AQIDBAUG\n");
    }
}
