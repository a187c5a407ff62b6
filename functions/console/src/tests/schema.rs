//! The OpenAPI document.

use super::*;
use crate::openapi;

/// `UPDATE_GOLDEN=1 cargo test --workspace --locked --lib tests::schema` updates the golden file.
#[test]
#[allow(clippy::disallowed_methods, reason = "a variable tells the test to update its golden file")]
fn the_document_is_the_reviewed_one() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let document = openapi::document() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &document).unwrap();
    }
    let reviewed = std::fs::read_to_string(golden).unwrap();
    assert!(document == reviewed, "the API has changed: see the comment on this test");
}

#[tokio::test]
async fn every_described_operation_exists_and_the_document_is_served() {
    let world = World::with("acme").await;
    for (method, path, _) in refusals::operations() {
        let answer = world.send(&world.token("acme", ADMIN), &method, &path, &[("if-match", "*")], None).await;
        let is_none_yet = path == "/v1/replays/current" && answer.text.contains("No replay was requested yet");
        assert!(is_none_yet || ![404, 405].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.text);
    }
    let served = world.send("", "GET", "/openapi.json", &[], None).await;
    assert_eq!(
        (served.text, served.headers["content-type"].to_str().unwrap()),
        (openapi::document(), "application/json")
    );
}
