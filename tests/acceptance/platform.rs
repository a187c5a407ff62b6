//! The deployed stack and the two accounts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use audit_log_core::tenant::TenantId;
use serde_json::Value;

use crate::{
    aws::{Account, list, stack, text},
    options::Options,
};

/// What a run has to do with, before anything is changed.
pub(crate) struct Deployment {
    pub(crate) platform: Account,
    pub(crate) customer: Account,
    pub(crate) platform_account: String,
    pub(crate) customer_account: String,
    pub(crate) partition: String,
    pub(crate) region: String,
    pub(crate) stack: Stack,
    pub(crate) names: Names,
}

/// The names of everything that a run makes. All are made of the run's id, so that nothing else is needed to remove it.
pub(crate) struct Names {
    pub(crate) run: String,
    pub(crate) tenant: String,
    /// Of the customer's stack, role, bucket and key, and of the rule and the queue that listen to the bus.
    pub(crate) resource: String,
}

impl Names {
    /// A run makes its tenant's id, unless it is given one.
    pub(crate) fn has_own_tenant(&self) -> bool {
        self.tenant == own_tenant(&self.run)
    }

    pub(crate) fn key_alias(&self) -> String {
        format!("alias/{}", self.resource)
    }
}

fn own_tenant(run: &str) -> String {
    format!("acceptance-{run}")
}

pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) status: String,
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    /// Logical ids with type and physical id.
    resources: BTreeMap<String, (String, String)>,
    /// Whether the API refuses requests without a secret. The parameter doesn't tell: CloudFormation masks a blank one, too.
    has_origin_secret: bool,
}

impl Stack {
    pub(crate) fn output(&self, name: &str) -> Result<&str> {
        let output = self.outputs.get(name).map(String::as_str);
        output.with_context(|| format!("the stack {} has no output {name}", self.name))
    }

    /// A parameter's value; blank if the stack has no such parameter.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The API's address, unless only an address of the platform's own leads to it.
    pub(crate) fn api_url<'a>(&'a self, own: Option<&'a str>) -> Result<&'a str> {
        let needs_own = self.has_origin_secret || self.parameter("DisableExecuteApiEndpoint") == "true";
        ensure!(
            own.is_some() || !needs_own,
            "set API_URL (--api-url): with OriginSecret or DisableExecuteApiEndpoint=true, only your own address of the API answers"
        );
        own.map_or_else(|| self.output("ApiUrl"), Ok)
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        self.parameter(name).parse().with_context(|| format!("the parameter {name}"))
    }

    /// The physical id, if the stack has that resource.
    pub(crate) fn resource(&self, logical_id: &str) -> Option<&str> {
        self.resources.get(logical_id).map(|(_, id)| id.as_str())
    }

    /// The physical ids of all resources of a type.
    pub(crate) fn resources_of_type(&self, wanted: &str) -> Vec<&str> {
        self.resources.values().filter(|(kind, _)| kind == wanted).map(|(_, id)| id.as_str()).collect()
    }

    pub(crate) fn resource_count(&self) -> usize {
        self.resources.len()
    }
}

impl Deployment {
    /// Looks both accounts and the stack up. Refuses what the product refuses later.
    pub(crate) async fn look_up(options: &Options, directory: &std::path::Path) -> Result<Self> {
        let run = options.remove.clone().unwrap_or_else(|| format!("{:08x}", rand::random::<u32>()));
        let tenant = options.tenant.clone().unwrap_or_else(|| own_tenant(&run));
        TenantId::parse(&tenant).map_err(|invalid| anyhow::anyhow!("TENANT: {invalid}"))?;

        let platform = Account::new(&options.aws, &options.platform_profile, options.region.as_deref(), directory);
        let (platform_account, partition) = identity(&platform).await.context("the profile of the platform")?;
        let described = stack(&platform, &options.stack).await?;
        let described = described.with_context(|| {
            format!(
                "the account {platform_account} has no stack {} in the profile's region (REGION=… for another)",
                options.stack
            )
        })?;
        let region = text(&described["StackId"]).split(':').nth(3).context("a stack without an ARN")?.to_owned();

        let platform = Account::new(&options.aws, &options.platform_profile, Some(&region), directory);
        let customer = Account::new(&options.aws, &options.customer_profile, Some(&region), directory);
        let (customer_account, of_customer) = identity(&customer).await.context("the profile of the customer")?;
        ensure!(
            customer_account != platform_account,
            "both profiles are of the account {platform_account}: the platform delivers into other accounts only"
        );
        ensure!(partition == of_customer, "the accounts are in two partitions, {partition} and {of_customer}");
        let resources =
            platform.call(&["cloudformation", "list-stack-resources", "--stack-name", &options.stack]).await?;
        let resources = list(&resources["StackResourceSummaries"]).iter().map(|resource| {
            let [logical, kind, id] =
                ["LogicalResourceId", "ResourceType", "PhysicalResourceId"].map(|it| text(&resource[it]).to_owned());
            (logical, (kind, id))
        });
        let outputs = pairs(&described["Outputs"], "OutputKey", "OutputValue");
        let console = outputs.get("ConsoleFunctionName").context("the stack has no output ConsoleFunctionName")?;
        let console = platform.call(&["lambda", "get-function-configuration", "--function-name", console]).await?;
        let stack = Stack {
            name: options.stack.clone(),
            status: text(&described["StackStatus"]).to_owned(),
            parameters: pairs(&described["Parameters"], "ParameterKey", "ParameterValue"),
            resources: resources.collect(),
            has_origin_secret: !text(&console["Environment"]["Variables"]["ORIGIN_SECRET"]).is_empty(),
            outputs,
        };
        let names = Names { resource: format!("audit-log-acceptance-{run}"), run, tenant };
        Ok(Self { platform, customer, platform_account, customer_account, partition, region, stack, names })
    }
}

/// The account of a profile, and its partition.
async fn identity(account: &Account) -> Result<(String, String)> {
    let identity = account.call(&["sts", "get-caller-identity"]).await?;
    let partition = text(&identity["Arn"]).split(':').nth(1).context("an identity without an ARN")?;
    Ok((text(&identity["Account"]).to_owned(), partition.to_owned()))
}

fn pairs(entries: &Value, key: &str, value: &str) -> BTreeMap<String, String> {
    list(entries).iter().map(|entry| (text(&entry[key]).to_owned(), text(&entry[value]).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_answers_only_at_an_own_address_needs_it() {
        for (has_origin_secret, disables, is_needed) in
            [(false, "false", false), (true, "false", true), (false, "true", true)]
        {
            let stack = Stack {
                name: String::new(),
                status: String::new(),
                outputs: [("ApiUrl".to_owned(), "https://api".to_owned())].into(),
                parameters: [
                    ("OriginSecret".to_owned(), "****".to_owned()),
                    ("DisableExecuteApiEndpoint".to_owned(), disables.to_owned()),
                ]
                .into(),
                resources: BTreeMap::new(),
                has_origin_secret,
            };
            assert_eq!(stack.api_url(None).is_err(), is_needed, "{has_origin_secret} {disables}");
            assert_eq!(stack.api_url(Some("https://own")).unwrap(), "https://own");
        }
    }
}
