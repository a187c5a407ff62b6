//! The deployed customers' template: which role may assume the customer's, and what that may do.

use std::path::Path;

use anyhow::{Context as _, Error, Result, ensure};
use audit_log_aws::sdk::credentials::Credentials;
use audit_log_aws::sdk::s3::primitives::ByteStream;
use audit_log_aws::sdk::sts::error::ProvideErrorMetadata as _;
use audit_log_aws::sdk::{s3, sts};
use audit_log_core::object::{ManifestClass, ObjectSpec, key_outside_folder, key_outside_prefix};
use audit_log_core::schedule::Window;
use audit_log_core::settings::{Draft, TenantConfig};
use audit_log_core::tenant::{AccountId, Partition, Platform, Prefix, TenantId};
use audit_log_tests::{
    Bucket, CustomerStack, LocalAws, PLATFORM_ACCOUNT, REGION, StoredObject, create_templates_bucket, delete_stack,
    project, quick_create, tools, wait_until,
};
use serde_json::{Value, json};

const CUSTOMER: &str = "222222222222";
const EXTERNAL_ID: &str = "11111111-2222-4333-8444-555555555555";
const PARAMETERS: [(&str, &str); 4] = [
    ("BucketName", "acme-logs"),
    ("TenantId", "acme"),
    ("ExternalId", EXTERNAL_ID),
    ("ProviderAccountId", PLATFORM_ACCOUNT),
];

