//! Public keys: PEM, and the verifier keys of signed notes.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use crate::hash::Sha256;

/// The DER of a P-256 key (SubjectPublicKeyInfo, RFC 5480) before its 65 bytes: the algorithm and the curve.
const P256_HEADER: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The byte before the DER in a verifier key: ECDSA (C2SP, `signed-note`, "Signature types").
const ECDSA: u8 = 0x02;

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// The first four bytes of the SHA-256 of a key's DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A public key that is trusted.
#[derive(Debug, Clone)]
pub struct Key {
    /// None if the key was read from a PEM file, which has no name.
    pub name: Option<String>,
    /// Names the key in signatures.
    pub id: KeyId,
    /// Of its DER, by which people compare keys: others may have the same id.
    pub sha256: Sha256,
    public: ParsedPublicKey,
}

impl Key {
    fn new(name: Option<String>, der: &[u8]) -> Result<Self> {
        let point = der.strip_prefix(&P256_HEADER).context("this is not a public key of ECDSA P-256")?;
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
        let public = public.ok().context("this is not a public key of ECDSA P-256")?;
        let sha256 = Sha256::new(der);
        Ok(Self { name, id: KeyId(sha256.first_four()), sha256, public })
    }

    /// Whether a signature, in DER, is this key's over a text.
    pub(crate) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(text, signature).is_ok()
    }
}

/// The keys whose signatures count.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Adds the keys of a file: public keys in PEM, or verifier keys, one a line. Blank lines and lines that begin with `#` are
    /// skipped. In a file with PEM, so are other texts around it, as tools write them.
    ///
    /// # Errors
    /// If the text has no key, or one that can't be read, and why.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let before = self.0.len();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let has_pem = text.lines().any(|line| line.trim() == PEM_BEGIN);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        while let Some(line) = lines.next() {
            if line == PEM_BEGIN {
                let mut has_end = false;
                let body: Vec<&str> = lines.by_ref().take_while(|line| !is_end(line, &mut has_end)).collect();
                ensure!(has_end, "the PEM is cut off: it has no line {PEM_END:?}");
                let der = STANDARD.decode(body.concat()).context("the PEM is damaged")?;
                self.push(Key::new(None, &der)?);
            } else if line.starts_with("-----BEGIN ") {
                bail!("this is {line:?}; expected is {PEM_BEGIN:?}");
            } else if !has_pem || line.split('+').count() >= 3 {
                self.push(verifier_key(line)?);
            }
        }
        ensure!(
            self.0.len() > before,
            "there is no key in it: expected is a public key in PEM, or a verifier key a line"
        );
        Ok(())
    }

    fn push(&mut self, key: Key) {
        self.0.push(key);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a signature's name and key id fit. Without a name of its own, a key fits any name.
    pub(crate) fn matching<'a>(&'a self, name: &'a str, id: KeyId) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| key.id == id && key.name.as_deref().is_none_or(|own| own == name))
    }

    /// The name of a key with this id, if the name is why a signature doesn't fit.
    pub(crate) fn other_name(&self, id: KeyId) -> Option<&str> {
        self.0.iter().find(|key| key.id == id).and_then(|key| key.name.as_deref())
    }
}

fn is_end(line: &str, has_end: &mut bool) -> bool {
    *has_end |= line == PEM_END;
    *has_end
}

/// Reads `<name>+<key id>+<base64 of the type and the DER>`.
fn verifier_key(line: &str) -> Result<Key> {
    let explained = || format!("{line:?} is neither PEM nor a verifier key: <name>+<8 hex digits>+<base64>");
    let mut parts = line.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else { bail!(explained()) };
    ensure!(is_name(name), explained());
    let bytes = STANDARD.decode(encoded).with_context(explained)?;
    let (kind, der) = bytes.split_first().with_context(explained)?;
    ensure!(*kind == ECDSA, "the key of {name} has the type {kind:#04x}; this program reads ECDSA alone, {ECDSA:#04x}");
    let key = Key::new(Some(name.to_owned()), der)?;
    ensure!(key.id.to_string() == id, "the verifier key of {name} is damaged: its key id is {}, not {id}", key.id);
    Ok(key)
}

/// Whether a text may be the name of a key.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout`.
    const PEM: &str = include_str!("../tests/openssl/key.pem");
    /// The key id is that of `openssl pkey -pubin -in key.pem -outform DER | sha256sum | head -c 8`, the base64 that of
    /// `(printf '\2'; openssl pkey -pubin -in key.pem -outform DER) | base64 -w0`.
    const VERIFIER_KEY: &str = include_str!("../tests/openssl/key.verifier");

    #[test]
    fn the_key_id_of_openssl_is_that_of_both_forms() {
        let mut keys = Keys::default();
        keys.add(PEM).unwrap();
        keys.add(&format!("# the platform's key\n\n{VERIFIER_KEY}")).unwrap();
        let id = VERIFIER_KEY.split('+').nth(1).unwrap();
        assert_eq!(keys.0.iter().map(|key| key.id.to_string()).collect::<Vec<_>>(), [id, id]);
        assert_eq!(keys.0[0].name, None);
        assert_eq!(keys.0[1].name.as_deref(), Some("111122223333.eu-west-1.audit-log-export"));
    }

    /// Its log's id is public: `c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d`.
    #[test]
    fn the_key_of_another_log_with_ecdsa_has_the_id_that_it_is_known_by() {
        let key = "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l\
                   +smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=";
        let mut keys = Keys::default();
        keys.add(key).unwrap();
        assert_eq!(keys.0[0].id.to_string(), "c0d23d6a");
    }

    #[test]
    fn a_pem_file_may_hold_several_keys() {
        let mut keys = Keys::default();
        keys.add(&format!("{PEM}{PEM}")).unwrap();
        assert_eq!(keys.0.len(), 2);
    }

    #[test]
    fn text_around_a_pem_key_is_skipped() {
        let mut keys = Keys::default();
        keys.add(&format!("\u{feff}Public-Key: (256 bit)\n    04:a1\n{PEM}the end\n{VERIFIER_KEY}")).unwrap();
        assert_eq!(keys.0.len(), 2);
    }

    #[test]
    fn a_pem_key_fits_any_name_and_a_verifier_key_only_its_own() {
        let (mut pem, mut named) = (Keys::default(), Keys::default());
        pem.add(PEM).unwrap();
        named.add(VERIFIER_KEY).unwrap();
        let id = pem.0[0].id;
        assert_eq!(pem.matching("any", id).count(), 1);
        assert_eq!(named.matching("any", id).count(), 0);
        assert_eq!(named.matching("111122223333.eu-west-1.audit-log-export", id).count(), 1);
        assert_eq!(pem.matching("any", KeyId([0; 4])).count(), 0);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let of_type_1 = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let private = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----";
        let other_id = VERIFIER_KEY.replacen(VERIFIER_KEY.split('+').nth(1).unwrap(), "00000000", 1);
        let damaged = PEM.replacen("MFkw", "MFkx", 1);
        for (text, reason) in [
            ("", "no key"),
            ("hello", "neither"),
            (of_type_1, "type 0x01"),
            (private, "expected is"),
            (&other_id, "is damaged"),
            (&damaged, "not a public key"),
            (PEM.split("-----END").next().unwrap(), "is cut off"),
        ] {
            let error = format!("{:#}", Keys::default().add(text).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
