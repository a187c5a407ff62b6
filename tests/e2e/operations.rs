//! Runs the commands of docs/operations.md as they are on the page. The last test fails if a command isn't run.

#![allow(clippy::disallowed_methods, reason = "leases and ticks by hand are as of now")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_aws::sdk::lambda;
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{
    Fixture, Item, Listener, LocalAws, PLATFORM_ACCOUNT, Platform, REGION, Table, connect, deploy_platform, is_data,
    onboard, project, run_on_platform, tools,
};
use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

const LEASES: [&str; 2] = ["show-lease", "release-lease"];
const PAUSES: [&str; 2] = ["pause-tenant", "resume-tenant"];
const REPLAYS: [&str; 5] = ["preview-replay", "request-replay", "list-replays", "show-replay", "stop-replay"];
const OUTBOXES: [&str; 4] = ["list-pending", "show-outbox", "publish-outbox", "drop-unreadable-notification"];
const FINAL_DELIVERIES: [&str; 3] =
    ["list-final-deliveries", "show-final-deliveries", "drop-unreadable-final-delivery"];
const RESTORES: [&str; 7] =
    ["stop-exporter", "restore-table", "restore-record", "forget-run", "raise-sequence", "start-exporter", "tick"];
const MANIFEST_KEYS: [&str; 4] =
    ["show-manifest-key", "show-manifest-fingerprint", "make-manifest-key", "disable-manifest-key"];

/// The page's commands: the first block sets variables, the others have names.
struct Page {
    first: String,
    commands: BTreeMap<String, String>,
}

impl Page {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(project::repository().join("docs/operations.md"))?;
        let (mut first, mut commands) = (Vec::new(), BTreeMap::new());
        let (mut name, mut lines) = (None, text.lines());
        while let Some(line) = lines.next() {
            if line == "```sh" {
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                match name.take() {
                    Some(name) => {
                        ensure!(commands.insert(name, block.join("\n")).is_none(), "two commands have one name: {line}")
                    }
                    None => first.push(block.join("\n")),
                }
            } else {
                ensure!(name.is_none(), "no command follows {name:?}");
                let named = line.strip_prefix("<!-- command: ").and_then(|line| line.strip_suffix(" -->"));
                name = named.map(str::to_owned);
            }
        }
        let [first] = &first[..] else { bail!("expected one block without a name: {first:#?}") };
        Ok(Self { first: first.clone(), commands })
    }
}

/// Runs the page's commands for a tenant.
struct Operator<'a> {
    fixture: &'a Fixture,
    page: Page,
    tenant: &'a str,
    executed: RefCell<BTreeSet<String>>,
}

impl<'a> Operator<'a> {
    async fn new(fixture: &'a Fixture, tenant: &'a str) -> Result<Self> {
        let operator = Self { fixture, page: Page::read()?, tenant, executed: RefCell::default() };
        let print = r#"printf '%s\n' "$TENANTS_TABLE" "$EXPORTER_FUNCTION" "$MANIFEST_KEY" "$TENANT""#;
        let printed = operator.bash(&format!("{}\n{print}", operator.page.first), &[]).await?;
        let outputs = fixture.platform.outputs();
        let key = outputs.manifest_key_arn.as_deref().context("no key")?;
        let expected = [&outputs.tenants_table_name, &outputs.exporter_function_name, key, "acme"];
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
        Ok(operator)
    }

    /// Runs a command with additional variables.
    async fn run(&self, name: &str, variables: &[(&str, &str)]) -> Result<String> {
        let command = self.page.commands.get(name).with_context(|| format!("the page has no command {name}"))?;
        self.executed.borrow_mut().insert(name.to_owned());
        let outputs = self.fixture.platform.outputs();
        let all = [
            ("TENANTS_TABLE", outputs.tenants_table_name.as_str()),
            ("EXPORTER_FUNCTION", &outputs.exporter_function_name),
            ("MANIFEST_KEY", outputs.manifest_key_arn.as_deref().unwrap_or_default()),
            ("TENANT", self.tenant),
        ];
        self.bash(command, &[&all[..], variables].concat()).await.with_context(|| name.to_owned())
    }

