//! How S3 encrypts a tenant's files.

use super::KmsKeyArn;

/// What the requests ask for. Source: "Protecting data with server-side encryption" in the Amazon S3 user guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// No header is sent, so the bucket's default applies. The key is the one that the bucket encrypts with, if the
    /// settings name one: a delivery may use no other.
    Bucket(Option<KmsKeyArn>),
    /// With keys of S3: `AES256`.
    SseS3,
    /// With this key: `aws:kms`.
    SseKms(KmsKeyArn),
}

impl Encryption {
    /// As in settings.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Bucket(_) => "bucket",
            Self::SseS3 => "sse-s3",
            Self::SseKms(_) => "sse-kms",
        }
    }

    pub fn kms_key(&self) -> Option<&KmsKeyArn> {
        match self {
            Self::Bucket(key) => key.as_ref(),
            Self::SseS3 => None,
            Self::SseKms(key) => Some(key),
        }
    }
}
