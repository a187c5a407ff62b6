//! Signing manifests.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::signer::KmsSigner;
use audit_log_core::{
    failure::{Code, Party},
    manifest::{self, ManifestKey, Signature},
    ports::{ManifestKeys, Signer},
};
use audit_log_tests::{PLATFORM_ACCOUNT, tools};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    local::{KEY_NAME, OnLocalAws, on_local_aws},
    world::{World, clock},
};

on_both_worlds! {
    a_key_is_noted_with_its_first_signature
    a_run_that_begins_with_the_same_key_notes_nothing
}

const TEXT: &str = "audit-log-export manifest v1\ntenant acme\n";

/// The key that is noted as the one in use.
async fn key_in_use(world: &impl World) -> Result<ManifestKey> {
    let used = world.manifest_keys().manifest_keys().await?;
    ensure!(used.iter().skip(1).all(|used| used.retired_at.is_some()), "{used:?}");
    let first = used.into_iter().next().context("no key")?;
    ensure!(first.retired_at.is_none(), "{first:?}");
    Ok(first.key)
}

async fn sign(signer: &impl Signer, text: &str) -> Result<Signature> {
    Ok(signer.sign(&manifest::digest(text), clock("11:02")?, &|| false).await?)
}

async fn a_key_is_noted_with_its_first_signature(world: &impl World) -> Result<()> {
    let signer = world.new_signer()?;
    ensure!(signer.has_key());
    assert_eq!(world.manifest_keys().manifest_keys().await?, [], "nothing is signed yet");
    let signature = sign(&signer, TEXT).await?;
    let key = key_in_use(world).await?;
    assert_eq!((signature.key_id, &signature.key_name), (key.id(), &key.name));
    assert_eq!(world.manifest_keys().manifest_keys().await?[0].first_used_at, clock("11:02")?);
    let other = sign(&signer, "another text\n").await?;
    assert_eq!(other.key_id, signature.key_id);
    assert_ne!(other.der, signature.der);
    Ok(())
}

async fn a_run_that_begins_with_the_same_key_notes_nothing(world: &impl World) -> Result<()> {
    sign(&world.new_signer()?, TEXT).await?;
    let noted = world.manifest_keys().manifest_keys().await?;
    let later = world.new_signer()?;
    later.sign(&manifest::digest(TEXT), clock("12:02")?, &|| false).await?;
    assert_eq!(world.manifest_keys().manifest_keys().await?, noted);
    Ok(())
}

/// Runs `openssl` and other tools on a manifest's text, its signature and the public key.
async fn bash(world: &OnLocalAws<'_>, key: &ManifestKey, signature: &Signature, commands: &str) -> Result<String> {
    let (aws, folder) = (world.fixture.aws, tempfile::tempdir()?);
    for (name, bytes) in [
        ("text", TEXT.as_bytes()),
        ("key.pem", key.pem().as_bytes()),
        ("signature", &signature.der),
        ("key.der", &key.public_key),
    ] {
        fs::write(folder.path().join(name), bytes)?;
    }
    tools::run(tools::bash(aws, PLATFORM_ACCOUNT, commands)?.current_dir(folder.path())).await
}

/// With the deployed key and the exporter's own rights.
#[test]
fn a_signature_is_verified_with_the_public_key_alone() -> Result<()> {
    on_local_aws(async |world| {
        let signature = sign(&world.new_signer()?, TEXT).await?;
        let key = key_in_use(world).await?;
        let verify = "openssl dgst -sha256 -verify key.pem -signature signature";
        assert_eq!(bash(world, &key, &signature, &format!("{verify} text")).await?.trim(), "Verified OK");
        let changed = format!("tr a b < text | {verify}");
        ensure!(bash(world, &key, &signature, &changed).await.is_err(), "another text has the same signature");

        let shown = bash(world, &key, &signature, "openssl pkey -pubin -in key.pem -noout -text").await?;
        ensure!(shown.contains("NIST CURVE: P-256"), "{shown}");
        let digest = bash(world, &key, &signature, "openssl pkey -pubin -in key.pem -outform DER | sha256sum").await?;
        assert_eq!(digest.get(..8), Some(key.hex_id().as_str()));
        let verifier_key = key.verifier_key();
        let parts: Vec<&str> = verifier_key.splitn(3, '+').collect();
        let [name, id, base64] = parts[..] else { anyhow::bail!("{verifier_key}") };
        assert_eq!((name, id), (KEY_NAME, key.hex_id().as_str()));
        assert_eq!(STANDARD.decode(base64)?, [&[2], &key.public_key[..]].concat());

        let get = ["kms", "get-public-key", "--key-id", world.manifest_key_arn()?];
        let answer = tools::aws_cli(world.fixture.aws, PLATFORM_ACCOUNT, &get).await?;
        assert_eq!(answer["PublicKey"].as_str(), Some(key.to_base64().as_str()));
        Ok(())
    })
}