    /// Runs a command whose condition must fail.
    async fn fails_condition(&self, name: &str, variables: &[(&str, &str)]) -> Result<()> {
        let refusal = self.run(name, variables).await.err().with_context(|| format!("{name} was not refused"))?;
        ensure!(format!("{refusal:#}").contains("ConditionalCheckFailedException"), "{refusal:#}");
        Ok(())
    }

    async fn bash(&self, commands: &str, variables: &[(&str, &str)]) -> Result<String> {
        let aws = self.fixture.aws;
        let mut bash = tools::bash(aws, PLATFORM_ACCOUNT, commands)?;
        tools::run(bash.envs(variables.iter().copied()).current_dir(aws.directory())).await
    }

    async fn attribute(&self, record: &str, name: &str) -> Result<Option<AttributeValue>> {
        Ok(self.fixture.platform.record(self.tenant, record).await?.remove(name))
    }

    /// Changes a record directly in the table.
    async fn change_record(&self, record: &str, change: impl FnOnce(&mut Item)) -> Result<()> {
        let mut item = self.fixture.platform.record(self.tenant, record).await?;
        change(&mut item);
        self.fixture.platform.put_item(Table::Tenants, item).await
    }

    /// Leases the tenant for an hour and returns the lease's end.
    async fn put_lease(&self) -> Result<String> {
        let until = (Utc::now() + TimeDelta::hours(1)).timestamp_millis().to_string();
        let number = AttributeValue::N(until.clone());
        let lease = [("lease".to_owned(), s(TOKEN)), ("lease_until".to_owned(), number)];
        self.change_record("watermark", |watermark| watermark.extend(lease)).await?;
        Ok(until)
    }

    fn finish(self, expected: &[&str]) {
        let expected = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(self.executed.into_inner(), expected, "the commands of this test");
    }
}

/// Of a lease that no run has.
const TOKEN: &str = "00112233445566778899aabbccddeeff";

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn at(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

async fn tick(fixture: &Fixture, hour: &str) -> Result<Value> {
    fixture.platform.tick(at(hour)? + TimeDelta::minutes(1)).await
}

/// Records events in the hour before `to`.
async fn record(fixture: &Fixture, tenant: &str, to: DateTime<Utc>) -> Result<Vec<Event>> {
    let events = generate(tenant, 20, Spread::Window { from: to - TimeDelta::hours(1), to });
    fixture.platform.put_events(tenant, &events).await?;
    Ok(events)
}

fn as_json(events: &[Event]) -> String {
    let lines: Vec<&str> = events.iter().map(|event| event.document.as_str()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn parsed(printed: &str) -> Result<Value> {
    serde_json::from_str(printed).with_context(|| format!("not JSON: {printed}"))
}

/// The function's answer: the last line, after the CLI's output about the invocation.
fn answer(printed: &str) -> Result<Value> {
    let (_, answer) = printed.rsplit_once("}\n").with_context(|| format!("no answer: {printed}"))?;
    parsed(answer)
}

#[test]
fn a_lease_is_shown_and_is_released_only_by_its_token() -> Result<()> {
    run_on_platform(async |fixture| {
        let operator = Operator::new(fixture, "leased").await?;
        onboard(fixture.aws, &fixture.platform, "leased", "200000000101", Draft::default(), at("10:00")?).await?;
        let shown = parsed(&operator.run("show-lease", &[]).await?)?;
        let free = json!({
            "lease": null, "lease_until": null, "exported_until": "2026-11-20T10:00:00Z",
            "next_due": "2026-11-20T11:00:00Z", "due_shard": shown["due_shard"],
        });
        assert_eq!(shown, free);
        assert_eq!(shown["due_shard"].as_str().map(str::len), Some(1), "{shown}");

        let until = operator.put_lease().await?;
        let shown = parsed(&operator.run("show-lease", &[]).await?)?;
        assert_eq!((&shown["lease"], &shown["lease_until"]), (&json!(TOKEN), &json!(until)));
        let deferred = tick(fixture, "11:00").await?;
        assert_eq!((&deferred["deferred"], &deferred["leased"]), (&json!(1), &json!(1)), "{deferred}");

        operator.fails_condition("release-lease", &[("LEASE", "ffeeddccbbaa99887766554433221100")]).await?;
        assert_eq!(operator.attribute("watermark", "lease").await?, Some(s(TOKEN)));
        operator.run("release-lease", &[("LEASE", TOKEN)]).await?;
        assert_eq!(parsed(&operator.run("show-lease", &[]).await?)?, free);
        assert_eq!(tick(fixture, "11:00").await?["exported"], 1);
        operator.finish(&LEASES);
        Ok(())
    })
}

#[test]
fn a_paused_tenant_is_not_exported_and_loses_nothing() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let operator = Operator::new(fixture, "paused").await?;
        let paused = onboard(aws, platform, "paused", "200000000102", Draft::default(), at("10:00")?).await?;
        let mut expected = vec![as_json(&record(fixture, "paused", at("11:00")?).await?)];
        assert_eq!(tick(fixture, "11:00").await?["exported"], 1);

        operator.run("pause-tenant", &[]).await?;
        for hour in ["12:00", "13:00"] {
            expected.push(as_json(&record(fixture, "paused", at(hour)?).await?));
            assert_eq!(tick(fixture, hour).await?["due"], 0);
        }
        let status = platform.api().admin("paused", "GET", "/v1/status", None).await?.ok()?;
        assert_eq!(status["state"], "disconnected", "{status}");
        operator.fails_condition("pause-tenant", &[]).await?;

        operator.run("resume-tenant", &[]).await?;
        let report = tick(fixture, "13:00").await?;
        assert_eq!((&report["exported"], &report["objects"]), (&json!(1), &json!(2)), "{report}");
        let texts: Vec<String> = paused.exports().await?.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected);
        operator.finish(&PAUSES);
        Ok(())
    })
}

