//! What a customer creates the role with: a link into the CloudFormation console, commands for the AWS CLI, or a Terraform
//! file. All three are filled in and create the same role.
//!
//! The template and the Terraform file are in `cloudformation/`.

use std::borrow::Cow;

use serde_json::json;
use shlex::Quoter;
use url::form_urlencoded;

use crate::{
    object::sha256,
    tenant::{BucketName, ExternalId, Frequency, KmsKeyArn, Platform, Prefix, Region, TenantId},
};

#[cfg(test)]
mod tests;

/// The template of the customer's stack.
pub const TEMPLATE: &str = include_str!("../../../cloudformation/audit-log-export-role.yaml");

/// The same role as a Terraform file, without values.
pub const TERRAFORM: &str = include_str!("../../../cloudformation/audit-log-export-role.tf");

/// How much later than due a file may arrive before the customer's own alarm comes. A run that fails is tried again an hour later.
const ALARM_MARGIN_HOURS: u8 = 3;

/// The file name of the downloaded template, if the template isn't published.
pub const TEMPLATE_FILE: &str = "audit-log-export-role.yaml";

/// The file name of the downloaded Terraform file.
pub const TERRAFORM_FILE: &str = "audit-log-export-role.tf";

#[derive(Debug, Clone)]
pub struct RoleSetup<'a> {
    pub tenant: &'a TenantId,
    /// In the partition of the customer's account.
    pub platform: &'a Platform,
    /// The name of the exporter's role in the platform's account.
    pub role_name: &'a str,
    /// Where the stack is created: the bucket's region if it is known, else the platform's.
    pub region: Region,
    /// The `https` URL in S3 where [`TEMPLATE`] is published, if it is.
    pub template_url: Option<&'a str>,
    /// In a rotation the pending one.
    pub external_id: &'a ExternalId,
    pub bucket: Option<&'a BucketName>,
    pub prefix: Option<&'a Prefix>,
    pub kms_key: Option<&'a KmsKeyArn>,
    /// Whether the bucket is made along with the role, in `region`.
    pub create_bucket: bool,
    /// Decides when the customer's own alarm comes, if the customer wants one.
    pub frequency: Option<Frequency>,
}

/// A value with its names in both files.
struct Parameter {
    cloudformation: &'static str,
    terraform: &'static str,
    value: String,
}

