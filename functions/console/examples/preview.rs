//! Serves the pages over made-up data in memory: `cargo run --workspace --locked --example preview` prints a sign-in link per tenant.
#![allow(clippy::disallowed_methods, reason = "this is a main function")]

use std::net::Ipv4Addr;

use anyhow::Context as _;
use audit_log_console::{
    app::{App, Deployment},
    embedding::Embedding,
    router,
};
use audit_log_core::{
    event::{Body, StoredEvent, User},
    failure::{Code, Failure},
    fakes::Fakes,
    late_arrivals::TrailingCounts,
    manifest::{ManifestKey, UsedKey},
    new_event::Stamp,
    records::{
        Location, ManifestState, Place, Progress, Receipt, Refusal, Replay, StoredManifest, StoredObject,
        StoredWatermark,
    },
    schedule::{Schedule, Window, full_hour},
    settings::Draft,
    system_events,
    tenant::{AccountId, Compression, Format, Partition, Platform, Region, Schema, TenantId},
    timestamp,
    verification::{Step, StepName, StepStatus},
};
use audit_log_web::issuer::TestIssuer;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (fakes, now) = (Fakes::default(), Utc::now());
    add_keys(&fakes, now)?;
    for tenant in ["acme", "globex", "umbrella"] {
        add_exports(&fakes, tenant, now)?;
    }
    add_failure(&fakes, "globex", now)?;
    add_unsigned_windows(&fakes, "umbrella", now)?;
    add_replay(&fakes, "acme", now)?;
    plan_verification(&fakes);
    let issuer = TestIssuer::es256(now);
    let invalid = |error: audit_log_core::tenant::Invalid| anyhow::anyhow!(error.0);
    let deployment = Deployment {
        platform: Platform { account: AccountId::parse("111111111111").map_err(invalid)?, partition: Partition::Aws },
        region: Region::parse("eu-west-1").map_err(invalid)?,
        exporter_role: "audit-log-exporter".to_owned(),
        template_url: Some("https://templates.s3.amazonaws.com/audit-log-export-role/v1.0.0.yaml".to_owned()),
        settle: TimeDelta::minutes(1),
        retention: Some(TimeDelta::days(90)),
        searches_per_minute: 100_000,
        sign_in_origins: Vec::new(),
        embedding: Embedding::from_lookup(|name| std::env::var(name).ok())?,
    };
    let random = |bytes: &mut [u8]| getrandom::fill(bytes).is_ok();
    let app = App::new(fakes, deployment, Some(issuer.token_verifier()), Utc::now, random);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    for (tenant, state) in [
        ("acme", "exports work"),
        ("globex", "exports fail"),
        ("umbrella", "manifests can't be signed"),
        ("initech", "not connected yet"),
    ] {
        let token = issuer.token_for(tenant, &["audit-logs:admin"]);
        println!("{tenant} ({state}):\nhttp://{address}/#token={token}\n");
    }
    axum::serve(listener, router(app)).await.context("serving")
}

/// Adds two keys that sign manifests, an earlier one and the one in use. Nobody has their private parts.
fn add_keys(fakes: &Fakes, now: DateTime<Utc>) -> anyhow::Result<()> {
    let keys = [
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEA+lc6HwVfUuv9vAUN54AQ8uypfybNNk5+nfyQzVDOVlTkYX/NQZ9yt4UEUDBBqBMiH1j7Ikhx0tFOGG6Zay5VQ==",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQtRSomSf1bCKOYFUmRTyP6JEhiHM/tvSQCfkAtMLJjxzKBnb7iScpCNOrmDbYtR9uNazXnNbuh5IogbiJum34A==",
    ];
    for (days_ago, key) in [(26, keys[0]), (9, keys[1])] {
        let key = ManifestKey::from_base64("111111111111.eu-west-1.audit-log-export", key).context("a key")?;
        let mut state = fakes.state();
        state.manifest_keys = UsedKey::after_use(&state.manifest_keys, &key, now - TimeDelta::days(days_ago));
    }
    Ok(())
}

