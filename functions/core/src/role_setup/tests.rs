//! The three ways to create the role against each other and against the files that they are made from.

mod alarm_and_table;
mod template;
mod terraform;
mod validation;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::{
    object::tenant_folder,
    tenant::{AccountId, Partition},
};
use template::{Stack, template};
use terraform::evaluate;
use validation::{template_accepts, terraform_accepts};

/// Valid values with as many special characters as possible.
const EXTERNAL_ID: &str = "A-z_0+=,.@:/";
const PREFIX: &str = "it's(ok)!/a.b";
const ROLE: &str = "our_exporter+=,.@-1";
const TEMPLATE_URL: &str = "https://templates.s3.amazonaws.com/of ours/v1.0.0.yaml?a=1&b=+#c";

/// A tenant's values; a test passes some of them.
struct Tenant {
    id: TenantId,
    platform: Platform,
    region: Region,
    external_id: ExternalId,
    bucket: BucketName,
    prefix: Prefix,
    kms_key: KmsKeyArn,
}

impl Tenant {
    fn in_region(name: &str) -> Self {
        let region = Region::parse(name).unwrap();
        let partition = region.partition();
        let key = format!("arn:{partition}:kms:{region}:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab");
        Self {
            id: TenantId::parse("acme_eu").unwrap(),
            platform: Platform { account: AccountId::parse("111111111111").unwrap(), partition },
            region,
            external_id: ExternalId::parse(EXTERNAL_ID).unwrap(),
            bucket: BucketName::parse("acme-audit-logs").unwrap(),
            prefix: Prefix::parse(PREFIX).unwrap(),
            kms_key: KmsKeyArn::parse(&key).unwrap(),
        }
    }

    /// The values before the bucket is known.
    fn without_bucket(&self) -> RoleSetup<'_> {
        RoleSetup {
            tenant: &self.id,
            platform: &self.platform,
            role_name: ROLE,
            region: self.region,
            template_url: Some(TEMPLATE_URL),
            external_id: &self.external_id,
            bucket: None,
            prefix: None,
            kms_key: None,
            create_bucket: false,
            frequency: None,
        }
    }

    fn all(&self) -> RoleSetup<'_> {
        RoleSetup {
            bucket: Some(&self.bucket),
            prefix: Some(&self.prefix),
            kms_key: Some(&self.kms_key),
            create_bucket: true,
            frequency: Frequency::parse("24").ok(),
            ..self.without_bucket()
        }
    }
}