impl RoleSetup<'_> {
    /// Returns the name of the stack, `audit-log-export-<tenant>-<8 hex digits>`, with a hyphen for each underscore of the
    /// tenant's id. One account can have the stacks of several tenants, and of several platforms whose tenants have the same
    /// id. The digits, of SHA-256 of the tenant's id and the platform's role, tell them apart. They don't depend on the
    /// external ID, which a tenant can replace.
    ///
    /// "CreateStack" in the CloudFormation API reference allows letters, digits and hyphens, up to 128.
    pub fn stack_name(&self) -> String {
        let Self { tenant, platform: Platform { account, partition }, role_name, .. } = self;
        let hash = sha256(format!("{partition}/{account}/{role_name}/{tenant}").as_bytes());
        let digits: String = hash.chars().take(8).collect();
        format!("audit-log-export-{}-{digits}", tenant.as_str().replace('_', "-"))
    }

    /// The arguments that name the stack.
    fn place(&self) -> String {
        format!("--stack-name {} --region {}", self.stack_name(), self.region)
    }

    /// The argument that names the template. Without a published one, [`TEMPLATE_FILE`] in the current directory.
    fn template(&self) -> String {
        match self.template_url {
            Some(url) => format!("--template-url {}", shell_quoted(url)),
            None => format!("--template-body file://{TEMPLATE_FILE}"),
        }
    }

    /// Returns a link to the console's page *Quick create stack*. Source: "Create quick-create links for stacks" in the
    /// CloudFormation user guide. None if the template isn't published, or the partition has no public console.
    pub fn quick_create_url(&self) -> Option<String> {
        let (host, region) = (self.region.console_host()?, self.region);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("templateURL", self.template_url?).append_pair("stackName", &self.stack_name());
        for parameter in self.parameters() {
            query.append_pair(&format!("param_{}", parameter.cloudformation), &parameter.value);
        }
        // In a fragment, a plus is not a space. A plus in a value has become %2B already.
        let query = query.finish().replace('+', "%20");
        Some(format!("https://{host}/cloudformation/home?region={region}#/stacks/quickcreate?{query}"))
    }

    /// Returns bash commands that create the stack, wait for it and print the role's ARN in the last line. Without a bucket,
    /// they begin with a variable to fill in, and fail before they create anything if it is blank. Without a published
    /// template, they read [`TEMPLATE_FILE`] from the current directory.
    pub fn cli(&self) -> String {
        let (place, template) = (self.place(), self.template());
        // As JSON objects: in the CLI's shorthand, a comma in an external ID would end the value.
        let object = |name: &str, value: &str| json!({ "ParameterKey": name, "ParameterValue": value }).to_string();
        let mut parameters: Vec<String> = self
            .parameters()
            .iter()
            .map(|parameter| shell_quoted(&object(parameter.cloudformation, &parameter.value)).into_owned())
            .collect();
        let mut variables = "";
        if self.bucket.is_none() {
            // Without apostrophes: an interactive zsh reads them as quotes even in a comment.
            variables = "# The name of the bucket that receives the audit logs. It must exist.\nBUCKET=\n\n";
            let bucket = r#"'"${BUCKET:?fill in the name of your bucket after BUCKET= in the first lines}"'"#;
            parameters.push(format!("'{}'", object("BucketName", "@").replace('@', bucket)));
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

    /// Returns bash commands that update the stack to the template, give it the tenant's id, the external ID and, with a bucket,
    /// the prefix, and wait for it. All other parameters keep their values. The stack itself says which it has: CloudFormation
    /// refuses to keep the value of a parameter that an older template didn't have ("Parameter" in its API reference).
    ///
    /// An older stack's prefix may be shorter than that of the settings: its role could write under all of its prefix. The
    /// tenant's folder is below the prefix of the settings only.
    pub fn update_cli(&self) -> String {
        let (place, template) = (self.place(), self.template());
        let prefix = self.bucket.map(|_| self.prefix.map_or("", Prefix::as_str));
        let given = [
            ("TenantId", Some(self.tenant.as_str())),
            ("ExternalId", Some(self.external_id.as_str())),
            ("BucketPrefix", prefix),
        ];
        let given: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let objects: String = given
            .iter()
            .map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value }).to_string())
            .map(|object| format!("    {} \\\n", shell_quoted(&object)))
            .collect();
        let others: Vec<_> = given.iter().map(|(name, _)| format!("ParameterKey != '{name}'")).collect();
        let others = others.join(" && ");
        format!(
            "aws cloudformation update-stack {place} \\\n  {template} \\\n  \
             --capabilities CAPABILITY_NAMED_IAM \\\n  --parameters \\\n{objects}    \
             $(aws cloudformation describe-stacks {place} --output text --query \\\n      \
             \"Stacks[0].Parameters[?{others}].join('', ['{{\\\"ParameterKey\\\":\\\"', ParameterKey, \
             '\\\",\\\"UsePreviousValue\\\":true}}'])\") &&\n\
             aws cloudformation wait stack-update-complete {place}\n"
        )
    }

    /// Returns [`TERRAFORM`] with the values as the defaults of its variables, to apply or to use as a module. Without a
    /// bucket, Terraform asks for it.
    pub fn terraform(&self) -> String {
        let parameters = self.parameters();
        let literal = |parameter: &Parameter| match parameter.terraform {
            "create_bucket" | "alarm_after_hours" => parameter.value.clone(),
            _ => hcl_literal(&parameter.value),
        };
        let mut values: Vec<_> = parameters.iter().map(|it| (it.terraform, literal(it))).collect();
        values.push(("partition", hcl_literal(self.platform.partition.as_str())));
        if self.create_bucket {
            values.push(("bucket_region", hcl_literal(self.region.as_str())));
        }
        fill_in(&values)
    }

    /// The parameters that have a value.
    fn parameters(&self) -> Vec<Parameter> {
        // Without `..`, so that a new value does not compile until it is filled in or left out.
        let Self {
            tenant,
            platform,
            role_name,
            region: _,
            template_url: _,
            external_id,
            bucket,
            prefix,
            kms_key,
            create_bucket,
            frequency,
        } = self;
        let alarm_after_hours = frequency.map(|frequency| (frequency.hours() + ALARM_MARGIN_HOURS).to_string());
        let all = [
            ("BucketName", "bucket_name", bucket.map(BucketName::as_str)),
            ("BucketPrefix", "bucket_prefix", prefix.map(Prefix::as_str)),
            ("KmsKeyArn", "kms_key_arn", kms_key.map(KmsKeyArn::as_str)),
            ("CreateBucket", "create_bucket", create_bucket.then_some("true")),
            ("TenantId", "tenant_id", Some(tenant.as_str())),
            ("ExternalId", "external_id", Some(external_id.as_str())),
            ("ProviderAccountId", "provider_account_id", Some(platform.account.as_str())),
            ("ProviderRoleName", "provider_role_name", Some(role_name)),
            ("AlarmAfterHours", "alarm_after_hours", alarm_after_hours.as_deref()),
        ];
        let known = all.into_iter().filter_map(|(cloudformation, terraform, value)| {
            let value = value.filter(|value| !value.is_empty())?.to_owned();
            Some(Parameter { cloudformation, terraform, value })
        });
        known.collect()
    }
}

/// Quotes a word for a shell. NUL alone would be refused, and no shell can pass it on.
fn shell_quoted(word: &str) -> Cow<'_, str> {
    Quoter::new().allow_nul(true).quote(word).unwrap_or_default()
}

/// Returns [`TERRAFORM`] with the literals as the defaults of its variables; all else stays, comments included.
fn fill_in(values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(TERRAFORM.len());
    let mut value = None;
    for line in TERRAFORM.lines() {
        if let Some(name) = line.strip_prefix("variable \"").and_then(|rest| rest.strip_suffix("\" {")) {
            value = values.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value);
        }
        match value {
            Some(_) if line.starts_with("  default ") => continue,
            Some(value) if line.starts_with("  type ") => {
                filled.extend([line, "\n  default     = ", value]);
            }
            _ => filled.push_str(line),
        }
        filled.push('\n');
        if line == "}" {
            value = None;
        }
    }
    filled
}

/// A string literal of HCL. Source: "Quoted templates" in the specification of HCL's native syntax.
fn hcl_literal(text: &str) -> String {
    let mut literal = String::from("\"");
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // Doubled, so that they begin no interpolation or directive.
            '$' | '%' if characters.peek() == Some(&'{') => literal.extend([character, character]),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}
