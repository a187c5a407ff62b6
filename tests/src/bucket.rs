//! A customer's bucket, accessed as the customer.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::config::Region;
use audit_log_aws::sdk::s3;
use audit_log_aws::sdk::s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};

use crate::{LocalAws, REGION};

#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    region: String,
    s3: s3::Client,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredObject {
    pub key: String,
    /// In bytes.
    pub size: u64,
}

/// A downloaded object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: Vec<u8>,
    pub content_type: Option<String>,
    /// If this is set, clients decompress the object by themselves.
    pub content_encoding: Option<String>,
    /// As in `x-amz-server-side-encryption`.
    pub encryption: Option<String>,
    /// The customer's KMS key, if one encrypts the object.
    pub kms_key: Option<String>,
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

impl Bucket {
    /// An existing bucket in [`REGION`].
    #[must_use]
    pub fn new(aws: &LocalAws, account: &str, name: &str) -> Self {
        Self::in_region(aws, account, name, REGION)
    }

    pub async fn create(aws: &LocalAws, account: &str, name: &str, region: &str) -> Result<Self> {
        let bucket = Self::in_region(aws, account, name, region);
        let constraint = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(bucket.region.as_str()))
            .build();
        // S3 refuses a constraint that names us-east-1.
        let constraint = Some(constraint).filter(|_| bucket.region != "us-east-1");
        bucket.s3.create_bucket().bucket(name).set_create_bucket_configuration(constraint).send().await?;
        Ok(bucket)
    }

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

    /// Deletes all objects.
    pub async fn empty(&self) -> Result<()> {
        for object in self.objects().await? {
            self.s3.delete_object().bucket(&self.name).key(object.key).send().await?;
        }
        Ok(())
    }

    pub async fn enable_versioning(&self) -> Result<()> {
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        self.s3.put_bucket_versioning().bucket(&self.name).versioning_configuration(versioning).send().await?;
        Ok(())
    }

    /// The `ETag`s of all versions of all objects, by key, the latest first; needs [`Self::enable_versioning`]. Objects that
    /// were stored in the same way with the same bytes have the same `ETag`. It is an error if an object was deleted.
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

    pub async fn get(&self, key: &str) -> Result<Object> {
        let answer = self.s3.get_object().bucket(&self.name).key(key).send().await;
        let answer = answer.with_context(|| format!("getting {key} from {}", self.name))?;
        Ok(Object {
            content_type: answer.content_type,
            content_encoding: answer.content_encoding,
            encryption: answer.server_side_encryption.map(|encryption| encryption.as_str().to_owned()),
            kms_key: answer.ssekms_key_id,
            metadata: answer.metadata.unwrap_or_default().into_iter().collect(),
            bytes: answer.body.collect().await?.to_vec(),
        })
    }

    /// Copies all objects under a key prefix into a folder, as `aws s3 sync` does.
    pub async fn download(&self, prefix: &str, folder: &Path) -> Result<()> {
        for object in self.objects().await? {
            let Some(path) = object.key.strip_prefix(prefix) else { continue };
            let file = folder.join(path);
            fs::create_dir_all(file.parent().context("a file without a folder")?)?;
            fs::write(file, self.get(&object.key).await?.bytes)?;
        }
        Ok(())
    }

    fn in_region(aws: &LocalAws, account: &str, name: &str, region: &str) -> Self {
        let config = aws.sdk_config(account).into_builder().region(Region::new(region.to_owned())).build();
        Self { name: name.to_owned(), region: region.to_owned(), s3: s3::Client::new(&config) }
    }
}

/// Whether an object holds events. All others are in a folder of their own.
#[must_use]
pub fn is_data(key: &str) -> bool {
    !key.contains("/_audit-log-export/")
}

pub fn gunzip(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}
