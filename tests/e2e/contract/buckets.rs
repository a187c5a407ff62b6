//! Storing objects in a customer's bucket.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use audit_log_aws::buckets::PART_BYTES;
use audit_log_core::{
    failure::{Code, Failure},
    object::{ObjectSpec, sha256},
    ports::{Bucket, Buckets, Upload},
    settings::{Draft, TenantConfig},
    tenant::ExternalId,
};

use crate::{
    local::on_local_aws,
    world::{World, config, window},
};

on_both_worlds! {
    an_object_is_stored_with_its_bytes_and_headers
    an_object_replaces_an_earlier_one_with_its_key
    a_large_object_is_stored_completely
    nothing_is_visible_before_an_object_is_finished
    an_aborted_object_leaves_nothing
    an_object_for_a_bucket_that_is_gone_is_not_stored
    no_delivery_reaches_another_tenants_folder
}

/// The tenant's file `file`. Tests share the bucket and use different numbers.
fn spec(config: &TenantConfig, file: u32) -> Result<ObjectSpec> {
    Ok(ObjectSpec::new(config, window("10:00", "11:00")?, file))
}

async fn open(world: &impl World, config: &TenantConfig) -> Result<impl Bucket> {
    Ok(world.buckets().open(config, window("10:00", "11:00")?).await?)
}

/// Stores an object in chunks.
async fn store(bucket: &impl Bucket, spec: ObjectSpec, chunks: &[&[u8]]) -> Result<(), Failure> {
    let mut upload = bucket.upload(spec);
    for chunk in chunks {
        if let Err(failure) = upload.write(chunk.to_vec()).await {
            upload.abort().await;
            return Err(failure);
        }
    }
    upload.finish(&sha256(&chunks.concat())).await.result
}

/// Varying bytes, so that no two parts are equal.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn an_object_is_stored_with_its_bytes_and_headers(world: &impl World) -> Result<()> {
    let acme = world.customer("acme").await?;
    let spec = ObjectSpec { content_type: "application/x-ndjson", ..spec(&acme, 1)? };
    store(&open(world, &acme).await?, spec.clone(), &[b"{\"n\":1}\n", b"", b"{\"n\":2}\n"]).await?;
    let object = world.object(&acme, &spec.key).await?;
    assert_eq!(object.bytes, b"{\"n\":1}\n{\"n\":2}\n");
    assert_eq!(object.content_type.as_deref(), Some("application/x-ndjson"));
    assert_eq!(object.content_encoding, None, "clients would decompress it by themselves");
    let labels: BTreeMap<_, _> = spec.metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(object.metadata, labels);
    Ok(())
}

async fn an_object_replaces_an_earlier_one_with_its_key(world: &impl World) -> Result<()> {
    let acme = world.customer("acme").await?;
    let (bucket, spec) = (open(world, &acme).await?, spec(&acme, 2)?);
    let large = bytes(PART_BYTES + 1);
    for content in [b"first, and longer".as_slice(), b"second", &large, b"third"] {
        store(&bucket, spec.clone(), &[content]).await?;
        let object = world.object(&acme, &spec.key).await?;
        assert!(object.bytes == content, "{} bytes, and not {}", object.bytes.len(), content.len());
    }
    Ok(())
}

async fn a_large_object_is_stored_completely(world: &impl World) -> Result<()> {
    let acme = world.customer("acme").await?;
    let bucket = open(world, &acme).await?;
    let content = bytes(2 * PART_BYTES + 1);
    let spec = ObjectSpec { content_type: "application/x-ndjson", ..spec(&acme, 10)? };
    // Parts don't end at the end of a chunk.
    store(&bucket, spec.clone(), &content.chunks(3_000_001).collect::<Vec<_>>()).await?;
    let object = world.object(&acme, &spec.key).await?;
    assert!(object.bytes == content, "{} other bytes", object.bytes.len());
    assert_eq!(object.content_type.as_deref(), Some("application/x-ndjson"));
    assert_eq!(object.metadata.get("window-from").map(String::as_str), Some("2026-11-20T10:00:00Z"));
    assert_eq!(world.unfinished(&acme).await?, [""; 0]);
    Ok(())
}

