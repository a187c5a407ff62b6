//! The deployed customers' template: which role may assume the customer's, and what that may do.

use std::path::Path;

use anyhow::{Context as _, Error, Result, ensure};
use audit_log_aws::sdk::credentials::Credentials;
use audit_log_aws::sdk::s3::primitives::ByteStream;
use audit_log_aws::sdk::sts::error::ProvideErrorMetadata as _;
use audit_log_aws::sdk::{s3, sts};
use audit_log_tests::{
    Bucket, CustomerStack, LocalAws, PLATFORM_ACCOUNT, REGION, StoredObject, create_templates_bucket, delete_stack,
    project, quick_create, tools,
};
use serde_json::json;

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
        let path = format!("{}:/usr/bin:/bin", project::repository().join(".tools/venv/bin").display());
        let mut publish = tokio::process::Command::new(copy.join("publish"));
        publish.args(place).env_clear().env("PATH", path).env("HOME", aws.directory()).envs(aws.env(PLATFORM_ACCOUNT));
        tools::run(&mut publish).await
    };
    let folder = aws.directory().join("published");
    let folder = folder.to_str().context("a path isn't text")?;
    let places = [["bucket", "our-templates"], ["folder", folder]];
    for place in places {
        let first = publish(place).await?;
        let files = first.lines().filter(|line| !line.starts_with("CustomerTemplateUrl="));
        let paths = files.map(|line| line.rsplit('/').take(2).collect::<Vec<_>>());
        let expected = ["v1.2.0.yaml", "v1.2.0.tf"].map(|file| vec![file, "audit-log-export-role"]);
        assert_eq!(paths.collect::<Vec<_>>(), expected, "{first}");
        assert_eq!(publish(place).await?, first, "publishing the same again changes nothing");
    }
    for (extension, content_type) in [("yaml", "application/yaml"), ("tf", "text/plain")] {
        let source = copy.join(format!("audit-log-export-role.{extension}"));
        let published = std::fs::read(&source)?;
        std::fs::write(&source, [&published[..], b"# changed\n"].concat())?;
        for place in places {
            let refused = publish(place).await.err().context("overwritten")?.to_string();
            let named = format!("v1.2.0.{extension} exists and is not this file");
            assert!(refused.contains(&named) && refused.contains("Raise TemplateVersion"), "{refused}");
        }
        std::fs::write(&source, &published)?;
        let path = format!("audit-log-export-role/v1.2.0.{extension}");
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
    let url = |bucket| format!("{}/{bucket}/audit-log-export-role/v1.2.0.yaml", aws.endpoint());

    let refused = publish("private-templates").await.err().context("published where no one can read it")?.to_string();
    let expected = format!("Customers can't read {}: without credentials, S3 answers 403.", url("private-templates"));
    assert!(refused.contains(&expected) && refused.contains("docs/deployment.md"), "{refused}");
    assert!(!refused.contains("CustomerTemplateUrl="), "{refused}");

    let printed = publish("our-templates").await?;
    let s3 = s3::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let key = "audit-log-export-role/v1.2.0.yaml";
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