/// Makes a key, and returns its ARN.
async fn make_key(world: &OnLocalAws<'_>, spec: &str) -> Result<String> {
    let create = ["kms", "create-key", "--key-usage", "SIGN_VERIFY", "--key-spec", spec];
    let answer = tools::aws_cli(world.fixture.aws, PLATFORM_ACCOUNT, &create).await?;
    Ok(answer["KeyMetadata"]["Arn"].as_str().context("no ARN")?.to_owned())
}

async fn refusal(signer: &KmsSigner) -> Result<String> {
    let signed = signer.sign(&manifest::digest(TEXT), clock("11:02")?, &|| false).await;
    let failure = signed.err().context("it was signed")?;
    assert_eq!((failure.code, failure.party), (Code::SigningFailed, Party::Platform));
    Ok(failure.message)
}

/// As an operator's session has them, that may use every key.
#[test]
fn a_key_of_another_kind_or_a_disabled_one_signs_nothing() -> Result<()> {
    on_local_aws(async |world| {
        let missing = format!("{}0", world.manifest_key_arn()?);
        assert_eq!(
            refusal(&world.signer_of_account(&missing)).await?,
            "KMS answered NotFoundException while the manifest key was read."
        );
        let rsa = world.signer_of_account(&make_key(world, "RSA_2048").await?);
        assert_eq!(refusal(&rsa).await?, "The manifest key has the spec RSA_2048 instead of ECC_NIST_P256.");
        assert_eq!(world.manifest_keys().manifest_keys().await?, [], "none is noted");

        let arn = make_key(world, "ECC_NIST_P256").await?;
        let signer = world.signer_of_account(&arn);
        sign(&signer, TEXT).await?;
        let state = async |change: &str| {
            tools::aws_cli(world.fixture.aws, PLATFORM_ACCOUNT, &["kms", change, "--key-id", &arn]).await
        };
        state("disable-key").await?;
        assert_eq!(refusal(&signer).await?, "KMS answered DisabledException while a manifest was signed.");
        state("enable-key").await?;
        sign(&signer, TEXT).await?;
        Ok(())
    })
}

#[test]
fn the_exporter_signs_with_no_other_key() -> Result<()> {
    on_local_aws(async |world| {
        let other = make_key(world, "ECC_NIST_P256").await?;
        let message = refusal(&world.signer_with(&other)).await?;
        assert_eq!(message, "KMS answered AccessDeniedException while the manifest key was read.");
        assert_eq!(world.manifest_keys().manifest_keys().await?, []);
        Ok(())
    })
}

#[test]
fn after_a_change_of_the_key_signatures_by_both_are_verified() -> Result<()> {
    on_local_aws(async |world| {
        let keys = [make_key(world, "ECC_NIST_P256").await?, make_key(world, "ECC_NIST_P256").await?];
        let mut signatures = Vec::new();
        for arn in [&keys[0], &keys[1], &keys[0]] {
            signatures.push(sign(&world.signer_of_account(arn), TEXT).await?);
        }
        let noted = world.manifest_keys().manifest_keys().await?;
        assert_eq!(noted.len(), 2, "{noted:?}");
        assert_eq!(key_in_use(world).await?.id(), signatures[0].key_id);
        assert_ne!(signatures[0].key_id, signatures[1].key_id);
        for signature in &signatures {
            let used = noted.iter().find(|used| used.key.id() == signature.key_id).context("not noted")?;
            bash(world, &used.key, signature, "openssl dgst -sha256 -verify key.pem -signature signature text").await?;
        }
        Ok(())
    })
}
