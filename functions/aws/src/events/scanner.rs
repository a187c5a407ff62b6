//! Reads JSON from front to back, as fast as pages of events arrive.
//!
//! Why not a library: nearly all of a page is JSON within JSON strings, so the time goes into unescaping texts full of
//! `\"`. For a page, `serde_json` took 1.6 times and `sonic-rs` 1.15 times as long as a first version of this, which needs
//! no dependency and no unsafe code. Anything but JSON is [`Damage`]; nothing is guessed.

/// Why DynamoDB can't have sent a body. The text repeats nothing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damage(pub(super) &'static str);

const ENDS_EARLY: Damage = Damage("it ends too early");
const ESCAPE: Damage = Damage("an escape sequence is not valid");

/// The limit for values that are skipped. DynamoDB nests 32 attributes, which are 64 levels of JSON ("Quotas in Amazon
/// DynamoDB").
const MAX_DEPTH: u32 = 128;

/// A position in the bytes.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the next byte that is not whitespace, without consuming it.
    pub(super) fn peek(&mut self) -> Result<u8, Damage> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                next => return next.copied().ok_or(ENDS_EARLY),
            }
        }
    }

    /// Consumes the next byte if it is this one.
    pub(super) fn consume(&mut self, byte: u8) -> Result<bool, Damage> {
        let is_next = self.peek()? == byte;
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Damage> {
        if self.consume(byte)? { Ok(()) } else { Err(Damage(otherwise)) }
    }

    /// Fails if anything but whitespace follows.
    pub(super) fn end(mut self) -> Result<(), Damage> {
        if self.peek() == Err(ENDS_EARLY) { Ok(()) } else { Err(Damage("something follows its end")) }
    }

    /// Reads an object. `member` has to read each member's value; it gets the name still escaped.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a [u8]) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        self.expect(b'{', "an object is missing")?;
        if self.consume(b'}')? {
            return Ok(());
        }
        loop {
            let name = self.raw_text()?;
            self.expect(b':', "a member has no value")?;
            member(self, name)?;
            if self.consume(b'}')? {
                return Ok(());
            }
            self.expect(b',', "members are not apart")?;
        }
    }

    /// Reads an array. `element` has to read each element.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Damage>) -> Result<(), Damage> {
        self.expect(b'[', "an array is missing")?;
        if self.consume(b']')? {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.consume(b']')? {
                return Ok(());
            }
            self.expect(b',', "elements are not apart")?;
        }
    }

    /// Skips any value and returns its bytes. Texts in it are not checked.
    pub(super) fn skip(&mut self) -> Result<&'a [u8], Damage> {
        self.peek()?;
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.bytes[start..self.at])
    }

    fn skip_value(&mut self, depth: u32) -> Result<(), Damage> {
        if depth > MAX_DEPTH {
            return Err(Damage("it is nested too deep"));
        }
        match self.peek()? {
            b'{' => self.object(|scanner, _| scanner.skip_value(depth + 1)),
            b'[' => self.array(|scanner| scanner.skip_value(depth + 1)),
            b'"' => self.raw_text().map(|_| ()),
            _ => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                let rest = &self.bytes[self.at..];
                let word = &rest[..rest.iter().take_while(|byte| is_word(byte)).count()];
                self.at += word.len();
                match word {
                    b"true" | b"false" | b"null" | [b'-' | b'0'..=b'9', ..] => Ok(()),
                    _ => Err(Damage("a value is not valid")),
                }
            }
        }
    }

    /// Skips a text and returns it still escaped, without its quotes.
    pub(super) fn raw_text(&mut self) -> Result<&'a [u8], Damage> {
        self.expect(b'"', "a text is missing")?;
        let start = self.at;
        loop {
            if let Some(&word) = self.bytes[self.at..].first_chunk() {
                match specials(u64::from_le_bytes(word)) {
                    0 => {
                        self.at += word.len();
                        continue;
                    }
                    specials => self.at += first(specials),
                }
            }
            match self.bytes.get(self.at).ok_or(ENDS_EARLY)? {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.bytes[start..self.at - 1]);
                }
                // An escaped byte can't be the closing quote.
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                0..=0x1f => return Err(Damage("a text has a control character")),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a text and appends it unescaped.
    pub(super) fn text(&mut self, into: &mut Vec<u8>) -> Result<(), Damage> {
        self.expect(b'"', "a text is missing")?;
        let mut stage = Stage { bytes: [0; STAGE], len: 0, into };
        loop {
            let Some(&word) = self.bytes[self.at..].first_chunk() else {
                if self.text_byte(&mut stage)? {
                    break;
                }
                continue;
            };
            // Copies eight bytes at once, and overwrites those that are too many. After an escape sequence it continues in
            // the same eight bytes: in JSON within JSON the next escape sequence is near.
            let mut word = u64::from_le_bytes(word);
            let (mut specials, mut left) = (specials(word), 8);
            loop {
                let plain = if specials == 0 { left } else { first(specials) };
                stage.push(word, plain);
                self.at += plain;
                if specials == 0 {
                    break;
                }
                let special = self.at;
                // Most escape sequences are a quote or a backslash.
                let consumed = if let [b'\\', same @ (b'"' | b'\\'), ..] = self.bytes[self.at..] {
                    stage.push(u64::from(same), 1);
                    self.at += 2;
                    plain + 2
                } else {
                    if self.text_byte(&mut stage)? {
                        stage.flush();
                        return Ok(());
                    }
                    plain + (self.at - special)
                };
                if consumed >= left {
                    break;
                }
                (word, specials, left) = (word >> (8 * consumed), specials >> (8 * consumed), left - consumed);
            }
        }
        stage.flush();
        Ok(())
    }

    /// Reads one byte or one escape sequence of a text; true if it is the closing quote.
    fn text_byte(&mut self, into: &mut Stage<'_>) -> Result<bool, Damage> {
        let plain = match self.bytes.get(self.at).ok_or(ENDS_EARLY)? {
            b'"' => {
                self.at += 1;
                return Ok(true);
            }
            b'\\' => {
                self.at += 1;
                match self.bytes.get(self.at).ok_or(ENDS_EARLY)? {
                    same @ (b'"' | b'\\' | b'/') => *same,
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'u' => {
                        into.flush();
                        return self.character(into.into).map(|()| false);
                    }
                    _ => return Err(ESCAPE),
                }
            }
            0..=0x1f => return Err(Damage("a text has a control character")),
            plain => *plain,
        };
        into.push(u64::from(plain), 1);
        self.at += 1;
        Ok(false)
    }

    /// Reads what follows a backslash: `uXXXX`, or a pair of these for one character.
    #[cold]
    fn character(&mut self, into: &mut Vec<u8>) -> Result<(), Damage> {
        let mut code = self.code_unit()?;
        if (0xd800..0xdc00).contains(&code) {
            if self.bytes.get(self.at) != Some(&b'\\') {
                return Err(ESCAPE);
            }
            self.at += 1;
            let low = self.code_unit()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(ESCAPE);
            }
            code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        // Half of a pair is not a character.
        let character = char::from_u32(code).ok_or(ESCAPE)?;
        into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn code_unit(&mut self) -> Result<u32, Damage> {
        let rest = self.bytes[self.at..].first_chunk::<5>().ok_or(ENDS_EARLY)?;
        let [b'u', digits @ ..] = rest else { return Err(ESCAPE) };
        self.at += rest.len();
        let digit = |code: u32, digit: &u8| Some(code << 4 | char::from(*digit).to_digit(16)?);
        digits.iter().try_fold(0, digit).ok_or(ESCAPE)
    }
}

/// A buffer for an unescaped text: appending a few bytes at a time to a vector costs more than this copy.
struct Stage<'v> {
    bytes: [u8; STAGE],
    len: usize,
    into: &'v mut Vec<u8>,
}

const STAGE: usize = 256;

impl Stage<'_> {
    /// Appends the first of eight bytes.
    #[inline]
    fn push(&mut self, word: u64, count: usize) {
        if self.len > STAGE - 8 {
            self.flush();
        }
        self.bytes[self.len..self.len + 8].copy_from_slice(&word.to_le_bytes());
        self.len += count;
    }

    fn flush(&mut self) {
        self.into.extend_from_slice(&self.bytes[..self.len]);
        self.len = 0;
    }
}

const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// Sets the highest bit of each of eight bytes that end plain text: quotes, backslashes and control characters.
#[inline]
fn specials(word: u64) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // Set exactly for the bytes that are zero: no byte's sum carries over into the next one.
    let zeros = |word: u64| !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS);
    zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\')) | zeros(word & all(0xe0))
}

/// The index of the first byte with a bit set.
#[inline]
fn first(specials: u64) -> usize {
    (specials.trailing_zeros() / 8) as usize
}