/// Adds a tenant with settings, hourly receipts of 26 days, and events.
fn add_exports(fakes: &Fakes, tenant: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
    let id = TenantId::parse(tenant).map_err(|invalid| anyhow::anyhow!(invalid.0))?;
    let hour = full_hour(now);
    let text = |text: String| Some(text);
    {
        let mut state = fakes.state();
        let stored = state.tenants.entry(tenant.to_owned()).or_default();
        stored.config = Some(Draft {
            external_id: text("4b1f0c7a9d3e5528c6f1a07be2d94c83716f0ad5".to_owned()),
            role_arn: text("arn:aws:iam::222222222222:role/audit-log-export".to_owned()),
            bucket: text(format!("{tenant}-audit-logs")),
            region: text("eu-west-1".to_owned()),
            prefix: text("security".to_owned()),
            frequency_hours: text("1".to_owned()),
            version: text("3".to_owned()),
            ..Draft::default()
        });
        let schedule = Schedule { exported_until: hour, next_due: hour + TimeDelta::hours(1) };
        let head = Some(manifest_sha256(0));
        stored.watermark = Some(StoredWatermark { manifest_sha256: head, ..StoredWatermark::connected(&id, schedule) });
        stored.last_success_at = Some(hour + TimeDelta::seconds(64));
        for back in 0..26 * 24_u32 {
            let to = hour - TimeDelta::hours(back.into());
            let window = Window { from: to - TimeDelta::hours(1), to };
            let events = u64::from((back * 37 + back * back / 3) % 90 + if back / 24 % 7 < 2 { 4 } else { 60 });
            let day = window.from.format("%Y-%m-%d");
            let object = StoredObject {
                key: format!("security/audit-logs/tenant={tenant}/dt={day}/{window}_0001.json"),
                bytes: events * 316 + 4,
                events,
                sha256: format!("{:016x}", u64::from(back + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4),
                late: None,
                last_event: None,
            };
            let receipt = Receipt {
                window,
                location: Location {
                    bucket: format!("{tenant}-audit-logs"),
                    folder: format!("security/audit-logs/tenant={tenant}/"),
                },
                format: Format::default(),
                compression: Compression::default(),
                schema: Schema::default(),
                objects: vec![object],
                trailing_counts: TrailingCounts::new(window),
                late: 0,
                malformed: u64::from(back == 3),
                gap: false,
                exported_at: to + TimeDelta::seconds(63),
                duration: TimeDelta::milliseconds(420),
                // Manifests were not on in the first two days.
                manifest: (back < 24 * 24).then(|| StoredManifest {
                    key: format!(
                        "security/audit-logs/tenant={tenant}/_audit-log-export/manifests/{day}/{window}.manifest"
                    ),
                    sha256: manifest_sha256(back),
                    state: ManifestState::Signed,
                    previous: None,
                    amended: None,
                }),
                signing_failure: None,
            };
            stored.receipts.insert(to, receipt);
        }
    }
    let people =
        [("u-17", "Ada Lovelace", "ada"), ("u-23", "Grace Hopper", "grace"), ("u-31", "Linus Pauling", "linus")];
    let actions = [
        ("Authentication", "Login", json!({ "ip": "203.0.113.7", "mfa": true, "client": "Firefox 145 on Linux" })),
        ("User Management", "Role Granted", json!({ "role": "editor", "to": "grace@acme.example" })),
        ("Scan", "Scan Now", json!({ "target": "production", "rules": 214, "findings": { "high": 0, "low": 3 } })),
        (
            "Configuration",
            "Alert Rule Changed",
            json!({ "rule": "Failed logins", "threshold": { "from": 10, "to": 5 } }),
        ),
        ("API", "Token Created", json!({ "token": "ci-deploy", "expires": "2027-01-31" })),
        ("Reports", "Report Downloaded", json!({ "report": "Quarterly access review", "format": "pdf", "pages": 48 })),
        ("Authentication", "Logout", json!({})),
        ("Authentication", "Login Failed", json!({ "ip": "198.51.100.23", "reason": "wrong password", "attempt": 3 })),
    ];
    for at in 0..400_usize {
        let (user_id, name, address) = people[(at * 7 / 3) % people.len()];
        let (log_type, action, info) = &actions[(at * 5 + at / 7) % actions.len()];
        let when = now - TimeDelta::seconds(i64::try_from(at * at)? * 3 + i64::try_from(at)? * 170 + 40);
        let date = timestamp::millis(when);
        let event = json!({
            "id": format!("01K{at:05}"), "date": date, "logType": log_type, "action": action,
            "user": { "id": user_id, "name": name, "email": format!("{address}@{tenant}.example") }, "additionalInfo": info,
        });
        put(fakes, &id, when, &format!("01K{at:05}"), event.to_string());
    }
    for (days, hours) in [(19, 5), (6, 30)] {
        let failed_at = now - TimeDelta::days(days);
        let failure = Failure::new(Code::AccessDenied, "S3 refused the write to the bucket.");
        let until = timestamp::seconds(full_hour(failed_at));
        let stamp = |at| Stamp { at, retention: None };
        let failing = system_events::FailingExport {
            tenant: &id,
            exported_until: &until,
            since: failed_at,
            days: 0,
            failures: 1,
            failure: &failure,
        };
        let failed = failing.announce(stamp(failed_at)).event;
        let recovered_at = failed_at + TimeDelta::hours(hours);
        let window = Window { from: full_hour(recovered_at) - TimeDelta::hours(1), to: full_hour(recovered_at) };
        let recovered = system_events::export_recovered(&id, stamp(recovered_at), window, false, Some(failed_at)).event;
        put(fakes, &id, failed_at, &failed.id, failed.document.clone());
        put(fakes, &id, recovered_at, &recovered.id, recovered.document.clone());
    }
    let stamp = Stamp { at: now - TimeDelta::minutes(3), retention: None };
    let by = User { id: "u-17".to_owned(), name: Some("Ada Lovelace".to_owned()), email: None };
    let change =
        system_events::AdminChange { by, client: system_events::Client::default(), stamp, id: "01KZ".to_owned() }
            .checked(&id, true, &json!([]));
    put(fakes, &id, stamp.at, "01KZ", change.document);
    Ok(())
}

/// The checksum of the manifest of a window, counted back from the last one.
fn manifest_sha256(back: u32) -> String {
    format!("{:016x}", u64::from(back + 1).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)).repeat(4)
}

