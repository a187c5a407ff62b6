//! Tests that the published documents agree with the code.

use std::{env, fs, path::Path};

use super::*;
use crate::openapi;

/// After a wanted change, write the file with
/// `UPDATE_GOLDEN=1 cargo test --workspace --locked the_openapi_document`.
#[test]
#[allow(clippy::disallowed_methods, reason = "a variable says whether to write the file")]
fn the_openapi_document_is_the_one_beside_the_sources() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = format!("{:#}\n", openapi::document());
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &document).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == document, "functions/recorder/openapi.json is out of date; see this test's comment");
}

#[test]
fn every_reference_of_the_openapi_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let (document, mut found) = (openapi::document(), Vec::new());
    references(&document, &mut found);
    assert!(found.contains(&"#/components/schemas/AuditEvent"), "{found:?}");
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_examples_and_those_of_the_docs_are_accepted() {
    let page = include_str!("../../../../docs/recording-events.md");
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let ours =
        [include_str!("../../../schema/examples/request.json"), include_str!("../../../schema/examples/message.json")];
    let bench = Bench::new();
    let mut kinds = [0; 2];
    for example in blocks.chain(ours) {
        let Ok(example) = serde_json::from_str::<Value>(example) else { continue };
        if example["events"].is_array() {
            kinds[0] += 1;
            let (status, answer) = bench.post("acme", &example).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        } else if example["tenantId"].is_string() && example["event"].is_object() {
            kinds[1] += 1;
            let event = example["event"].to_string();
            assert_eq!(bench.store.validator().check(&event).map_err(|refused| refused.to_string()).err(), None);
        }
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}
