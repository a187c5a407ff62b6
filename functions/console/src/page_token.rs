//! Page tokens: the position where a page ends. They name no tenant: sent with another tenant's access token, one leads to
//! that position in that tenant's own data.

use audit_log_web::problem::Problem;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

/// A position is a sort key of DynamoDB, and none is longer.
const MAX_POSITION_BYTES: usize = 1024;

pub(crate) fn encode(position: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(position)
}

pub(crate) fn decode(token: &str) -> Result<String, Problem> {
    let wrong = || Problem::parameter("pageToken", "is not valid");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let position = String::from_utf8(bytes).map_err(|_| wrong())?;
    if (1..=MAX_POSITION_BYTES).contains(&position.len()) { Ok(position) } else { Err(wrong()) }
}