#[tokio::test]
async fn only_the_exporter_with_the_external_id_can_assume_a_customers_role() -> Result<()> {
    let aws = LocalAws::start().await?;
    let exporter = session_of(&aws, "audit-log-exporter").await?;
    let other = session_of(&aws, "some-other-role").await?;
    let stack = quick_create(&aws, CUSTOMER, "audit-log-export", &PARAMETERS).await?;

    let attempt = async |by, external_id| match assume(&aws, by, &stack, external_id).await {
        Ok(_) => "allowed".to_owned(),
        Err(code) => code,
    };
    // This call would also be refused if `aws:PrincipalArn` were the session's ARN.
    assert_eq!(attempt(&exporter, Some(EXTERNAL_ID)).await, "allowed");
    assert_eq!(attempt(&exporter, Some("a guess")).await, "AccessDenied");
    assert_eq!(attempt(&exporter, None).await, "AccessDenied");
    assert_eq!(attempt(&other, Some(EXTERNAL_ID)).await, "AccessDenied");

    delete_stack(&aws, CUSTOMER, "audit-log-export").await?;
    assert_eq!(attempt(&exporter, Some(EXTERNAL_ID)).await, "AccessDenied");
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_demands_tls_accepts_a_delivery_into_the_tenants_folder_alone() -> Result<()> {
    let aws = LocalAws::start().await?;
    let exporter = session_of(&aws, "audit-log-exporter").await?;
    let parameters = [&PARAMETERS[..], &[("CreateBucket", "true")]].concat();
    let stack = quick_create(&aws, CUSTOMER, "audit-log-export", &parameters).await?;
    let bucket = Bucket::new(&aws, CUSTOMER, &stack.outputs.bucket_name);

    let delivery = assume(&aws, &exporter, &stack, Some(EXTERNAL_ID)).await.map_err(Error::msg)?;
    let s3 = s3::Client::new(&aws.sdk_config_with(delivery));
    let put = async |key: &str| {
        let body = ByteStream::from_static(b"[]");
        s3.put_object().bucket(&stack.outputs.bucket_name).key(key).body(body).send().await
    };
    const KEY: &str = "audit-logs/tenant=acme/b.json";
    put(KEY).await?;
    // The role may do nothing else.
    for other in ["b.json", "audit-logs/b.json", "audit-logs/tenant=acme-2/b.json", "audit-logs/tenant=globex/b.json"] {
        let refused = put(other).await.err().with_context(|| format!("{other} was stored"))?;
        assert_eq!(refused.code(), Some("AccessDenied"), "{other}");
    }
    assert_eq!(bucket.objects().await?, [StoredObject { key: KEY.to_owned(), size: 2 }]);
    assert_eq!(bucket.get(KEY).await?.bytes, b"[]");
    ensure!(s3.get_object().bucket(&stack.outputs.bucket_name).key(KEY).send().await.is_err());
    Ok(())
}

#[tokio::test]
async fn two_stacks_in_one_account_have_separate_roles() -> Result<()> {
    let aws = LocalAws::start().await?;
    let exporter = session_of(&aws, "audit-log-exporter").await?;
    let first = quick_create(&aws, CUSTOMER, "first", &PARAMETERS).await?;
    let others = [("BucketName", "other-logs"), ("ExternalId", "another-id"), ("ProviderAccountId", PLATFORM_ACCOUNT)];
    let second = quick_create(&aws, CUSTOMER, "second", &others).await?;
    assert_ne!(first.outputs.role_arn, second.outputs.role_arn);
    assert!(assume(&aws, &exporter, &first, Some(EXTERNAL_ID)).await.is_ok());
    assert!(assume(&aws, &exporter, &second, Some("another-id")).await.is_ok());
    // One stack's external ID must not work for the other's role.
    assert_eq!(assume(&aws, &exporter, &second, Some(EXTERNAL_ID)).await.err().as_deref(), Some("AccessDenied"));
    Ok(())
}

/// A tenant's stack with everything that the template can make.
async fn create_with_all_options(aws: &LocalAws, tenant: &str) -> Result<CustomerStack> {
    let bucket = format!("{tenant}-logs");
    let all = [
        ("BucketName", &*bucket),
        ("BucketPrefix", "security"),
        ("CreateBucket", "true"),
        ("TenantId", tenant),
        ("ExternalId", EXTERNAL_ID),
        ("ProviderAccountId", PLATFORM_ACCOUNT),
        ("AlarmEmail", "ops@acme.example"),
        ("AlarmAfterHours", "27"),
        ("CreateGlueTable", "true"),
    ];
    quick_create(aws, CUSTOMER, &format!("stack-of-{tenant}"), &all).await
}

/// The names of all rules, alarms, topics, databases and roles in the customer's account.
async fn made(aws: &LocalAws) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for (call, list, name) in [
        (["events", "list-rules"], "Rules", "Name"),
        (["cloudwatch", "describe-alarms"], "MetricAlarms", "AlarmName"),
        (["sns", "list-topics"], "Topics", "TopicArn"),
        (["sns", "list-subscriptions"], "Subscriptions", "SubscriptionArn"),
        (["glue", "get-databases"], "DatabaseList", "Name"),
        (["iam", "list-roles"], "Roles", "RoleName"),
    ] {
        let answer = tools::aws_cli(aws, CUSTOMER, &call).await?;
        let entries = answer[list].as_array().with_context(|| format!("no {list}"))?;
        made.extend(entries.iter().filter_map(|entry| entry[name].as_str().map(str::to_owned)));
    }
    Ok(made)
}

