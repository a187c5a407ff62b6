//! The tables of docs/api.md agree with the code.

use std::collections::BTreeSet;

use audit_log_web::problem::Code;

use super::*;
use crate::openapi;

/// The cells of each row of the first table after a heading.
fn rows(heading: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let page = include_str!("../../../../docs/api.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

fn code_spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_documented_requests_are_those_that_need_a_token() {
    let documented: BTreeSet<_> = rows("Requests")
        .map(|row| {
            let (method, path) = code_spans(row[0]).next().unwrap().split_once(' ').unwrap();
            (method.to_owned(), format!("/v1{path}"), row[1])
        })
        .collect();
    let ours = refusals::operations().into_iter();
    let ours = ours.map(|(method, path, read)| (method, path, if read { "read" } else { "admin" }));
    let recorder: Value = serde_json::from_str(include_str!("../../../recorder/openapi.json")).unwrap();
    let mut expected: BTreeSet<_> = ours.collect();
    for (path, item) in recorder["paths"].as_object().unwrap() {
        let needing_a_token = item.as_object().unwrap().iter().filter(|(_, it)| it["security"] != json!([{}]));
        expected.extend(needing_a_token.map(|(method, _)| (method.to_uppercase(), path.clone(), "write")));
    }
    assert_eq!(documented, expected);
}

#[test]
fn the_documented_problem_codes_are_all_there_are_with_their_status() {
    let is_code = |span: &&str| span.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let documented: BTreeSet<_> = rows("Refusals")
        .flat_map(|row| code_spans(row[1]).filter(is_code).map(move |code| (row[0].parse::<u16>().unwrap(), code)))
        .collect();
    let expected: BTreeSet<_> = Code::ALL.iter().map(|code| (code.status().as_u16(), code.as_str())).collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_documented_settings_are_all_fields_and_name_the_required_ones() {
    let documented: BTreeSet<_> = rows("Saving settings")
        .flat_map(|row| code_spans(row[0]).map(move |field| (field.to_owned(), row[1] == "required")))
        .collect();
    let document: Value = serde_json::from_str(&openapi::document()).unwrap();
    let schema = &document["components"]["schemas"]["SettingsDraft"];
    let required = |field: &String| schema["required"].as_array().unwrap().contains(&json!(field));
    let fields = schema["properties"].as_object().unwrap().keys().cloned();
    assert_eq!(documented, fields.map(|field| (field.clone(), required(&field))).collect());
}
