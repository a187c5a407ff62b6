//! Verifies a copy of a customer's bucket as its auditor does, as it is and with one byte changed.

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::{Auditor, Verdict};

use crate::screen::Screen;
use crate::setup::Demo;
use crate::tenants::BUSY;

/// Of the byte that is changed, from the beginning of its file.
const POSITION: usize = 1_000;

pub(crate) async fn verify(screen: &Screen, demo: &Demo<'_>) -> Result<()> {
    screen.section(&format!("An auditor of {BUSY} verifies a copy of the bucket, offline"))?;
    let keys = demo.platform.manifest_keys().await?;
    let status = demo.platform.api().admin(BUSY, "GET", "/v1/status", None).await?.ok()?;
    let head = status["manifestHead"].as_str().context("a status without the head of the chain")?;
    screen.prose(
        "Each window has a manifest with the checksums of its files. It names the manifest before it, and is signed with a KMS \
         key whose private part never leaves KMS. The auditor has the public key from GET /v1/manifest-keys, and the hash of the \
         newest manifest from the status page.",
    )?;
    let auditor = Auditor::new(&demo.tenant(BUSY)?.customer, &keys).await?;
    let verdict = auditor.report(&["--head", head])?;
    screen.blank()?;
    let shown = head.get(..8).unwrap_or_default();
    screen.line(&format!("  audit-log-verify --key keys.txt --head {shown}… {}", auditor.folder_name()))?;
    let printed = shown_by(&auditor, &verdict);
    show(screen, printed.lines())?;
    ensure!(verdict.code == Some(0), "the folder should be valid");

    let noon = demo.day.format("dt=%Y-%m-%d/%Y%m%dT110000Z_").to_string();
    let file = auditor.files(|file| file.starts_with(&noon))?.pop().context("no file of the hour before noon")?;
    auditor.flip(&file, POSITION)?;
    screen.blank()?;
    screen.prose("Then somebody changes one byte of the file of the hour before noon. The same command says:")?;
    let verdict = auditor.report(&["--head", head])?;
    // Without the part about what is still proved.
    let printed = shown_by(&auditor, &verdict);
    show(screen, printed.lines().take(3))?;
    show(screen, printed.lines().skip_while(|line| *line != "Wrong"))?;
    ensure!(verdict.code == Some(1), "the changed byte should be found");
    Ok(())
}

/// What the verifier printed, without the temporary folder that the copy is in.
fn shown_by(auditor: &Auditor, verdict: &Verdict) -> String {
    verdict.printed.replace(&format!("{}/", auditor.directory().display()), "")
}

fn show<'a>(screen: &Screen, lines: impl Iterator<Item = &'a str>) -> Result<()> {
    lines.into_iter().try_for_each(|line| screen.cut("    ", line))
}