#[tokio::test]
async fn two_stacks_with_all_options_work_in_one_account_and_leave_only_their_buckets() -> Result<()> {
    let aws = LocalAws::start().await?;
    let call = async |arguments: &[&str]| tools::aws_cli(&aws, CUSTOMER, arguments).await;
    let before = made(&aws).await?;
    for tenant in ["acme", "globex"] {
        let stack = create_with_all_options(&aws, tenant).await?;
        let resource = async |id: &str| {
            let describe = ["cloudformation", "describe-stack-resource", "--stack-name", &stack.name];
            let answer = call(&[&describe[..], &["--logical-resource-id", id]].concat()).await?;
            let name = answer["StackResourceDetail"]["PhysicalResourceId"].as_str().map(str::to_owned);
            name.with_context(|| format!("no {id}"))
        };
        let (rule, topic) = (resource("Deliveries").await?, resource("AlarmTopic").await?);
        let name = resource("DeliveriesStopped").await?;
        let alarms = call(&["cloudwatch", "describe-alarms", "--alarm-names", &name]).await?;
        let alarm = &alarms["MetricAlarms"][0];
        assert_eq!(alarm["Dimensions"], json!([{ "Name": "RuleName", "Value": rule }]), "{alarm}");
        assert_eq!((&alarm["Period"], &alarm["EvaluationPeriods"]), (&json!(3600), &json!(27)), "{alarm}");
        for actions in [&alarm["AlarmActions"], &alarm["OKActions"]] {
            assert_eq!(*actions, json!([topic]), "{alarm}");
        }
        let subscriptions = call(&["sns", "list-subscriptions-by-topic", "--topic-arn", &topic]).await?;
        assert_eq!(subscriptions["Subscriptions"][0]["Endpoint"], "ops@acme.example", "{subscriptions}");
        let database = resource("Database").await?;
        let table = call(&["glue", "get-table", "--database-name", &database, "--name", "audit_logs"]).await?;
        let template = &table["Table"]["Parameters"]["storage.location.template"];
        let folder = "security/audit-logs/tenant=${tenant}/dt=${dt}/";
        assert_eq!(*template, format!("s3://{tenant}-logs/{folder}"), "{table}");
    }
    // Per stack a rule, an alarm, a topic with a subscription, a database and a role.
    assert_eq!(made(&aws).await?.len(), before.len() + 12);
    for tenant in ["acme", "globex"] {
        delete_stack(&aws, CUSTOMER, &format!("stack-of-{tenant}")).await?;
    }
    assert_eq!(made(&aws).await?, before);
    for tenant in ["acme", "globex"] {
        assert_eq!(Bucket::new(&aws, CUSTOMER, &format!("{tenant}-logs")).objects().await?, []);
    }
    Ok(())
}

/// The settings of the tenant whose stack is [`create_with_all_options`].
fn config(tenant: &str) -> Result<TenantConfig> {
    let platform = Platform { account: AccountId::parse(PLATFORM_ACCOUNT)?, partition: Partition::Aws };
    let text = |text: &str| Some(text.to_owned());
    let draft = Draft {
        external_id: text(EXTERNAL_ID),
        role_arn: text(&format!("arn:aws:iam::{CUSTOMER}:role/delivery")),
        bucket: text("acme-logs"),
        region: text(REGION),
        prefix: text("security"),
        frequency_hours: text("24"),
        ..Draft::default()
    };
    draft.check(&TenantId::parse(tenant)?, &platform).map_err(|errors| Error::msg(format!("{errors:?}")))
}

