//! A customer's bucket, seen with the customer's own rights.

use std::{collections::BTreeMap, io::Read as _};

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::config::Region;
use audit_log_aws::sdk::s3;
use audit_log_aws::sdk::s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};

use crate::{LocalAws, REGION};

/// A bucket in a customer's account.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    region: String,
    s3: s3::Client,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An object as a consumer downloads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its content, byte for byte.
    pub bytes: Vec<u8>,
    /// Its Content-Type.
    pub content_type: Option<String>,
    /// Its Content-Encoding: one that is set would make clients unpack it on their own.
    pub content_encoding: Option<String>,
    /// The KMS key that it is encrypted with, where it isn't S3's own.
    pub kms_key: Option<String>,
    /// Its user metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

impl Bucket {
    /// A bucket that exists, in [`REGION`].
    #[must_use]
    pub fn of(aws: &LocalAws, account: &str, name: &str) -> Self {
        Self::in_region(aws, account, name, REGION)
    }

    /// Creates a bucket, for a customer who brings one.
    ///
    /// # Errors
    /// When the name is taken or not allowed.
    pub async fn create(aws: &LocalAws, account: &str, name: &str, region: &str) -> Result<Self> {
        let bucket = Self::in_region(aws, account, name, region);
        let constraint = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(bucket.region.as_str()))
            .build();
        // The oldest region is the one that must not be named.
        let constraint = Some(constraint).filter(|_| bucket.region != "us-east-1");
        bucket.s3.create_bucket().bucket(name).set_create_bucket_configuration(constraint).send().await?;
        Ok(bucket)
    }

    /// Everything in it, by key.
    ///
    /// # Errors
    /// When it can't be listed.
    pub async fn objects(&self) -> Result<Vec<StoredObject>> {
        let mut pages = self.s3.list_objects_v2().bucket(&self.name).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page?.contents.unwrap_or_default() {
                let key = object.key.context("an object without a key")?;
                let size = u64::try_from(object.size.unwrap_or_default())?;
                objects.push(StoredObject { key, size });
            }
        }
        Ok(objects)
    }

    /// Keeps every version of an object from now on.
    ///
    /// # Errors
    /// When the bucket refuses.
    pub async fn keep_versions(&self) -> Result<()> {
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        self.s3.put_bucket_versioning().bucket(&self.name).versioning_configuration(versioning).send().await?;
        Ok(())
    }

    /// Every object that was ever stored in a bucket that [keeps versions](Self::keep_versions): by its key, the `ETag` of
    /// each version, the latest first. Objects of the same bytes, stored in the same way, have the same `ETag`.
    ///
    /// # Errors
    /// When they can't be listed, or one was deleted.
    pub async fn versions(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut key, mut version) = (None, None);
        loop {
            let list = self.s3.list_object_versions().bucket(&self.name);
            let page = list.set_key_marker(key).set_version_id_marker(version).send().await?;
            ensure!(page.delete_markers().is_empty(), "deleted: {:?}", page.delete_markers());
            for stored in page.versions() {
                let (key, etag) = (stored.key().context("no key")?, stored.e_tag().context("no ETag")?);
                versions.entry(key.to_owned()).or_default().push(etag.to_owned());
            }
            if page.is_truncated() != Some(true) {
                return Ok(versions);
            }
            (key, version) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    /// Downloads one object.
    ///
    /// # Errors
    /// When there is none with this key.
    pub async fn get(&self, key: &str) -> Result<Object> {
        let answer = self.s3.get_object().bucket(&self.name).key(key).send().await;
        let answer = answer.with_context(|| format!("getting {key} from {}", self.name))?;
        Ok(Object {
            content_type: answer.content_type,
            content_encoding: answer.content_encoding,
            kms_key: answer.ssekms_key_id,
            metadata: answer.metadata.unwrap_or_default().into_iter().collect(),
            bytes: answer.body.collect().await?.to_vec(),
        })
    }

    fn in_region(aws: &LocalAws, account: &str, name: &str, region: &str) -> Self {
        let config = aws.sdk_config(account).into_builder().region(Region::new(region.to_owned())).build();
        Self { name: name.to_owned(), region: region.to_owned(), s3: s3::Client::new(&config) }
    }
}

/// Unpacks a gzipped text.
///
/// # Errors
/// When it isn't one.
pub fn gunzip(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}
