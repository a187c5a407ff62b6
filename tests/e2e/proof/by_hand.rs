//! The commands of docs/proof.md, as they are on the page, and signatures that others than this project check.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::{Auditor, Customer, Fixture, LocalAws, onboard, project, run_on_platform, tools};

use super::{auditor, clock, head, record, tick};

/// The page's commands by their names, in the order of the page.
fn commands() -> Result<Vec<(String, String)>> {
    let page = fs::read_to_string(project::repository().join("docs/proof.md"))?;
    let blocks = page.split("<!-- command: ").skip(1).map(|block| {
        let (name, block) = block.split_once(" -->\n```sh\n").context("a name without a command")?;
        let (command, _) = block.split_once("\n```\n").with_context(|| format!("{name} has no end"))?;
        anyhow::Ok((name.to_owned(), command.to_owned()))
    });
    blocks.collect()
}

/// An auditor's shell in the folder of a copy.
struct Shell<'a> {
    aws: &'a LocalAws,
    account: &'a str,
    auditor: &'a Auditor,
    commands: BTreeMap<String, String>,
    variables: BTreeMap<&'static str, String>,
}

impl Shell<'_> {
    /// Runs a command of the page.
    async fn run(&self, name: &str) -> Result<String> {
        let command = self.commands.get(name).with_context(|| format!("the page has no command {name}"))?;
        self.bash(command).await.with_context(|| name.to_owned())
    }

    async fn bash(&self, commands: &str) -> Result<String> {
        let verifier = Auditor::verifier()?;
        let path = verifier.parent().context("no folder")?.display().to_string();
        let script = format!("set -euo pipefail\nPATH=\"$PATH:{path}\"\n{commands}");
        let mut bash = tools::bash(self.aws, self.account, &script)?;
        tools::run(bash.envs(&self.variables).env("NO_PROXY", "127.0.0.1").current_dir(self.auditor.directory())).await
    }
}

/// A customer with a day of 23 windows, and the head of their chain.
async fn day(fixture: &Fixture, tenant: &str, account: &str) -> Result<(Customer, String)> {
    let platform = &fixture.platform;
    let customer = onboard(fixture.aws, platform, tenant, account, Draft::default(), clock("00:00")?).await?;
    for hour in ["03:00", "10:00", "11:00", "17:00"] {
        record(platform, tenant, clock(hour)?, 25).await?;
    }
    let report = tick(platform, clock("23:00")?).await?;
    assert_eq!(report["objects"], 23, "{report}");
    Ok((customer, head(platform, tenant).await?))
}