async fn nothing_is_visible_before_an_object_is_finished(world: &impl World) -> Result<()> {
    let acme = world.customer("acme").await?;
    let bucket = open(world, &acme).await?;
    for (file, size) in [(20, 10), (21, PART_BYTES + 1)] {
        let spec = spec(&acme, file)?;
        let mut upload = bucket.upload(spec.clone());
        upload.write(bytes(size)).await?;
        assert!(!world.keys(&acme).await?.contains(&spec.key), "{size} bytes are visible already");
        upload.finish(&sha256(&bytes(size))).await.result?;
        assert!(world.keys(&acme).await?.contains(&spec.key));
    }
    Ok(())
}

async fn an_aborted_object_leaves_nothing(world: &impl World) -> Result<()> {
    let acme = world.customer("acme").await?;
    let (bucket, before) = (open(world, &acme).await?, world.keys(&acme).await?);
    for (file, size) in [(30, 0), (31, 10), (32, PART_BYTES + 1)] {
        let mut upload = bucket.upload(spec(&acme, file)?);
        upload.write(bytes(size)).await?;
        upload.abort().await;
    }
    assert_eq!(world.keys(&acme).await?, before);
    assert_eq!(world.unfinished(&acme).await?, [""; 0]);
    Ok(())
}

async fn an_object_for_a_bucket_that_is_gone_is_not_stored(world: &impl World) -> Result<()> {
    let bucketless = world.customer("bucketless").await?;
    world.delete_bucket(&bucketless).await?;
    // The role still exists, so that S3 refuses both a single PUT and a multipart upload.
    let bucket = open(world, &bucketless).await?;
    for (file, size) in [(1, 10), (2, PART_BYTES + 1)] {
        let refused = store(&bucket, spec(&bucketless, file)?, &[&bytes(size)]).await;
        let failure = refused.err().context("an object was stored in a deleted bucket")?;
        assert_eq!(failure, Failure::new(Code::BucketNotFound, "There is no bucket bucketless-audit-logs."));
    }
    Ok(())
}

/// The session policy prevents this even if the core computes a wrong key: tenants may share a bucket, and the role may write
/// to all of it.
async fn no_delivery_reaches_another_tenants_folder(world: &impl World) -> Result<()> {
    let acme = world.customer("acme").await?;
    let neighbor = config("acme-2", Draft { bucket: Some(acme.bucket.to_string()), ..Draft::default() })?;
    let (bucket, before) = (open(world, &acme).await?, world.keys(&acme).await?);
    let elsewhere = ObjectSpec { key: "readme.txt".to_owned(), ..spec(&acme, 40)? };
    for (spec, size) in [(spec(&neighbor, 1)?, 10), (spec(&neighbor, 2)?, PART_BYTES + 1), (elsewhere, 10)] {
        let refused = store(&bucket, spec.clone(), &[&bytes(size)]).await;
        assert_eq!(refused.err().map(|failure| failure.code), Some(Code::AccessDenied), "{}", spec.key);
    }
    assert_eq!(world.keys(&acme).await?, before);
    assert_eq!(world.unfinished(&acme).await?, [""; 0]);
    Ok(())
}

#[test]
fn a_role_is_not_assumed_with_another_external_id_or_if_it_does_not_exist() -> Result<()> {
    on_local_aws(async |world| {
        let acme = world.customer("acme").await?;
        let guess = TenantConfig { external_id: ExternalId::parse("a-wrong-external-id")?, ..acme.clone() };
        let gone = format!("arn:aws:iam::{}:role/no-such-role", acme.role.account());
        let draft = Draft { role_arn: Some(gone), ..Draft::from_config(&acme, 1) };
        for config in [guess, config("acme", draft)?] {
            let refused = world.buckets().open(&config, window("10:00", "11:00")?).await.err();
            assert_eq!(refused.map(|failure| failure.code), Some(Code::AssumeRoleDenied));
        }
        Ok(())
    })
}