fn put(fakes: &Fakes, tenant: &TenantId, at: DateTime<Utc>, id: &str, document: String) {
    let recorded_at_id = format!("{}#{id}", timestamp::millis(at));
    fakes.put_event(tenant, 0, StoredEvent { recorded_at_id, body: Body::Text(document) });
}

/// Makes the tenant's exports fail for seven hours.
fn add_failure(fakes: &Fakes, tenant: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut state = fakes.state();
    let stored = state.tenants.get_mut(tenant).context("the tenant is there")?;
    let message = "AWS refused the role arn:aws:iam::222222222222:role/audit-log-export: it is gone, does not trust the platform, or asks for another external ID.";
    stored.last_error = Some((Failure::new(Code::AssumeRoleDenied, message), full_hour(now) + TimeDelta::seconds(62)));
    stored.consecutive_failures = 7;
    stored.failing_since = Some(full_hour(now) - TimeDelta::hours(6) + TimeDelta::seconds(63));
    let until = full_hour(now) - TimeDelta::hours(7);
    stored.last_success_at = Some(until + TimeDelta::seconds(64));
    stored.receipts.retain(|to, _| *to <= until);
    let watermark = stored.watermark.as_mut().context("the tenant is scheduled")?;
    watermark.exported_until = Some(timestamp::seconds(until));
    watermark.next_due = Some(timestamp::seconds(until + TimeDelta::hours(1)));
    Ok(())
}

/// Makes the tenant's last three windows unsigned, after six hours without any.
fn add_unsigned_windows(fakes: &Fakes, tenant: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
    let (mut state, hour) = (fakes.state(), full_hour(now));
    let stored = state.tenants.get_mut(tenant).context("the tenant is there")?;
    for receipt in stored.receipts.values_mut().rev().take(3) {
        receipt.manifest.as_mut().context("a manifest")?.state = ManifestState::Unsigned;
        receipt.exported_at = hour + TimeDelta::seconds(64);
    }
    Ok(())
}

/// Adds a replay of five days that goes on.
fn add_replay(fakes: &Fakes, tenant: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut state = fakes.state();
    let stored = state.tenants.get_mut(tenant).context("the tenant is there")?;
    let receipts: Vec<_> = stored.receipts.values().rev().take(5 * 24).rev().cloned().collect();
    let (first, last) = receipts.first().zip(receipts.last()).context("the tenant has exported")?;
    let mut planned = Progress::default();
    receipts.iter().for_each(|receipt| planned.add(receipt.events(), receipt.bytes()));
    let range = Window { from: first.window.from, to: last.window.to };
    let by = User { id: "u-17".to_owned(), name: Some("Ada Lovelace".to_owned()), email: None };
    let at = now - TimeDelta::minutes(4);
    let place = stored.config.as_ref().and_then(|config| Place::of(&TenantId::parse(tenant).ok()?, config));
    let place = place.context("settings that lead nowhere")?;
    let begun = Replay::new("01KY".to_owned(), range, place, planned, by, at, None);
    let refused = begun.after_refusal(first.window, Refusal::EventsExpired, now);
    let delivered = receipts.iter().skip(1).take(40);
    stored.replay = Some(delivered.fold(refused, |replay, receipt| replay.after_window(receipt, false, now)));
    Ok(())
}

/// Makes verifications find a role with too many rights.
fn plan_verification(fakes: &Fakes) {
    let step = |step, status, message: &str, code: Option<Code>| Step {
        step,
        status,
        code,
        message: message.to_owned(),
        hint: code.map(|code| format!("How to fix it: {}", code.hint())),
        party: None,
    };
    let steps = [
        step(StepName::AssumeRole, StepStatus::Passed, "The platform can assume the role with the external ID.", None),
        step(
            StepName::ExternalIdEnforced,
            StepStatus::Passed,
            "AWS refuses the role with wrong external IDs and without any.",
            None,
        ),
        step(StepName::Region, StepStatus::Passed, "The bucket acme-audit-logs is in eu-west-1.", None),
        step(StepName::PutObject, StepStatus::Passed, "A delivery can be stored.", None),
        step(
            StepName::LeastPrivilege,
            StepStatus::Warning,
            "The role may also read what was delivered (s3:GetObject).",
            Some(Code::ExcessRights),
        ),
    ];
    fakes.state().findings.extend(steps.map(|step| (step.step, step)));
}
