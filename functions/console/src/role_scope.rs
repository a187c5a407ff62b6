//! What a tenant's role depends on, and how to make it.

use audit_log_core::{
    role_setup::RoleSetup,
    settings::Draft,
    tenant::{BucketName, ExternalId, Frequency, KmsKeyArn, Prefix, Region, TenantId},
};

use crate::app::Deployment;

/// The settings that a role or its stack's alarm depends on. A stored field that can't be used is left out.
pub(crate) struct RoleScope {
    bucket: Option<BucketName>,
    prefix: Option<Prefix>,
    kms_key: Option<KmsKeyArn>,
    region: Option<Region>,
    frequency: Option<Frequency>,
}

impl RoleScope {
    pub(crate) fn from_draft(draft: &Draft) -> Self {
        // A new setting must be listed here, and decided: does the role depend on it?
        let Draft {
            bucket,
            region,
            prefix,
            kms_key_arn,
            frequency_hours,
            external_id: _,
            pending_external_id: _,
            role_arn: _,
            format: _,
            compression: _,
            schema: _,
            encryption: _,
            bucket_owner: _,
            event_shards: _,
            version: _,
        } = draft;
        Self {
            bucket: bucket.as_deref().and_then(|text| BucketName::parse(text).ok()),
            prefix: prefix.as_deref().and_then(|text| Prefix::parse(text).ok()),
            kms_key: kms_key_arn.as_deref().and_then(|text| KmsKeyArn::parse(text).ok()),
            region: region.as_deref().and_then(|text| Region::parse(text).ok()),
            frequency: frequency_hours.as_deref().and_then(|text| Frequency::parse(text).ok()),
        }
    }

    /// The setup of a role for a bucket that exists.
    pub(crate) fn role_setup<'a>(
        &'a self,
        deployment: &'a Deployment,
        tenant: &'a TenantId,
        external_id: &'a ExternalId,
    ) -> RoleSetup<'a> {
        RoleSetup {
            tenant,
            platform: &deployment.platform,
            role_name: &deployment.exporter_role,
            region: self.region.unwrap_or(deployment.region),
            template_url: deployment.template_url.as_deref(),
            external_id,
            bucket: self.bucket.as_ref(),
            prefix: self.prefix.as_ref(),
            kms_key: self.kms_key.as_ref(),
            create_bucket: false,
            frequency: self.frequency,
        }
    }
}