#[test]
fn a_replay_is_previewed_requested_shown_and_stopped_with_a_token_of_the_tenant() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let operator = Operator::new(fixture, "back").await?;
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let from = hour - TimeDelta::hours(1);
        let back = connect(aws, platform, "back", "200000000103", Draft::default(), from).await?;
        record(fixture, "back", hour).await?;
        assert_eq!(platform.tick(hour + TimeDelta::minutes(1)).await?["exported"], 1);
        let first = back.exports().await?;

        let token = platform.api().token("back", &["audit-logs:admin"]);
        let [from, to] = [from, hour].map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let variables = [("API", platform.api().base()), ("TOKEN", &token), ("FROM", &from), ("TO", &to)];
        let preview = parsed(&operator.run("preview-replay", &variables).await?)?;
        assert_eq!((&preview["windows"], &preview["bucket"]), (&json!(1), &json!("back-audit-logs")), "{preview}");
        // A lease of another run keeps the replay from going on.
        operator.put_lease().await?;
        let requested = parsed(&operator.run("request-replay", &variables).await?)?;
        assert_eq!(requested["state"], "running", "{requested}");
        ensure!(operator.run("list-replays", &[]).await?.split_whitespace().any(|tenant| tenant == "back"));
        let shown = parsed(&operator.run("show-replay", &[]).await?)?;
        assert_eq!((&shown["next"], &shown["id"]), (&json!(from), &requested["id"]), "{shown}");
        let stopping = parsed(&operator.run("stop-replay", &variables).await?)?;
        assert_eq!(stopping["state"], "stopping", "{stopping}");
        ensure!(operator.run("request-replay", &variables).await.is_err(), "a second one was accepted");

        operator
            .change_record("watermark", |watermark| {
                watermark.remove("lease");
                watermark.remove("lease_until");
            })
            .await?;
        let check = platform.check(Utc::now()).await?;
        assert_eq!(check["replays"]["stalled"], 0, "{check}");
        let current = platform.api().admin("back", "GET", "/v1/replays/current", None).await?.ok()?;
        assert_eq!((&current["state"], &current["stopCause"]), (&json!("stopped"), &json!("requested")), "{current}");
        assert_eq!(operator.run("list-replays", &[]).await?.trim(), "");
        assert_eq!(back.exports().await?, first);
        operator.finish(&REPLAYS);
        Ok(())
    })
}