/// The page of a link's fragment, and the names and values after it.
fn in_link(url: &Url) -> (String, BTreeMap<String, String>) {
    let (page, query) = url.fragment().unwrap().split_once('?').unwrap();
    assert!(!query.contains('+'), "readers differ about a plus: {query}");
    (page.to_owned(), form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// The commands' parameters, as a shell and then the AWS CLI read them.
fn in_cli(commands: &str) -> BTreeMap<String, String> {
    let words = shlex::split(commands).unwrap();
    let objects = words.iter().filter(|word| word.starts_with('{'));
    let parameters = objects.map(|object| serde_json::from_str::<Value>(object).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    parameters.map(|object| (text(&object["ParameterKey"]), text(&object["ParameterValue"]))).collect()
}

/// The parameters of each way for [`Tenant::all`].
fn expected(tenant: &Tenant) -> BTreeMap<String, String> {
    let values = [
        ("BucketName", "acme-audit-logs"),
        ("BucketPrefix", PREFIX),
        ("KmsKeyArn", tenant.kms_key.as_str()),
        ("CreateBucket", "true"),
        ("TenantId", "acme_eu"),
        ("ExternalId", EXTERNAL_ID),
        ("ProviderAccountId", "111111111111"),
        ("ProviderRoleName", ROLE),
        ("AlarmAfterHours", "27"),
    ];
    values.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn the_link_opens_the_partitions_console_with_exactly_these_values() {
    for (region, host) in [
        ("eu-west-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("eusc-de-east-1", "console.amazonaws-eusc.eu"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ] {
        let tenant = Tenant::in_region(region);
        let url = Url::parse(&tenant.all().quick_create_url().unwrap()).unwrap();
        assert_eq!(url.origin().ascii_serialization(), format!("https://{region}.{host}"));
        assert_eq!((url.path(), url.query()), ("/cloudformation/home", Some(format!("region={region}").as_str())));
        let (page, values) = in_link(&url);
        assert_eq!(page, "/stacks/quickcreate");
        let mut whole: BTreeMap<_, _> =
            expected(&tenant).into_iter().map(|(name, value)| (format!("param_{name}"), value)).collect();
        whole.insert("templateURL".to_owned(), TEMPLATE_URL.to_owned());
        whole.insert("stackName".to_owned(), tenant.all().stack_name());
        assert_eq!(values, whole);
    }
    assert_eq!(Tenant::in_region("us-iso-east-1").all().quick_create_url(), None, "its console is not public");
}

#[test]
fn the_commands_pass_exactly_these_values() {
    let tenant = Tenant::in_region("eu-west-1");
    assert_eq!(in_cli(&tenant.all().cli()), expected(&tenant));
}

/// The stack's name for a tenant's id, and a platform's account and role.
fn stack_name(id: &str, account: &str, role_name: &str) -> String {
    let (id, account) = (TenantId::parse(id).unwrap(), AccountId::parse(account).unwrap());
    let tenant = Tenant::in_region("eu-west-1");
    let platform = Platform { account, ..tenant.platform.clone() };
    RoleSetup { tenant: &id, platform: &platform, role_name, ..tenant.all() }.stack_name()
}

#[test]
fn the_stacks_of_several_tenants_and_platforms_fit_into_one_account() {
    let name = stack_name("acme", "111111111111", "exporter");
    // printf aws/111111111111/exporter/acme | sha256sum
    assert_eq!(name, "audit-log-export-acme-c6d71e48");
    for (id, account, role) in [
        ("acme-eu", "111111111111", "exporter"),
        ("Acme", "111111111111", "exporter"),
        ("acme", "999999999999", "exporter"),
        ("acme", "111111111111", "exporter-2"),
    ] {
        assert_ne!(stack_name(id, account, role), name, "{id} {account} {role}");
    }
    let tenant = Tenant::in_region("eu-west-1");
    let commands = tenant.all().cli() + &tenant.all().update_cli();
    let words = shlex::split(&commands).unwrap();
    let names = words.windows(2).filter(|pair| pair[0] == "--stack-name").map(|pair| pair[1].clone());
    assert_eq!(names.collect::<Vec<_>>(), vec![stack_name("acme_eu", "111111111111", ROLE); 6]);
}

#[test]
fn another_external_id_does_not_rename_the_stack() {
    let tenant = Tenant::in_region("eu-west-1");
    let another = ExternalId::parse("another").unwrap();
    let rotated = RoleSetup { external_id: &another, ..tenant.all() };
    assert_eq!(rotated.stack_name(), tenant.all().stack_name());
}

proptest! {
    #[test]
    fn every_tenant_has_a_valid_stack_name_of_its_own(id in "[A-Za-z0-9_-]{1,64}") {
        let of = |id: &str| stack_name(id, "111111111111", ROLE);
        let name = of(&id);
        prop_assert!(name.len() <= 128 && name.starts_with(|first: char| first.is_ascii_alphabetic()), "{}", name);
        prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{}", name);
        for (from, to) in [('_', "-"), ('-', "_")] {
            let like = id.replace(from, to);
            prop_assert!(like == id || of(&like) != name, "{} is also {}'s", name, like);
        }
    }
}

/// The values that an update sets, and the query for the parameters that keep theirs.
fn in_update(role_setup: &RoleSetup<'_>) -> (BTreeMap<String, String>, String) {
    let commands = role_setup.update_cli();
    let (update, rest) = commands.split_once("$(").unwrap();
    let words = shlex::split(update).unwrap();
    assert!(words.windows(2).any(|pair| pair == ["--template-url", TEMPLATE_URL]), "{words:?}");
    let (describe, _) = rest.split_once(") &&").unwrap();
    (in_cli(update), shlex::split(describe).unwrap().pop().unwrap())
}

#[test]
fn an_update_sets_tenant_external_id_and_saved_prefix_and_keeps_what_else_the_stack_has() {
    let tenant = Tenant::in_region("eu-west-1");
    for (role_setup, prefix) in [
        (tenant.all(), Some(PREFIX)),
        (RoleSetup { prefix: None, ..tenant.all() }, Some("")),
        (tenant.without_bucket(), None),
    ] {
        let values = [("TenantId", Some("acme_eu")), ("ExternalId", Some(EXTERNAL_ID)), ("BucketPrefix", prefix)];
        let values = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let values: BTreeMap<_, _> = values.collect();
        let (set, kept) = in_update(&role_setup);
        assert_eq!(set, values);
        assert!(values.keys().all(|name| kept.contains(&format!("ParameterKey != '{name}'"))), "{kept}");
        assert_eq!(kept.matches("!=").count(), values.len(), "{kept}");
        assert!(
            kept.ends_with(r#".join('', ['{"ParameterKey":"', ParameterKey, '","UsePreviousValue":true}'])"#),
            "{kept}"
        );
    }
}

/// A stack of version 1.0.0 without a prefix had a role for the whole bucket, and the settings may have a prefix.
#[test]
fn an_updated_role_may_write_where_the_settings_deliver_whatever_the_stack_had() {
    let tenant = Tenant::in_region("eu-west-1");
    for before in ["", "it's(ok)!", PREFIX, "other"] {
        let role_setup = tenant.all();
        let mut parameters = in_cli(&role_setup.cli());
        parameters.insert("BucketPrefix".to_owned(), before.to_owned());
        parameters.extend(in_update(&role_setup).0);
        let role = Stack::new(&parameters, tenant.region).role();
        let resource = &role["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"];
        let folder = tenant_folder(&tenant.prefix, &tenant.id);
        assert_eq!(*resource, format!("arn:aws:s3:::acme-audit-logs/{folder}*"), "{before:?}");
    }
}

#[test]
fn an_unpublished_template_has_no_link_and_is_read_from_a_file() {
    let tenant = Tenant::in_region("eu-west-1");
    let unpublished = RoleSetup { template_url: None, ..tenant.all() };
    assert_eq!(unpublished.quick_create_url(), None);
    let option = |role_setup: &RoleSetup<'_>, name: &str| {
        let words = shlex::split(&role_setup.cli()).unwrap();
        words.iter().position(|word| word == name).map(|at| words[at + 1].clone())
    };
    assert_eq!(option(&unpublished, "--template-body").as_deref(), Some("file://audit-log-export-role.yaml"));
    assert_eq!(option(&unpublished, "--template-url"), None);
    assert_eq!(option(&tenant.all(), "--template-url").as_deref(), Some(TEMPLATE_URL));
    assert_eq!(option(&tenant.all(), "--template-body"), None);
}

#[test]
fn each_way_fills_in_every_required_parameter_and_no_unknown_one() {
    let template = template();
    let declared = template["Parameters"].as_object().unwrap();
    let required: BTreeSet<_> =
        declared.iter().filter(|(_, parameter)| parameter.get("Default").is_none()).map(|(name, _)| name).collect();
    let tenant = Tenant::in_region("eu-west-1");
    for role_setup in [tenant.without_bucket(), tenant.all()] {
        let url = Url::parse(&role_setup.quick_create_url().unwrap()).unwrap();
        let mut linked: BTreeSet<_> =
            in_link(&url).1.keys().filter_map(|name| name.strip_prefix("param_").map(str::to_owned)).collect();
        assert_eq!(linked.contains("BucketName"), role_setup.bucket.is_some());
        // The console's page asks for the bucket.
        linked.insert("BucketName".to_owned());
        for names in [linked, in_cli(&role_setup.cli()).into_keys().collect()] {
            assert!(required.iter().all(|name| names.contains(*name)), "{required:?} in {names:?}");
            assert!(names.iter().all(|name| declared.contains_key(name)), "{names:?}");
        }
    }
}

#[test]
fn commands_and_terraform_ask_for_an_unknown_bucket() {
    let tenant = Tenant::in_region("eu-west-1");
    let (cli, terraform) = (tenant.without_bucket().cli(), tenant.without_bucket().terraform());
    assert!(cli.contains("\nBUCKET=\n"), "{cli}");
    assert!(in_cli(&cli)["BucketName"].starts_with("${BUCKET:?"), "{cli}");
    let error = evaluate(&terraform, &[]).unwrap_err().to_string();
    assert!(error.contains("bucket_name"), "{error}");
    assert!(evaluate(&terraform, &[("bucket_name", "acme-audit-logs")]).is_ok());
    assert!(!tenant.all().cli().contains("BUCKET"));
}

#[test]
fn terraform_and_cloudformation_create_the_same_role() {
    let policy = |json: &Value| serde_json::from_str::<Value>(json.as_str().unwrap()).unwrap();
    for partition in Partition::ALL {
        let region = Region::all().find(|region| region.partition() == *partition).unwrap();
        let tenant = Tenant::in_region(region.as_str());
        for (role_setup, id) in [
            tenant.all(),
            RoleSetup { prefix: None, ..tenant.all() },
            RoleSetup { kms_key: None, ..tenant.all() },
            RoleSetup { prefix: None, kms_key: None, ..tenant.all() },
        ]
        .into_iter()
        .flat_map(|role_setup| [(role_setup.clone(), "acme_eu"), (role_setup, "")])
        {
            let mut parameters = in_cli(&role_setup.cli());
            parameters.insert("TenantId".to_owned(), id.to_owned());
            let stack = Stack::new(&parameters, role_setup.region).role();
            let made = evaluate(&role_setup.terraform(), &[("tenant_id", id)]).unwrap();
            let (role, rights) =
                (&made["aws_iam_role"]["audit_log_export"], &made["aws_iam_role_policy"]["audit_log_export"]);
            assert_eq!(policy(&role["assume_role_policy"]), stack["AssumeRolePolicyDocument"]);
            let inline = json!([{ "PolicyName": rights["name"], "PolicyDocument": policy(&rights["policy"]) }]);
            assert_eq!(inline, stack["Policies"]);
            assert_eq!(role["description"], stack["Description"]);
            assert_eq!(role["max_session_duration"], stack["MaxSessionDuration"]);
            assert_eq!((&role["permissions_boundary"], stack.get("PermissionsBoundary")), (&Value::Null, None));
            assert_eq!(role["name_prefix"], "audit-log-export-");
            assert_eq!((&rights["role"], &made["output"]["role_arn"]), (&json!("<id>"), &json!("<arn>")));
            let statements = stack["Policies"][0]["PolicyDocument"]["Statement"].as_array().map(Vec::len);
            assert_eq!(statements, Some(1 + usize::from(role_setup.kms_key.is_some())));
        }
    }
}

#[test]
fn terraform_and_cloudformation_make_the_same_bucket_if_it_is_asked_for() {
    let policy = |json: &Value| serde_json::from_str::<Value>(json.as_str().unwrap()).unwrap();
    let tenant = Tenant::in_region("eu-west-1");
    for role_setup in [tenant.all(), RoleSetup { kms_key: None, ..tenant.all() }] {
        let stack = Stack::new(&in_cli(&role_setup.cli()), role_setup.region);
        let made = evaluate(&role_setup.terraform(), &[]).unwrap();
        let resource = |kind: &str| &made[kind]["audit_logs"];
        assert_eq!(resource("aws_s3_bucket")["bucket"], "acme-audit-logs");
        let blocks = &stack.properties("Bucket")["PublicAccessBlockConfiguration"];
        for (there, here) in [
            ("block_public_acls", "BlockPublicAcls"),
            ("block_public_policy", "BlockPublicPolicy"),
            ("ignore_public_acls", "IgnorePublicAcls"),
            ("restrict_public_buckets", "RestrictPublicBuckets"),
        ] {
            assert_eq!(resource("aws_s3_bucket_public_access_block")[there], blocks[here], "{there}");
        }
        assert_eq!(
            policy(&resource("aws_s3_bucket_policy")["policy"]),
            stack.properties("BucketPolicy")["PolicyDocument"]
        );
        let encryption = &stack.properties("Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        let by_default = &encryption["ServerSideEncryptionByDefault"];
        assert_eq!(by_default["KMSMasterKeyID"].as_str(), role_setup.kms_key.map(KmsKeyArn::as_str));
        let without = RoleSetup { create_bucket: false, ..role_setup };
        assert!(!in_cli(&without.cli()).contains_key("CreateBucket"));
        let made = evaluate(&without.terraform(), &[]).unwrap();
        assert!(made.as_object().unwrap().keys().all(|kind| !kind.contains("s3")), "{made}");
    }
    assert_eq!(
        Stack::new(&in_cli(&tenant.all().cli()), tenant.region).properties("Bucket")["NotificationConfiguration"],
        json!({ "EventBridgeConfiguration": { "EventBridgeEnabled": true } })
    );
    let made = evaluate(&tenant.all().terraform(), &[]).unwrap();
    assert_eq!(made["aws_s3_bucket_notification"]["audit_logs"]["eventbridge"], true);
    for setting in ["status = \"Enabled\"", "days_after_initiation = 7", "object_ownership = \"BucketOwnerEnforced\""] {
        assert!(TERRAFORM.contains(setting), "{setting}");
    }
}

#[test]
fn filling_in_the_file_has_the_effect_of_passing_the_values() {
    let tenant = Tenant::in_region("cn-north-1");
    let given = [
        ("bucket_name", "acme-audit-logs"),
        ("bucket_prefix", PREFIX),
        ("kms_key_arn", tenant.kms_key.as_str()),
        ("create_bucket", "true"),
        ("bucket_region", "cn-north-1"),
        ("tenant_id", "acme_eu"),
        ("external_id", EXTERNAL_ID),
        ("provider_account_id", "111111111111"),
        ("provider_role_name", ROLE),
        ("partition", Partition::AwsCn.as_str()),
        ("alarm_after_hours", "27"),
    ];
    assert_eq!(evaluate(&tenant.all().terraform(), &[]).unwrap(), evaluate(TERRAFORM, &given).unwrap());
    assert!(evaluate(TERRAFORM, &[]).is_err(), "the file has a tenant's value");
}

#[test]
fn the_terraform_file_has_the_variables_and_rules_of_the_template() {
    let template = template();
    let body = hcl::parse(TERRAFORM).unwrap();
    let variables = body.blocks().filter(|block| block.identifier() == "variable");
    let mut names: BTreeSet<_> = variables.map(|block| block.labels()[0].as_str().replace('_', "")).collect();
    for known in ["partition", "bucketregion"] {
        assert!(names.remove(known), "CloudFormation knows the {known}");
    }
    for (name, declared) in template["Parameters"].as_object().unwrap() {
        // In Terraform the role's name is generated.
        let elsewhere = name == "RoleName";
        assert_ne!(names.remove(&name.to_lowercase()), elsewhere, "{name}");
        let pattern = declared["AllowedPattern"].as_str().unwrap_or_default().replace('\\', "\\\\");
        // Terraform's regular expressions have no lookahead. A permissions boundary needs no check.
        let is_checked = !pattern.is_empty() && name != "PermissionsBoundaryArn";
        if !elsewhere && !pattern.contains("(?!") && is_checked {
            assert!(TERRAFORM.contains(&format!("can(regex(\"{pattern}\", var.")), "{name}: {pattern}");
        }
    }
    assert_eq!(names, BTreeSet::new());
    let partitions: Vec<_> = Partition::ALL.iter().map(|partition| format!("\"{partition}\"")).collect();
    assert!(TERRAFORM.contains(&format!("contains([{}], var.partition)", partitions.join(", "))), "{partitions:?}");
    let version = template["Outputs"]["TemplateVersion"]["Value"].as_str().unwrap();
    assert!(TERRAFORM.contains(&format!("\n# TemplateVersion: {version}\n")));
}

#[test]
fn every_text_stays_within_its_literal() {
    for text in ["", "plain", r#"a"b"#, r"back\slash\", "${var.x}", "%{ if true }", "$ { %", "a\n\tb", "ü $", "$${x"] {
        let read: serde_json::Value = hcl::from_str(&format!("text = {}", hcl_literal(text))).unwrap();
        assert_eq!(read["text"], text, "{}", hcl_literal(text));
    }
}

/// The resource that the role may write to.
fn writable(prefix: Option<&Prefix>, id: &str) -> String {
    let tenant = Tenant::in_region("eu-west-1");
    let mut parameters = in_cli(&RoleSetup { prefix, ..tenant.all() }.cli());
    parameters.insert("TenantId".to_owned(), id.to_owned());
    let role = Stack::new(&parameters, tenant.region).role();
    role["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"].as_str().unwrap().to_owned()
}

#[test]
fn the_role_is_limited_to_the_tenants_folder_and_without_the_tenant_to_the_folder_of_all() {
    let tenant = Tenant::in_region("eu-west-1");
    for prefix in [None, Some(&tenant.prefix)] {
        let folder = tenant_folder(prefix.unwrap_or(&Prefix::default()), &tenant.id);
        assert_eq!(writable(prefix, "acme_eu"), format!("arn:aws:s3:::acme-audit-logs/{folder}*"));
        let of_all = folder.replace("tenant=acme_eu/", "");
        assert_eq!(writable(prefix, ""), format!("arn:aws:s3:::acme-audit-logs/{of_all}*"));
    }
}

const PREFIXES: &[&str] = &[
    "",
    "security",
    "security/saas",
    "it's(ok)!",
    "...",
    ".hidden/..a",
    "a/b/c",
    "/security",
    "security/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/.",
    "./a",
    "*",
    "sec?rity",
    "${aws:username}",
    "a b",
    "\u{fc}",
    "a\n",
    "a\\b",
];

proptest! {
    #[test]
    fn terraform_template_and_core_accept_the_same_prefixes(text in prop_oneof![
        proptest::sample::select(PREFIXES).prop_map(str::to_owned),
        "[a./*!-]{0,8}",
        "[a/]{250,262}",
    ]) {
        // The core accepts needless slashes, and removes them.
        let core = Prefix::parse(&text).is_ok_and(|prefix| prefix.as_str() == text);
        prop_assert_eq!(template_accepts("BucketPrefix", &text), core, "{:?} in CloudFormation", text);
        prop_assert_eq!(terraform_accepts("bucket_prefix", &text), core, "{:?} in Terraform", text);
    }

    #[test]
    fn terraform_template_and_core_accept_the_same_buckets_and_tenants(text in prop_oneof![
        "[a-zA-Z0-9._/*-]{0,5}",
        "[0-9]{1,3}[.][0-9][.][0-9][.][0-9a]",
        "(xn--|sthree-|amzn-s3-demo-|a)[a-z0-9]{0,3}(-s3alias|--ol-s3|[.]mrap|--x-s3|--xa-s3|--op-s3|--table-s3|a)",
        "[a_-]{60,67}|[a.]{253,257}",
    ]) {
        let bucket = BucketName::parse(&text).is_ok();
        prop_assert_eq!(template_accepts("BucketName", &text), bucket, "{:?} in CloudFormation", text);
        prop_assert_eq!(terraform_accepts("bucket_name", &text), bucket, "{:?} in Terraform", text);
        // Blank is a stack without a tenant.
        let tenant = text.is_empty() || TenantId::parse(&text).is_ok();
        prop_assert_eq!(template_accepts("TenantId", &text), tenant, "{:?} in CloudFormation", text);
        prop_assert_eq!(terraform_accepts("tenant_id", &text), tenant, "{:?} in Terraform", text);
    }
}
