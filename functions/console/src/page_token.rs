//! Where a page ends, as a text that a client sends back. It holds a position and nothing that names a tenant: sent with
//! another tenant's token it leads to that position in the other tenant's own data.

use audit_log_web::problem::Problem;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

/// A position is a key of DynamoDB, and no such key is longer, in bytes.
const LONGEST: usize = 1024;

pub(crate) fn encode(position: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(position)
}

/// The position in the parameter `pageToken`.
pub(crate) fn decode(token: &str) -> Result<String, Problem> {
    let wrong = || Problem::parameter("pageToken", "is not one that this API gave out");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let position = String::from_utf8(bytes).map_err(|_| wrong())?;
    if (1..=LONGEST).contains(&position.len()) { Ok(position) } else { Err(wrong()) }
}