#[test]
fn outbox_entries_are_listed_and_published_and_unreadable_ones_are_dropped() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let operator = Operator::new(fixture, "waiting").await?;
        let listener = Listener::new(aws, &platform.outputs().notification_bus_name, "waiting").await?;
        let mut waiting = onboard(aws, platform, "waiting", "200000000104", Draft::default(), at("10:00")?).await?;
        let damage = async || {
            let damaged = ("system:damaged".to_owned(), s("no JSON"));
            operator
                .change_record("outbox", |outbox| {
                    outbox.insert("pending_shard".to_owned(), s("0"));
                    if let Some(AttributeValue::M(entries)) = outbox.get_mut("entries") {
                        entries.extend([damaged]);
                    }
                })
                .await
        };
        let pending = async || anyhow::Ok(operator.run("list-pending", &[]).await?.trim().to_owned());
        let publish = async || {
            let answer = answer(&operator.run("publish-outbox", &[]).await?)?;
            anyhow::Ok((answer["published"].clone(), answer["left"].clone()))
        };

        assert_eq!(pending().await?, "waiting");
        let shown = parsed(&operator.run("show-outbox", &[]).await?)?;
        assert_eq!((&shown["sequence"], &shown["dropped"]), (&json!("1"), &Value::Null));
        let entries = shown["entries"].as_object().context("no entries")?;
        let [(_, entry)] = &entries.iter().collect::<Vec<_>>()[..] else { bail!("expected one entry: {entries:?}") };
        ensure!(entry["S"].as_str().is_some_and(|entry| entry.contains("settings_changed")), "{entry}");

        damage().await?;
        assert_eq!(publish().await?, (json!(1), json!(1)), "one is published, the other is left");
        assert_eq!(listener.receive(1).await?[0]["detail-type"], "Audit Log Export Settings Changed");
        assert_eq!(pending().await?, "waiting");
        operator.run("drop-unreadable-notification", &[("ID", "system:damaged")]).await?;
        assert_eq!(pending().await?, "");

        // The other entry keeps the tenant in the index `pending`.
        waiting.save(aws, platform, at("10:01")?).await?;
        damage().await?;
        let said = operator.run("drop-unreadable-notification", &[("ID", "system:damaged")]).await?;
        ensure!(said.contains("Other notifications wait there."), "{said}");
        assert_eq!(pending().await?, "waiting");
        assert_eq!(publish().await?, (json!(1), json!(0)));
        assert_eq!(listener.receive(1).await?[0]["detail"]["sequence"], 2);
        assert_eq!(pending().await?, "");
        operator.finish(&OUTBOXES);
        Ok(())
    })
}

#[test]
fn final_deliveries_that_wait_are_listed_and_shown_and_dropped() -> Result<()> {
    const DROP: &str = "drop-unreadable-final-delivery";
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let operator = Operator::new(fixture, "leaving").await?;
        connect(aws, platform, "leaving", "200000000107", Draft::default(), Utc::now() - TimeDelta::hours(1)).await?;
        platform.api().admin("leaving", "DELETE", "/v1/connector", None).await?.ok()?;
        assert_eq!(operator.run("list-final-deliveries", &[]).await?.trim(), "leaving");
        let shown = operator.run("show-final-deliveries", &[]).await?;
        let [revision, place] = &shown.lines().collect::<Vec<_>>()[..] else { bail!("expected one place: {shown}") };
        let place: Value = serde_json::from_str(place)?;
        assert_eq!((*revision, &place["place"]["bucket"]), ("1", &json!("leaving-audit-logs")));
        let damage = |record: &mut Item| {
            if let Some(AttributeValue::L(places)) = record.get_mut("places") {
                places.push(s("no JSON"));
            }
        };
        operator.change_record("final_delivery", damage).await?;
        operator.fails_condition(DROP, &[("PLACE", "1"), ("REVISION", "2")]).await?;
        let said = operator.run(DROP, &[("PLACE", "1"), ("REVISION", "1")]).await?;
        ensure!(said.contains("Other final deliveries wait there."), "{said}");
        assert_eq!(operator.run("list-final-deliveries", &[]).await?.trim(), "leaving");
        operator.run(DROP, &[("PLACE", "0"), ("REVISION", "2")]).await?;
        assert_eq!(operator.run("list-final-deliveries", &[]).await?.trim(), "");
        operator.finish(&FINAL_DELIVERIES);
        Ok(())
    })
}

