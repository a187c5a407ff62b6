//! What a customer's admin makes the role with: a link into the CloudFormation console, commands for the AWS CLI, or a
//! Terraform file. All three are filled in, and make the same role.
//!
//! The texts that they are made from stand in `cloudformation/`, where customers read them too.

use std::borrow::Cow;

use serde_json::json;
use shlex::Quoter;
use url::form_urlencoded;

use crate::tenant::{BucketName, ExternalId, KmsKeyArn, Platform, Prefix, Region};

#[cfg(any(test, feature = "test-util"))]
pub mod evaluate;
mod terraform;
#[cfg(test)]
mod tests;

/// The CloudFormation template of the customer's stack.
pub const TEMPLATE: &str = include_str!("../../../cloudformation/audit-log-export-role.yaml");

/// The same role as a Terraform file, nothing filled in.
pub const TERRAFORM: &str = include_str!("../../../cloudformation/audit-log-export-role.tf");

/// The name under which the template is downloaded, where it isn't published.
pub const TEMPLATE_FILE: &str = "audit-log-export-role.yaml";

/// The name of the stack, in the link and in the commands.
const STACK: &str = "audit-log-export";

/// What a customer's role is made from.
#[derive(Debug, Clone)]
pub struct RoleSetup<'a> {
    /// Who delivers. The customer's account is in the same partition.
    pub platform: &'a Platform,
    /// The name of the exporter's role in the platform's account.
    pub role_name: &'a str,
    /// Where the stack is created: the bucket's region where that is known, else the platform's.
    pub region: Region,
    /// Where [`TEMPLATE`] is published in S3, an `https` URL; `None` where it isn't.
    pub template_url: Option<&'a str>,
    /// What the role asks for when it is assumed.
    pub external_id: &'a ExternalId,
    /// The customer's bucket, where it is known.
    pub bucket: Option<&'a BucketName>,
    /// The folder in it.
    pub prefix: Option<&'a Prefix>,
    /// The key that encrypts it.
    pub kms_key: Option<&'a KmsKeyArn>,
}

/// A value that is filled in, under both its names.
struct Parameter<'a> {
    cloudformation: &'static str,
    terraform: &'static str,
    value: &'a str,
}

impl RoleSetup<'_> {
    /// A link to the console's page *Quick create stack*, by "Create quick-create links for stacks" in the
    /// CloudFormation user guide. It takes only published templates: `None` where this one isn't.
    pub fn quick_create_url(&self) -> Option<String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("templateURL", self.template_url?).append_pair("stackName", STACK);
        for parameter in self.parameters() {
            query.append_pair(&format!("param_{}", parameter.cloudformation), parameter.value);
        }
        // In a fragment, a plus is no space. One that was a plus is %2B by now.
        let query = query.finish().replace('+', "%20");
        let (host, region) = (self.region.console_host(), self.region);
        Some(format!("https://{host}/cloudformation/home?region={region}#/stacks/quickcreate?{query}"))
    }

    /// Commands for bash that create the stack, wait for it and print the role's ARN in their last line. Where the
    /// bucket isn't known, they begin with a variable to fill in, and do nothing until it is. Where the template isn't
    /// published, they read [`TEMPLATE_FILE`] from the current directory.
    pub fn cli(&self) -> String {
        let place = format!("--stack-name {STACK} --region {}", self.region);
        let template = match self.template_url {
            Some(url) => format!("--template-url {}", quoted(url)),
            None => format!("--template-body file://{TEMPLATE_FILE}"),
        };
        // Each parameter is a JSON object: in the shorthand, an external ID with a comma would end there.
        let object = |name: &str, value: &str| json!({ "ParameterKey": name, "ParameterValue": value }).to_string();
        let mut parameters: Vec<String> = self
            .parameters()
            .iter()
            .map(|parameter| quoted(&object(parameter.cloudformation, parameter.value)).into_owned())
            .collect();
        let mut variables = "";
        if self.bucket.is_none() {
            // No apostrophe, which an interactive zsh would take for a quote even here.
            variables = "# The name of the bucket that receives the audit logs. It must exist.\nBUCKET=\n\n";
            let given = r#"'"${BUCKET:?fill in the name of your bucket after BUCKET= in the first lines}"'"#;
            parameters.push(format!("'{}'", object("BucketName", "@").replace('@', given)));
        }
        let parameters = parameters.join(" \\\n    ");
        format!(
            "{variables}aws cloudformation create-stack {place} \\\n  {template} \\\n  \
             --capabilities CAPABILITY_NAMED_IAM \\\n  --parameters \\\n    {parameters} &&\n\
             aws cloudformation wait stack-create-complete {place} &&\n\
             aws cloudformation describe-stacks {place} \\\n  \
             --query \"Stacks[0].Outputs[?OutputKey=='RoleArn'].OutputValue\" --output text\n"
        )
    }

    /// [`TERRAFORM`] with the values as its variables' defaults: one file to apply as it is, or to use as a module.
    /// Where the bucket isn't known, Terraform asks for it.
    pub fn terraform(&self) -> String {
        let parameters = self.parameters();
        let mut values: Vec<_> = parameters.iter().map(|parameter| (parameter.terraform, parameter.value)).collect();
        values.push(("partition", self.platform.partition.as_str()));
        terraform::filled_in(&values)
    }

    /// All that is known, and nothing blank.
    fn parameters(&self) -> Vec<Parameter<'_>> {
        let all = [
            ("BucketName", "bucket_name", self.bucket.map(BucketName::as_str)),
            ("BucketPrefix", "bucket_prefix", self.prefix.map(Prefix::as_str)),
            ("KmsKeyArn", "kms_key_arn", self.kms_key.map(KmsKeyArn::as_str)),
            ("ExternalId", "external_id", Some(self.external_id.as_str())),
            ("ProviderAccountId", "provider_account_id", Some(self.platform.account.as_str())),
            ("ProviderRoleName", "provider_role_name", Some(self.role_name)),
        ];
        let known = all.into_iter().filter_map(|(cloudformation, terraform, value)| {
            Some(Parameter { cloudformation, terraform, value: value.filter(|value| !value.is_empty())? })
        });
        known.collect()
    }
}

/// A word as a shell takes it. A NUL is the one thing that could be refused, and no shell could pass it on either.
fn quoted(word: &str) -> Cow<'_, str> {
    Quoter::new().allow_nul(true).quote(word).unwrap_or_default()
}
