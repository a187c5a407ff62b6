//! The public keys that verify manifests, and the state of manifests.

use audit_log_core::{
    manifest::{ManifestKey, UsedKey},
    records::{ManifestState, StoredManifest},
};

use super::*;

const NAME: &str = "111111111111.eu-west-1.audit-log-export";

/// Notes three keys; the first one is the one in use again.
fn note_keys(world: &World) {
    let key = |public_key: &[u8]| ManifestKey { name: NAME.to_owned(), public_key: public_key.to_vec() };
    for (days_ago, public_key) in [(40, "first"), (30, "second"), (20, "third"), (10, "first")] {
        let mut state = world.fakes.state();
        let at = now() - TimeDelta::days(days_ago);
        state.manifest_keys = UsedKey::after_use(&state.manifest_keys, &key(public_key.as_bytes()), at);
    }
}

/// Gives each receipt of a tenant a manifest, and the platform its keys.
pub(super) fn sign(world: &World, tenant: &str) {
    note_keys(world);
    let mut state = world.fakes.state();
    let stored = state.tenants.get_mut(tenant).unwrap();
    for (to, receipt) in &mut stored.receipts {
        let (day, window) = (receipt.window.from.format("%Y-%m-%d"), receipt.window);
        let folder = format!("it's (safe)/audit-logs/tenant={tenant}/_audit-log-export/manifests/{day}");
        let sha256 = format!("{:064x}", to.timestamp());
        stored.watermark.as_mut().unwrap().manifest_sha256 = Some(sha256.clone());
        let key = format!("{folder}/{window}.manifest");
        receipt.manifest =
            Some(StoredManifest { key, sha256, state: ManifestState::Signed, previous: None, amended: None });
    }
}

#[tokio::test]
async fn everybody_reads_the_same_keys_and_nothing_of_a_tenant() {
    let world = World::with("acme").await;
    super::reading::export(&world, "acme", 2);
    let none = world.send("", "GET", "/v1/manifest-keys", &[], None).await;
    assert_eq!((none.status.as_u16(), none.json()), (200, json!({ "keys": [] })));
    sign(&world, "acme");
    let answer = world.send("", "GET", "/v1/manifest-keys", &[], None).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let keys = answer.json();
    let used: Vec<_> =
        keys["keys"].as_array().unwrap().iter().map(|it| (&it["firstUsedAt"], &it["retiredAt"])).collect();
    let at = |day: &str| json!(format!("{day}T10:03:12Z"));
    assert_eq!(
        used,
        [
            (&at("2026-10-12"), &Value::Null),
            (&at("2026-11-01"), &at("2026-11-11")),
            (&at("2026-10-22"), &at("2026-11-01")),
        ]
    );
    // printf first | sha256sum | head -c 8
    let first = json!({
        "keyId": "a7937b64", "name": NAME, "verifierKey": format!("{NAME}+a7937b64+AmZpcnN0"),
        "pem": "-----BEGIN PUBLIC KEY-----\nZmlyc3Q=\n-----END PUBLIC KEY-----\n",
        "firstUsedAt": "2026-10-12T10:03:12Z", "retiredAt": null,
    });
    assert_eq!(keys["keys"][0], first);
    assert!(!answer.text.contains("acme") && !answer.text.contains("tenant"), "{}", answer.text);
    for token in [world.token("acme", READ), world.token("globex", ADMIN), "nonsense".to_owned()] {
        for query in ["", "?tenant=acme"] {
            let path = format!("/v1/manifest-keys{query}");
            assert_eq!(world.send(&token, "GET", &path, &[("tenant", "acme")], None).await.text, answer.text);
        }
    }
    for method in ["PUT", "POST", "DELETE"] {
        let refused = world.admin("acme", method, "/v1/manifest-keys", None).await;
        assert_eq!(refused.refusal(), (405, "method_not_allowed".to_owned()), "{method}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_an_outage_without_a_reason() {
    let world = World::new();
    let failure = Failure::new(Code::PlatformDenied, "DynamoDB answered AccessDeniedException.");
    world.fakes.always(Op::ManifestKeys, None, failure);
    let refused = world.send("", "GET", "/v1/manifest-keys", &[], None).await;
    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()));
    assert!(!refused.text.contains("DynamoDB"), "{}", refused.text);
}

#[tokio::test]
async fn the_status_has_the_head_and_each_receipt_its_manifest() {
    let world = World::with("acme").await;
    super::reading::export(&world, "acme", 2);
    let read = async || {
        let exports = world.get("acme", "/v1/exports").await.json();
        (world.get("acme", "/v1/status").await.json()["manifestHead"].take(), exports["exports"][0]["manifest"].clone())
    };
    assert_eq!(read().await, (Value::Null, Value::Null));
    sign(&world, "acme");
    let (head, manifest) = read().await;
    assert_eq!((&head, &manifest["state"]), (&manifest["sha256"], &json!("signed")));
    assert!(manifest["key"].as_str().unwrap().ends_with("/20261121T090000Z_20261121T100000Z.manifest"), "{manifest}");
    let unsign = || {
        let mut state = world.fakes.state();
        let receipts = &mut state.tenants.get_mut("acme").unwrap().receipts;
        receipts.values_mut().for_each(|receipt| receipt.manifest.as_mut().unwrap().state = ManifestState::Unsigned);
    };
    unsign();
    assert_eq!(read().await.1["state"], "unsigned");
}