#[test]
fn after_records_are_restored_from_a_table_all_windows_since_then_are_exported() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let operator = Operator::new(fixture, "damaged").await?;
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let before = |hours| hour - TimeDelta::hours(hours);
        let damaged = onboard(aws, platform, "damaged", "200000000105", Draft::default(), before(3)).await?;
        damaged.bucket.enable_versioning().await?;
        let mut expected = vec![as_json(&record(fixture, "damaged", before(2)).await?)];
        platform.tick(before(2) + TimeDelta::minutes(1)).await?;

        // During a run. The local AWS restores a table as it is now, whatever instant is requested.
        let good = platform.record("damaged", "watermark").await?;
        operator.put_lease().await?;
        operator
            .change_record("watermark", |watermark| drop(watermark.insert("checkpoint".to_owned(), s("{}"))))
            .await?;
        let restored = [("RESTORED_TABLE", "tenants-restored")];
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        operator.run("restore-table", &[restored[0], ("RESTORE_TO", &now)]).await?;
        platform.put_item(Table::Tenants, good).await?;
        expected.push(as_json(&record(fixture, "damaged", before(1)).await?));
        platform.tick(before(1) + TimeDelta::minutes(1)).await?;
        let first = damaged.exports().await?;

        operator.run("stop-exporter", &[]).await?;
        let stopped = platform.check(Utc::now()).await.err().context("the exporter was not stopped")?;
        ensure!(format!("{stopped:?}").contains("TooManyRequestsException"), "{stopped:?}");
        let config = platform.record("damaged", "config").await?;
        platform.clear_table(Table::Tenants).await?;
        for name in ["config", "watermark", "outbox"] {
            operator.run("restore-record", &[restored[0], ("RECORD", name)]).await?;
        }
        let keys = [restored[0], ("TENANT", "#platform"), ("RECORD", "manifest_keys")];
        operator.run("restore-record", &keys).await?;
        assert_eq!(platform.manifest_keys().await?.len(), 1);
        assert_eq!(platform.record("damaged", "config").await?, config);
        assert_eq!(operator.attribute("watermark", "lease").await?, Some(s(TOKEN)));
        operator.run("forget-run", &[]).await?;
        let watermark = platform.record("damaged", "watermark").await?;
        ensure!(["lease", "lease_until", "checkpoint"].iter().all(|it| !watermark.contains_key(*it)), "{watermark:?}");
        let sequence = operator.attribute("outbox", "sequence").await?;
        assert_eq!(sequence, Some(AttributeValue::N("1".to_owned())));
        operator.run("raise-sequence", &[]).await?;
        let raised = operator.attribute("outbox", "sequence").await?;
        assert_eq!(raised, Some(AttributeValue::N("100001".to_owned())));
        operator.run("start-exporter", &[]).await?;

        expected.push(as_json(&record(fixture, "damaged", hour).await?));
        let report = answer(&operator.run("tick", &[]).await?)?;
        assert_eq!((&report["due"], &report["exported"]), (&json!(1), &json!(1)), "{report}");
        let exports = damaged.exports().await?;
        assert_eq!(exports[..2], first);
        let texts: Vec<&String> = exports.iter().map(|(_, text)| text).collect();
        assert_eq!(texts[..3], expected.iter().collect::<Vec<_>>());
        let mut versions = damaged.bucket.versions().await?;
        versions.retain(|key, _| is_data(key));
        let versions: Vec<Vec<String>> = versions.into_values().collect();
        assert_eq!(versions.iter().take(3).map(Vec::len).collect::<Vec<_>>(), [1, 2, 1], "{versions:?}");
        assert_eq!(versions[1][0], versions[1][1], "the bytes differ");
        operator.finish(&RESTORES);
        Ok(())
    })
}

