//! KMS: the operations that sign manifests, over AWS JSON 1.1.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Reply, reply, unknown};
use crate::world::World;

pub(crate) const KEY_ARN: &str = "arn:aws:kms:eu-central-1:111111111111:key/3f6c1d2e-8a55-4f0e-9a7e-0d3c5b1a9e42";
pub(crate) const KEY_NAME: &str = "111111111111.eu-central-1.bench";

/// A public key of P-256 in DER, in base64.
const PUBLIC_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDwtxdcf4dowrkaQ2y/638kxD3D8b1vqrjgHOVvilq0BqKxDFMo+x3fw9WFmp4KZRdvoktV7ITOaQQ2lxXWwVfA==";

/// As long as a signature with P-256 in DER, in base64. The exporter can't check signatures, so all are the same.
const SIGNATURE: &str =
    "MEUCIQDCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwgIgQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

pub(super) fn answer(world: &World, operation: &str, body: &[u8]) -> Reply {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let answer = match operation {
        "GetPublicKey" if request["KeyId"] == KEY_ARN => {
            world.count("GetPublicKey");
            json!({ "KeyId": KEY_ARN, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "PublicKey": PUBLIC_KEY })
        }
        "Sign" if request["KeyId"] == KEY_ARN && request["MessageType"] == "DIGEST" => {
            world.count("Sign");
            json!({ "KeyId": KEY_ARN, "Signature": SIGNATURE, "SigningAlgorithm": request["SigningAlgorithm"] })
        }
        _ => return unknown(world, format!("{operation} {request}")),
    };
    reply(StatusCode::OK, "application/x-amz-json-1.1", answer.to_string())
}
