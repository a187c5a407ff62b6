//! Native events for tests: those that platforms record, and any that a table could hold.

use proptest::{collection::vec, prelude::*, sample::select};

/// The members of a user that are texts, and what `additionalInfo` can have.
const TEXTS: [&str; 12] = [
    r#""usr_01""#,
    r#""""#,
    r#""Zoë \"Z\" Müller""#,
    r#""山田 花子""#,
    r#""\u00e9\ud83e\udd80\/""#,
    r#""\ud83d""#,
    r#""priya.raman@acme.example""#,
    r#""o'connor+logs@mail.acme.example""#,
    r#""no address""#,
    r#""a@b""#,
    r#""203.0.113.7""#,
    r#""2001:db8::7""#,
];

const ADDRESSES: [&str; 10] = [
    r#""203.0.113.7""#,
    r#""203.0.113.256""#,
    r#""010.1.1.1""#,
    r#""::""#,
    r#""::ffff:192.0.2.7""#,
    r#""1:2:3:4:5:6:7::""#,
    r#""1::3:4:5:6:7:8""#,
    r#""fe80::1%eth0""#,
    r#""ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255""#,
    r#""2001:0db8:0000:0000:0000:0000:0000:0007""#,
];

const DATES: [&str; 10] = [
    r#""2026-11-21T10:03:12.345Z""#,
    r#""2026-11-21T10:03:12.345678Z""#,
    r#""2026-11-21T12:03:12+02:00""#,
    r#""1969-12-31T23:59:59.001Z""#,
    r#""2016-12-31T23:59:60Z""#,
    r#""9999-12-31T23:59:59.999Z""#,
    r#""2026-11-21T10:03:12.345\u005a""#,
    r#""2026-11-21""#,
    r#""yesterday""#,
    "1763719392345",
];

const SCALARS: [&str; 9] =
    ["0", "-0", "1.50e+2", "123456789012345678901234567890", "1e400", "-1.0", "true", "false", "null"];

/// Any JSON, as it can be written.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![select(SCALARS.as_slice()), select(TEXTS.as_slice()), select(ADDRESSES.as_slice())];
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" , "))),
            members(vec((select(NAMES.as_slice()).prop_map(str::to_owned), inner), 0..4)),
        ]
    })
}

/// Names that the mapping looks for, and others.
const NAMES: [&str; 18] = [
    "ip",
    "clientIp",
    "client",
    "ipAddress",
    "scanId",
    "alertId",
    "key",
    "keyId",
    "email",
    "member",
    "memberId",
    "sessionId",
    "from",
    "to",
    "ä",
    "\\u00e4b",
    "\\ud83d",
    "raw",
];

/// Writes members as an object. Of two with the same name, only the first is kept.
fn members(members: impl Strategy<Value = Vec<(String, String)>>) -> impl Strategy<Value = String> {
    members.prop_map(|mut members| {
        let mut seen = std::collections::HashSet::new();
        members.retain(|(name, _)| seen.insert(name.clone()));
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
        format!("{{{}}}", members.join(", "))
    })
}

fn texts(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

fn user() -> impl Strategy<Value = String> {
    let known = select(["id", "name", "email"].as_slice()).prop_map(str::to_owned);
    let other = select(["role", "type", "\\u0069d2"].as_slice()).prop_map(str::to_owned);
    prop_oneof![
        5 => Just(r#"{"id":"usr_01","name":"Priya Raman","email":"priya.raman@acme.example"}"#.to_owned()),
        4 => members(vec((known.clone(), texts(&TEXTS)), 0..5)),
        2 => members(vec((prop_oneof![known, other], json()), 0..5)),
        1 => json(),
    ]
}

fn info() -> impl Strategy<Value = String> {
    let address = select(["ip", "sourceIp", "remoteAddress"].as_slice()).prop_map(str::to_owned);
    let named = select(NAMES.as_slice()).prop_map(str::to_owned);
    let client = texts(&ADDRESSES).prop_map(|address| format!(r#"{{"ipAddress":{address}}}"#));
    prop_oneof![
        4 => members(vec((address, texts(&ADDRESSES)), 0..3)),
        2 => client.prop_map(|client| format!(r#"{{"client":{client}}}"#)),
        4 => members(vec((named, prop_oneof![texts(&TEXTS), json()]), 0..6)),
        1 => json(),
    ]
}

/// A line of a native export with one of these log types and actions, or with others, or with none.
pub(crate) fn event(kinds: Vec<(String, String)>) -> impl Strategy<Value = String> {
    let quoted = |text: &String| serde_json::to_string(text).unwrap_or_default();
    let kind = select(kinds).prop_map(move |(log_type, action)| (quoted(&log_type), quoted(&action)));
    let kind = prop_oneof![8 => kind, 1 => (json(), json())];
    let id = prop_oneof![8 => texts(&[r#""01a1fd8f-5859-7fff-bfff-ffffffffffff""#]), 1 => json()];
    let date = prop_oneof![8 => texts(&DATES), 1 => json()];
    let others = vec((select(["ID2", "extra", "raw_data", "unmapped", "metadata", "ä"].as_slice()), json()), 0..2);
    // Whether each of the members is there.
    let present = any::<[u8; 6]>().prop_map(|bytes| bytes.map(|byte| byte > 6));
    let all = (kind, id, date, user(), info(), others, present, any::<u8>());
    members(all.prop_map(|((log_type, action), id, date, user, info, others, present, spelling)| {
        let id_name = if spelling == 0 { "\\u0069d" } else { "id" };
        let known = [
            (id_name, id),
            ("date", date),
            ("logType", log_type),
            ("action", action),
            ("user", user),
            ("additionalInfo", info),
        ];
        let known = known.into_iter().zip(present).filter(|(_, is_present)| *is_present).map(|(member, _)| member);
        known.chain(others).map(|(name, value)| (name.to_owned(), value)).collect()
    }))
}