/// The daily check stores an object. It must not keep the alarm quiet.
#[tokio::test]
async fn files_with_the_tenants_data_are_counted_and_nothing_else() -> Result<()> {
    let aws = LocalAws::start().await?;
    let call = async |arguments: &[&str]| tools::aws_cli(&aws, CUSTOMER, arguments).await;
    create_with_all_options(&aws, "acme").await?;
    // The rule has no target; this one shows what it matches.
    let queue = call(&["sqs", "create-queue", "--queue-name", "matched"]).await?;
    let queue = queue["QueueUrl"].as_str().context("no queue")?;
    let rules = call(&["events", "list-rules"]).await?;
    let rule = rules["Rules"][0]["Name"].as_str().context("no rule")?;
    let target = format!("Id=queue,Arn=arn:aws:sqs:{REGION}:{CUSTOMER}:matched");
    call(&["events", "put-targets", "--rule", rule, "--targets", &target]).await?;

    let (acme, globex, longer) = (config("acme")?, config("globex")?, config("acme-2")?);
    let window = Window { from: "2026-11-21T10:00:00Z".parse()?, to: "2026-11-22T10:00:00Z".parse()? };
    let outside = TenantConfig { prefix: Prefix::default(), ..acme.clone() };
    let others = [
        ObjectSpec::connectivity_check(&acme, window.from).key,
        ObjectSpec::manifest(&acme, window, ManifestClass::Regular).key,
        key_outside_folder(&acme.prefix, &acme.tenant),
        key_outside_prefix(&acme.prefix, &acme.tenant).context("no key")?,
        ObjectSpec::new(&globex, window, 1).key,
        ObjectSpec::new(&longer, window, 1).key,
        ObjectSpec::new(&outside, window, 1).key,
    ];
    let data = [
        ObjectSpec::new(&acme, window, 1).key,
        ObjectSpec::late(&acme, window, 1).key,
        ObjectSpec::final_delivery(&acme, window, None, 1).key,
    ];
    let s3 = s3::Client::new(&aws.sdk_config(CUSTOMER));
    for key in others.iter().chain(&data) {
        s3.put_object().bucket("acme-logs").key(key).body(ByteStream::from_static(b"[]")).send().await?;
    }
    let keys = async || {
        let receive = ["sqs", "receive-message", "--queue-url", queue, "--visibility-timeout", "0"];
        let answer = call(&[&receive[..], &["--max-number-of-messages", "10"]].concat()).await?;
        let mut keys = Vec::new();
        for message in answer["Messages"].as_array().into_iter().flatten() {
            let event: Value = serde_json::from_str(message["Body"].as_str().context("no body")?)?;
            keys.push(event["detail"]["object"]["key"].as_str().context("no key")?.to_owned());
        }
        keys.sort();
        anyhow::Ok(keys)
    };
    let mut expected = data.to_vec();
    expected.sort();
    // The last object that was stored is data: what is matched before it has arrived by then.
    let found = wait_until("the matched events", async || Ok(Some(keys().await?).filter(|it| it.len() >= data.len())));
    assert_eq!(found.await?, expected);
    Ok(())
}

