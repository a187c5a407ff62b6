//! Makes mutations of a corpus from seeds.

use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

/// Texts with a special meaning for a parser or a target.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "\\\\\"",
    "\\u0000",
    "\\ud83e",
    "\\udd80",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "/",
    "//",
    "..",
    "*",
    "?",
    "$",
    "#",
    "=",
    "+",
    "-",
    "%",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\u{0}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "ü",
    "🦀",
    "null",
    "true",
    "0",
    "-0",
    "1e999",
    "18446744073709551616",
    "{}",
    "[]",
    "\"\"",
    "{\"S\":\"\"}",
    "{\"N\":\"1\"}",
    "arn:aws:iam::111111111111:role/x",
    "arn:aws-cn:",
    "111111111111",
    "222222222222",
    "alias/",
    "acme",
    "globex",
    "aws:sqs",
    "Records",
    "verify",
    "tenant_id",
    "System",
    "Bearer ",
    "none",
    "HS256",
    "\"exp\":9999999999",
];

/// Mutates one of the files, or mixes two.
pub(crate) fn mutate(files: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut input = files.choose(&mut dice).cloned().unwrap_or_default();
    for _ in 0..dice.random_range(1..=3) {
        mutate_once(&mut input, files, &mut dice);
    }
    input
}

fn mutate_once(input: &mut Vec<u8>, files: &[Vec<u8>], dice: &mut ChaCha8Rng) {
    let from = dice.random_range(0..=input.len());
    let to = (from + dice.random_range(0..=12)).min(input.len());
    match dice.random_range(0..8) {
        // Removes or doubles a range.
        0 => drop(input.drain(from..to)),
        1 => {
            let range = input[from..to].to_vec();
            input.splice(from..from, range);
        }
        2 => input.truncate(from),
        // Changes one byte.
        3 => {
            if let Some(byte) = input.get_mut(from) {
                *byte = dice.random();
            }
        }
        4 => {
            if let Some(byte) = input.get_mut(from) {
                *byte ^= 1 << dice.random_range(0..8);
            }
        }
        // Continues as another file.
        5 => {
            let other = files.choose(dice).map(Vec::as_slice).unwrap_or_default();
            let at = dice.random_range(0..=other.len());
            input.truncate(from);
            input.extend_from_slice(&other[at..]);
        }
        // Inserts a piece, or replaces something with it.
        kind => {
            let piece = PIECES.choose(dice).copied().unwrap_or_default();
            input.splice(from..if kind == 6 { from } else { to }, piece.bytes());
        }
    }
}