/// The exporter's environment and the stack's output name the key, and a key that leaves the stack stays usable.
#[tokio::test]
async fn the_manifest_key_is_changed_to_one_with_the_same_policy() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[]).await?;
    let page = Page::read()?;
    let executed = RefCell::new(BTreeSet::new());
    let run = async |name: &str, variable: &str, key: &str| {
        executed.borrow_mut().insert(name.to_owned());
        let command = page.commands.get(name).with_context(|| format!("the page has no command {name}"))?;
        let mut bash = tools::bash(&aws, PLATFORM_ACCOUNT, &format!("set -e\n{command}"))?;
        anyhow::Ok(tools::run(bash.env(variable, key).current_dir(aws.directory())).await?.trim().to_owned())
    };
    let show = async |key: &str| {
        let shown = run("show-manifest-key", "MANIFEST_KEY", key).await?;
        let (state, policy) = shown.split_once('\n').with_context(|| format!("no policy: {shown}"))?;
        anyhow::Ok((state.replace('\t', " "), parsed(policy)?))
    };
    let lambda = lambda::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let variables = async |platform: &Platform<'_>| {
        let name = &platform.outputs().exporter_function_name;
        let function = lambda.get_function_configuration().function_name(name).send().await?;
        let all = function.environment.and_then(|it| it.variables).unwrap_or_default();
        anyhow::Ok(["MANIFEST_KEY_ARN", "MANIFEST_KEY_NAME"].map(|name| all.get(name).cloned()))
    };
    let name = Some(format!("{PLATFORM_ACCOUNT}.{REGION}.audit-log-export"));

    let old = platform.outputs().manifest_key_arn.clone().context("the stack has no key")?;
    let (state, policy) = show(&old).await?;
    assert_eq!(state, "Enabled ECC_NIST_P256 SIGN_VERIFY");
    let statements = policy["Statement"].as_array().context("no statements")?;
    let names: Vec<_> = statements.iter().map(|statement| &statement["Sid"]).collect();
    assert_eq!(names, ["ByTheAccountsOwnPolicies", "OnlyTheExporterSigns"]);
    assert_eq!(variables(&platform).await?, [Some(old.clone()), name.clone()]);
    let fingerprint = run("show-manifest-fingerprint", "MANIFEST_KEY", &old).await?;
    ensure!(fingerprint.len() == 64 + "  -".len(), "{fingerprint} is no SHA-256");

    let new = run("make-manifest-key", "MANIFEST_KEY", &old).await?;
    assert_ne!(new, old);
    assert_eq!(show(&new).await?, (state.clone(), policy.clone()));
    let platform = deploy_platform(&aws, &[("ManifestKeyArn", &new)]).await?;
    assert_eq!(platform.outputs().manifest_key_arn.as_ref(), Some(&new));
    assert_eq!(variables(&platform).await?, [Some(new.clone()), name.clone()]);
    assert_eq!(show(&old).await?, (state, policy.clone()), "the old key isn't retained as it was");
    run("disable-manifest-key", "OLD_KEY", &old).await?;
    assert_eq!(show(&old).await?, ("Disabled ECC_NIST_P256 SIGN_VERIFY".to_owned(), policy));

    let platform = deploy_platform(&aws, &[("ManifestKeyArn", "none")]).await?;
    assert_eq!(platform.outputs().manifest_key_arn, None);
    assert_eq!(variables(&platform).await?, [None, name]);
    assert_eq!(executed.into_inner(), MANIFEST_KEYS.map(str::to_owned).into());
    Ok(())
}

#[test]
fn a_test_runs_every_command_of_the_page() -> Result<()> {
    let run: Vec<&str> =
        [&LEASES[..], &PAUSES, &REPLAYS, &OUTBOXES, &FINAL_DELIVERIES, &RESTORES, &MANIFEST_KEYS].concat();
    let on_the_page: BTreeSet<String> = Page::read()?.commands.into_keys().collect();
    assert_eq!(on_the_page, run.into_iter().map(str::to_owned).collect());
    Ok(())
}