#[test]
fn the_pages_commands_prove_a_window_and_find_a_changed_byte() -> Result<()> {
    const MANIFESTS: &str = "tenant=byhand/_audit-log-export/manifests/2026-11-20/20261120T";
    run_on_platform(async |fixture| {
        let (customer, head) = day(fixture, "byhand", "200000000115").await?;
        let auditor = auditor(&fixture.platform, &customer).await?;
        let pinned = fs::read_to_string(auditor.directory().join("keys.txt"))?;
        fs::remove_dir_all(auditor.folder())?;
        fs::remove_file(auditor.directory().join("keys.txt"))?;
        let mut shell = Shell {
            aws: fixture.aws,
            account: "200000000115",
            auditor: &auditor,
            commands: commands()?.into_iter().collect(),
            variables: BTreeMap::from([
                ("API", fixture.platform.api().base().to_owned()),
                ("BUCKET", "byhand-audit-logs".to_owned()),
                ("PREFIX", String::new()),
                ("TENANT", "byhand".to_owned()),
                ("HEAD", head.clone()),
                ("MANIFEST", format!("{MANIFESTS}100000Z_20261120T110000Z.manifest")),
                ("BEFORE", format!("{MANIFESTS}090000Z_20261120T100000Z.manifest")),
                ("FILE", "tenant=byhand/dt=2026-11-20/20261120T100000Z_20261120T110000Z_0001.json".to_owned()),
            ]),
        };
        shell.run("fetch-keys").await?;
        assert_eq!(fs::read_to_string(auditor.directory().join("keys.txt"))?, pinned);
        let other = fs::read_to_string(project::repository().join("verifier/tests/openssl/key.verifier"))?;
        fs::write(auditor.directory().join("keys.txt"), format!("{pinned}{other}"))?;
        let fingerprints = shell.run("fingerprints").await?;
        let fingerprints: Vec<&str> = fingerprints.lines().map(|line| line.trim_end_matches("  -")).collect();
        let ids: Vec<&str> = [&pinned, &other].iter().filter_map(|key| key.split('+').nth(1)).collect();
        ensure!(
            fingerprints.len() == 2
                && fingerprints.iter().zip(ids).all(|(it, id)| it.len() == 64 && it.starts_with(id)),
            "{fingerprints:?} are not those of {pinned}{other}"
        );
        auditor.pin(&[pinned.trim_end().to_owned()])?;
        shell.run("copy-folder").await?;
        let report = shell.run("verify").await?;
        ensure!(report.contains("23") && report.contains(fingerprints[0]), "{report}");

        shell.run("by-hand-key").await?;
        assert_eq!(shell.run("by-hand-signature").await?, "Verified OK\n");
        let text = shell.run("by-hand-text").await?;
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "audit-log-export manifest v1",
            "tenant byhand",
            "window 2026-11-20T10:00:00Z 2026-11-20T11:00:00Z",
            "events 25 late 0 malformed 0 gap no",
        ];
        assert_eq!(lines[..4], expected);
        assert_eq!(
            shell.run("by-hand-files").await?,
            "dt=2026-11-20/20261120T100000Z_20261120T110000Z_0001.json: OK\n"
        );
        assert_eq!(shell.run("by-hand-chain").await?, "-: OK\n");
        assert_eq!(shell.run("by-hand-events").await?, "25\n");
        shell.variables.insert("MANIFEST", format!("{MANIFESTS}220000Z_20261120T230000Z.manifest"));
        assert_eq!(shell.run("by-hand-signature").await?, "Verified OK\n");
        assert_eq!(shell.run("by-hand-head").await?, format!("{head}  text\n"));

        // In the tenant's id of the one manifest, in a file, and in the text that the next one names.
        shell.variables.insert("MANIFEST", format!("{MANIFESTS}100000Z_20261120T110000Z.manifest"));
        shell.run("by-hand-signature").await?;
        auditor.flip("dt=2026-11-20/20261120T100000Z_20261120T110000Z_0001.json", 100)?;
        auditor.flip("_audit-log-export/manifests/2026-11-20/20261120T090000Z_20261120T100000Z.manifest", 36)?;
        for name in ["by-hand-files", "by-hand-chain", "verify"] {
            ensure!(shell.run(name).await.is_err(), "{name} finds nothing");
        }
        shell.variables.insert("MANIFEST", format!("{MANIFESTS}090000Z_20261120T100000Z.manifest"));
        ensure!(shell.run("by-hand-signature").await.is_err(), "a signature of another text is taken");
        Ok(())
    })
}

#[test]
fn openssl_and_python_agree_with_every_signature_of_a_day() -> Result<()> {
    run_on_platform(async |fixture| {
        let (customer, _) = day(fixture, "twice", "200000000116").await?;
        let auditor = auditor(&fixture.platform, &customer).await?;
        assert_eq!(auditor.verify(&[])?.kinds(0)?, Vec::<String>::new());

        let all: BTreeMap<String, String> = commands()?.into_iter().collect();
        let signature = all.get("by-hand-signature").context("no recipe")?;
        let script = format!(
            "{}\nfor MANIFEST in tenant=twice/_audit-log-export/manifests/*/*.manifest; do\n{signature}\ndone",
            all.get("by-hand-key").context("no key")?
        );
        let shell = Shell {
            aws: fixture.aws,
            account: "200000000116",
            auditor: &auditor,
            commands: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        assert_eq!(shell.bash(&script).await?.matches("Verified OK").count(), 23);

        let mut python = tokio::process::Command::new(project::installed(".venv/bin/python")?);
        python.arg(project::repository().join("tests/e2e/proof/check_signatures.py"));
        python.arg(auditor.directory().join("keys.txt")).arg(auditor.folder());
        assert_eq!(tools::run(&mut python).await?.trim(), "23");
        auditor.flip("_audit-log-export/manifests/2026-11-20/20261120T090000Z_20261120T100000Z.manifest", 36)?;
        ensure!(tools::run(&mut python).await.is_err(), "a wrong signature is taken");
        Ok(())
    })
}

#[test]
fn the_tests_run_every_command_of_the_page() -> Result<()> {
    let names: Vec<String> = commands()?.into_iter().map(|(name, _)| name).collect();
    let run = [
        "fetch-keys",
        "fingerprints",
        "copy-folder",
        "verify",
        "by-hand-key",
        "by-hand-signature",
        "by-hand-text",
        "by-hand-files",
        "by-hand-chain",
        "by-hand-events",
        "by-hand-head",
    ];
    assert_eq!(names, run);
    Ok(())
}