#[tokio::test]
async fn an_alarm_needs_the_tenant_whose_files_it_watches() -> Result<()> {
    let aws = LocalAws::start().await?;
    let parameters = [&PARAMETERS[..1], &PARAMETERS[2..], &[("AlarmEmail", "ops@acme.example")]].concat();
    let refused = quick_create(&aws, CUSTOMER, "audit-log-export", &parameters).await.err();
    let refused = refused.context("the stack was created")?.to_string();
    ensure!(refused.contains("Enter the tenant ID"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn events_of_an_existing_bucket_are_switched_on_beside_its_notifications() -> Result<()> {
    let aws = LocalAws::start().await?;
    let call = async |arguments: &[&str]| tools::aws_cli(&aws, CUSTOMER, arguments).await;
    let commands = project::recipe("cloudformation/README.md", "eventbridge")?;
    let switch_on = async |bucket: &str| {
        let mut bash = tools::bash(&aws, CUSTOMER, &commands)?;
        tools::run(bash.env("BUCKET", bucket).current_dir(aws.directory())).await
    };
    let configuration =
        async |bucket: &str| call(&["s3api", "get-bucket-notification-configuration", "--bucket", bucket]).await;
    Bucket::create(&aws, CUSTOMER, "plain-logs", REGION).await?;
    switch_on("plain-logs").await?;
    assert_eq!(configuration("plain-logs").await?, json!({ "EventBridgeConfiguration": {} }));

    Bucket::create(&aws, CUSTOMER, "watched-logs", REGION).await?;
    let queue = format!("arn:aws:sqs:{REGION}:{CUSTOMER}:siem");
    // S3 sends a test message before it takes the configuration.
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "s3.amazonaws.com" }, "Action": "sqs:SendMessage", "Resource": queue,
    }]});
    let attributes = json!({ "Policy": policy.to_string() }).to_string();
    call(&["sqs", "create-queue", "--queue-name", "siem", "--attributes", &attributes]).await?;
    let given =
        json!({ "QueueConfigurations": [{ "Id": "siem", "QueueArn": queue, "Events": ["s3:ObjectCreated:*"] }] });
    let put = ["s3api", "put-bucket-notification-configuration", "--bucket", "watched-logs"];
    call(&[&put[..], &["--notification-configuration", &given.to_string()]].concat()).await?;
    let before = configuration("watched-logs").await?;
    for _ in 0..2 {
        switch_on("watched-logs").await?;
        let mut after = configuration("watched-logs").await?;
        assert_eq!(after["EventBridgeConfiguration"], json!({}), "{after}");
        after.as_object_mut().context("no object")?.remove("EventBridgeConfiguration");
        assert_eq!(after, before);
    }
    // Nothing is put if the notifications can't be read.
    ensure!(switch_on("no-such-bucket").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_published_version_of_the_template_never_changes() -> Result<()> {
    let aws = LocalAws::start().await?;
    create_templates_bucket(&aws, PLATFORM_ACCOUNT, "our-templates").await?;
    let templates = Bucket::new(&aws, PLATFORM_ACCOUNT, "our-templates");
    // This test changes the copy.
    let copy = aws.directory().join("cloudformation");
    std::fs::create_dir(&copy)?;
    for file in ["publish", "audit-log-export-role.yaml", "audit-log-export-role.tf"] {
        std::fs::copy(project::repository().join("cloudformation").join(file), copy.join(file))?;
    }
    let publish = async |place: [&str; 2]| {
        let mut publish = tokio::process::Command::new(copy.join("publish"));
        publish
            .args(place)
            .env_clear()
            .env("PATH", aws.path()?)
            .env("HOME", aws.directory())
            .envs(aws.env(PLATFORM_ACCOUNT));
        tools::run(&mut publish).await
    };
    let folder = aws.directory().join("published");
    let folder = folder.to_str().context("a path isn't text")?;
    let places = [["bucket", "our-templates"], ["folder", folder]];
    for place in places {
        let first = publish(place).await?;
        let files = first.lines().filter(|line| !line.starts_with("CustomerTemplateUrl="));
        let paths = files.map(|line| line.rsplit('/').take(2).collect::<Vec<_>>());
        let expected = ["v1.3.0.yaml", "v1.3.0.tf"].map(|file| vec![file, "audit-log-export-role"]);
        assert_eq!(paths.collect::<Vec<_>>(), expected, "{first}");
        assert_eq!(publish(place).await?, first, "publishing the same again changes nothing");
    }
    for (extension, content_type) in [("yaml", "application/yaml"), ("tf", "text/plain")] {
        let source = copy.join(format!("audit-log-export-role.{extension}"));
        let published = std::fs::read(&source)?;
        std::fs::write(&source, [&published[..], b"# changed\n"].concat())?;
        for place in places {
            let refused = publish(place).await.err().context("overwritten")?.to_string();
            let named = format!("v1.3.0.{extension} exists and is not this file");
            assert!(refused.contains(&named) && refused.contains("Raise TemplateVersion"), "{refused}");
        }
        std::fs::write(&source, &published)?;
        let path = format!("audit-log-export-role/v1.3.0.{extension}");
        let object = templates.get(&path).await?;
        assert_eq!((object.bytes, object.content_type.as_deref()), (published.clone(), Some(content_type)));
        assert_eq!(std::fs::read(Path::new(folder).join(path))?, published);
    }
    Ok(())
}

#[tokio::test]
async fn the_template_counts_as_published_only_if_it_can_be_read_without_credentials() -> Result<()> {
    let aws = LocalAws::start().await?;
    Bucket::create(&aws, PLATFORM_ACCOUNT, "private-templates", REGION).await?;
    create_templates_bucket(&aws, PLATFORM_ACCOUNT, "our-templates").await?;
    let publish = async |bucket: &str| {
        let script = format!("cloudformation/publish bucket {bucket}");
        tools::run(&mut tools::bash(&aws, PLATFORM_ACCOUNT, &script)?).await
    };
    let url = |bucket| format!("{}/{bucket}/audit-log-export-role/v1.3.0.yaml", aws.endpoint());

    let refused = publish("private-templates").await.err().context("published where no one can read it")?.to_string();
    let expected = format!("Customers can't read {}: without credentials, S3 answers 403.", url("private-templates"));
    assert!(refused.contains(&expected) && refused.contains("docs/deployment.md"), "{refused}");
    assert!(!refused.contains("CustomerTemplateUrl="), "{refused}");

    let printed = publish("our-templates").await?;
    let s3 = s3::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let key = "audit-log-export-role/v1.3.0.yaml";
    let version = s3.head_object().bucket("our-templates").key(key).send().await?.version_id.context("no version")?;
    let pinned = format!("{}?versionId={version}", url("our-templates"));
    assert_eq!(printed.lines().last(), Some(&*format!("CustomerTemplateUrl={pinned}")));
    // Another object under the same key doesn't change what the link creates.
    s3.put_object().bucket("our-templates").key(key).body(ByteStream::from_static(b"evil")).send().await?;
    // Without the developer's proxy.
    let http = reqwest::Client::builder().no_proxy().build()?;
    let template = http.get(&pinned).send().await?.text().await?;
    assert_eq!(
        template,
        std::fs::read_to_string(project::repository().join("cloudformation/audit-log-export-role.yaml"))?
    );
    // The policy opens only the templates' folder.
    s3.put_object().bucket("our-templates").key("notes.txt").body(ByteStream::from_static(b"")).send().await?;
    let other = http.get(format!("{}/our-templates/notes.txt", aws.endpoint())).send().await?;
    assert_eq!(other.status(), 403);
    Ok(())
}

#[tokio::test]
async fn a_stack_that_fails_says_why() -> Result<()> {
    let aws = LocalAws::start().await?;
    // Another customer has a bucket of this name.
    Bucket::create(&aws, "333333333333", "acme-logs", REGION).await?;
    let create = [&PARAMETERS[..], &[("CreateBucket", "true")]].concat();
    for (parameters, reason) in [(&create[..], "'acme-logs' already exists"), (&PARAMETERS[..1], "ExternalId")] {
        let refused = quick_create(&aws, CUSTOMER, "audit-log-export", parameters).await.err();
        let refused = refused.context("the stack was created")?.to_string();
        ensure!(refused.contains(reason), "{refused}");
    }
    Ok(())
}

/// Credentials of a role in the platform's account whose own policy allows it to assume any role.
async fn session_of(aws: &LocalAws, role: &str) -> Result<Credentials> {
    let statement = |mut statement: serde_json::Value| {
        statement["Effect"] = "Allow".into();
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let root = format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root");
    let trust = statement(json!({"Action": "sts:AssumeRole", "Principal": {"AWS": root}}));
    let rights = statement(json!({"Action": "sts:AssumeRole", "Resource": "*"}));
    let iam = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, &[&["iam"], arguments].concat()).await;
    iam(&["create-role", "--role-name", role, "--assume-role-policy-document", &trust]).await?;
    iam(&["put-role-policy", "--role-name", role, "--policy-name", "assume", "--policy-document", &rights]).await?;

    let client = sts::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let role_arn = format!("arn:aws:iam::{PLATFORM_ACCOUNT}:role/{role}");
    let session = client.assume_role().role_arn(role_arn).role_session_name("a-session").send().await?;
    credentials(session.credentials).context("no credentials")
}

/// Credentials of a customer's role, or the refusal's code.
async fn assume(
    aws: &LocalAws,
    by: &Credentials,
    stack: &CustomerStack,
    external_id: Option<&str>,
) -> Result<Credentials, String> {
    let client = sts::Client::new(&aws.sdk_config_with(by.clone()));
    let request = client.assume_role().role_arn(&stack.outputs.role_arn).role_session_name("delivery");
    match request.set_external_id(external_id.map(str::to_owned)).send().await {
        Ok(session) => credentials(session.credentials).ok_or_else(|| "no credentials".to_owned()),
        Err(refused) => Err(refused.code().unwrap_or("no code").to_owned()),
    }
}

fn credentials(session: Option<sts::types::Credentials>) -> Option<Credentials> {
    let sts::types::Credentials { access_key_id, secret_access_key, session_token, .. } = session?;
    Some(Credentials::new(access_key_id, secret_access_key, Some(session_token), None, "assumed"))
}
