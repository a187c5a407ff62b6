//! The deployed platform template: what the local AWS accepts, but AWS would refuse or not run as intended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Error, Result, bail, ensure};
use audit_log_aws::sdk::{
    dynamodb::{
        self,
        error::ProvideErrorMetadata as _,
        types::{AttributeValue, Put, ReturnValue, TransactWriteItem},
    },
    sts,
};
use audit_log_tests::{
    LocalAws, PLATFORM_ACCOUNT, PlatformOutputs, deploy_platform, deploy_platform_with_sam, exporter_session,
    open_exporter_role, open_role, quick_create, role_session, run_on_platform, tools,
};
use serde_json::{Value, json};

#[test]
fn the_platforms_functions_share_neither_roles_nor_logs() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let (mut roles, mut logs) = (BTreeSet::new(), BTreeSet::new());
        for name in [&outputs.exporter_function_name, &outputs.console_function_name, &outputs.recorder_function_name] {
            let function = function(aws, name).await?;
            roles.insert(function["Role"].to_string());
            logs.insert(function["LoggingConfig"]["LogGroup"].to_string());
            let variables = &function["Environment"]["Variables"];
            ensure!(variables["TENANTS_TABLE"].is_string() && variables["AWS_ENDPOINT_URL"].is_null(), "{variables}");
        }
        assert_eq!((roles.len(), logs.len()), (3, 3), "{roles:?} {logs:?}");
        Ok(())
    })
}

#[test]
fn a_role_can_write_events_only_within_a_transaction() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let attribute = |text: &str| AttributeValue::S(text.to_owned());
        let item = |shard: &str| {
            HashMap::from([
                ("tenant_shard".to_owned(), attribute(shard)),
                ("recorded_at_id".to_owned(), attribute("2026-11-21T10:00:00.000Z#1")),
            ])
        };
        for name in [&outputs.recorder_function_name, &outputs.exporter_function_name, &outputs.console_function_name] {
            let function = function(aws, name).await?;
            let role = text(&function["Role"]);
            open_role(aws, role).await?;
            let client = dynamodb::Client::new(&aws.sdk_config_with(role_session(aws, role).await?));
            let put = Put::builder().table_name(&outputs.events_table_name).set_item(Some(item(name))).build()?;
            let write = TransactWriteItem::builder().put(put).build();
            client.transact_write_items().transact_items(write).send().await.with_context(|| name.clone())?;

            // It would return the event and put another in its place.
            let replace = client.put_item().table_name(&outputs.events_table_name).set_item(Some(item(name)));
            let refused = replace.return_values(ReturnValue::AllOld).send().await.err();
            let refused = refused.with_context(|| format!("{name} replaced an event"))?;
            assert_eq!(refused.code(), Some("AccessDeniedException"), "{name}: {refused:?}");
        }
        Ok(())
    })
}

/// The attacks: another function gets the exporter's role, or a session of it leaves the function.
#[test]
fn a_session_of_the_exporters_role_outside_the_function_can_assume_no_customers_role() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let parameters = [
            ("BucketName", "stolen-logs"),
            ("TenantId", "stolen"),
            ("ExternalId", "external-id-of-stolen"),
            ("ProviderAccountId", PLATFORM_ACCOUNT),
        ];
        let stack = quick_create(aws, "200000000091", "audit-log-export", &parameters).await?;
        open_exporter_role(aws, platform).await?;
        let assume = async |by| {
            let sts = sts::Client::new(&aws.sdk_config_with(by));
            let request = sts.assume_role().role_arn(&stack.outputs.role_arn).external_id("external-id-of-stolen");
            request.role_session_name("delivery").send().await.map(drop)
        };
        // This call shows that the refusal has no other reason.
        assume(exporter_session(aws, platform).await?).await?;
        let elsewhere = role_session(aws, &platform.outputs().exporter_role_arn).await?;
        let refused = assume(elsewhere).await.err().context("assumed outside of the function")?;
        assert_eq!(refused.code(), Some("AccessDenied"), "{refused:?}");
        Ok(())
    })
}

#[tokio::test]
async fn a_role_of_the_platforms_own_organization_is_refused_and_one_of_no_organization_is_not() -> Result<()> {
    let aws = &LocalAws::start().await?;
    // The local AWS creates the organization of an account that asks for it.
    let organization = tools::aws_cli(aws, "200000000092", &["organizations", "describe-organization"]).await?;
    let id = text(&organization["Organization"]["Id"]);
    let platform = deploy_platform(aws, &[("OrganizationId", id)]).await?;
    platform.store_external_id("x", "external-id-of-x").await?;
    let mut found = Vec::new();
    for account in ["200000000092", "200000000093"] {
        let parameters = [
            ("BucketName", "x-logs"),
            ("TenantId", "x"),
            ("ExternalId", "external-id-of-x"),
            ("ProviderAccountId", PLATFORM_ACCOUNT),
        ];
        let stack = quick_create(aws, account, "audit-log-export", &parameters).await?;
        let role = json!({ "tenantId": "x", "roleArn": stack.outputs.role_arn, "externalId": "external-id-of-x" });
        let answer = platform.invoke(&json!({ "verify": role })).await?;
        let step = &answer["steps"][0];
        found.push(json!([step["status"], step["code"]]));
    }
    assert_eq!(found, [json!(["failed", "config_invalid"]), json!(["passed", null])]);
    Ok(())
}

#[test]
fn the_api_routes_each_request_to_its_function_and_answers_preflights_itself() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let mut function_behind = HashMap::new();
        for integration in list(&api(aws, outputs, &["get-integrations"]).await?["Items"]) {
            let kind = ["IntegrationType", "PayloadFormatVersion"].map(|name| integration[name].as_str());
            assert_eq!(kind, [Some("AWS_PROXY"), Some("2.0")]);
            let name = integration["IntegrationUri"].as_str().and_then(|uri| uri.rsplit(':').next());
            let name = name.context("an integration without a function")?;
            // By "Quotas for HTTP APIs", an integration has 30 seconds.
            ensure!(number(&function(aws, name).await?["Timeout"]) <= 30, "{name} may answer after the API gave up");
            let policy = platform_cli(aws, &["lambda", "get-policy", "--function-name", name]).await?;
            let invoker = format!(":{}/*", outputs.api_id);
            ensure!(policy["Policy"].as_str().is_some_and(|policy| policy.contains(&invoker)), "{policy}");
            function_behind.insert(format!("integrations/{}", text(&integration["IntegrationId"])), name.to_owned());
        }
        let routes = api(aws, outputs, &["get-routes"]).await?;
        let routes: BTreeMap<_, _> = list(&routes["Items"])
            .iter()
            .map(|route| (text(&route["RouteKey"]), function_behind.get(text(&route["Target"])).map(String::as_str)))
            .collect();
        let (console, recorder) =
            (Some(outputs.console_function_name.as_str()), Some(outputs.recorder_function_name.as_str()));
        let expected = [
            ("DELETE /{proxy+}", console),
            ("GET /", console),
            ("GET /v1/events/openapi.json", recorder),
            ("GET /v1/events/schema.json", recorder),
            ("GET /{proxy+}", console),
            ("POST /v1/events", recorder),
            ("POST /{proxy+}", console),
            ("PUT /{proxy+}", console),
        ];
        assert_eq!(routes, BTreeMap::from(expected), "$default and ANY would take OPTIONS too");
        Ok(())
    })
}

#[test]
fn the_api_is_throttled_and_its_log_has_neither_tokens_nor_search_terms() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let stage = api(aws, outputs, &["get-stage", "--stage-name", "$default"]).await?;
        assert_eq!(stage["AutoDeploy"], true, "without it no route is reachable");
        let limits = ["ThrottlingRateLimit", "ThrottlingBurstLimit"].map(|name| &stage["DefaultRouteSettings"][name]);
        assert_eq!(limits, [&json!(100.0), &json!(200)]);
        // The local AWS leaves out the values, which tests/policy/properties.js checks.
        ensure!(stage["RouteSettings"]["POST /v1/events"].is_object(), "{stage}");
        let format = text(&stage["AccessLogSettings"]["Format"]);
        let fields: BTreeMap<String, String> = serde_json::from_str(format).context("a log line isn't JSON")?;
        for secret in ["path", "query", "header", "authorizer"] {
            ensure!(fields.values().all(|value| !value.to_lowercase().contains(secret)), "{format}");
        }
        Ok(())
    })
}

#[test]
fn the_ingestion_queue_retries_each_message_and_then_moves_it_to_the_dead_letters() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let recorder = outputs.recorder_function_name.as_str();
        let mappings =
            platform_cli(aws, &["lambda", "list-event-source-mappings", "--function-name", recorder]).await?;
        let [mapping] = list(&mappings["EventSourceMappings"]) else { bail!("expected one queue: {mappings}") };
        assert_eq!(mapping["EventSourceArn"], outputs.ingestion_queue_arn.as_str());
        assert_eq!(
            mapping["FunctionResponseTypes"],
            json!(["ReportBatchItemFailures"]),
            "without it one failure repeats a batch"
        );
        let window = number(&mapping["MaximumBatchingWindowInSeconds"]);
        // By "CreateEventSourceMapping" in the Lambda API reference.
        ensure!(number(&mapping["BatchSize"]) <= 10 || window >= 1, "{mapping}");
        ensure!((2..=1000).contains(&number(&mapping["ScalingConfig"]["MaximumConcurrency"])), "{mapping}");

        let attributes = async |url| {
            let get = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", url];
            platform_cli(aws, &get).await.map(|mut answer| answer["Attributes"].take())
        };
        let queue = attributes(&outputs.ingestion_queue_url).await?;
        let dead_letters = attributes(&outputs.ingestion_dead_letters_url).await?;
        // By "Creating and configuring an Amazon SQS event source mapping" in the Lambda developer guide.
        let least = 6 * number(&function(aws, recorder).await?["Timeout"]) + window;
        ensure!(number(&queue["VisibilityTimeout"]) >= least, "{least} at least: {queue}");
        let redrive: Value = serde_json::from_str(queue["RedrivePolicy"].as_str().context("no redrive policy")?)?;
        assert_eq!(
            (&redrive["deadLetterTargetArn"], number(&redrive["maxReceiveCount"])),
            (&dead_letters["QueueArn"], 5)
        );
        for queue in [&queue, &dead_letters] {
            // A message keeps its age when it is moved, so both must be equal.
            assert_eq!(number(&queue["MessageRetentionPeriod"]), 14 * 86_400, "{queue}");
            assert_eq!(queue["SqsManagedSseEnabled"], "true", "{queue}");
        }
        Ok(())
    })
}

#[tokio::test]
async fn browsers_may_call_the_api_from_the_allowed_origins_alone() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[]).await?;
    let cors = async || Ok::<_, Error>(api(&aws, platform.outputs(), &["get-api"]).await?["CorsConfiguration"].take());
    assert_eq!(cors().await?["AllowOrigins"], Value::Null);

    let refused = deploy_platform(&aws, &[("AllowedOrigins", "https://app.acme.example,*")]).await.err();
    let refused = format!("{:#}", refused.context("any origin was allowed")?);
    ensure!(refused.contains("AllowedOrigins"), "{refused}");

    deploy_platform(&aws, &[("AllowedOrigins", "https://app.acme.example,http://localhost:5173")]).await?;
    let cors = cors().await?;
    assert_eq!(cors["AllowOrigins"], json!(["https://app.acme.example", "http://localhost:5173"]));
    ensure!(!cors.to_string().contains('*') && cors["AllowCredentials"] != true, "{cors}");
    Ok(())
}

#[tokio::test]
async fn with_an_origin_secret_both_functions_refuse_requests_that_went_around_the_cdn() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[("OriginSecret", "an-old-secret-0123,a-new-secret-4567")]).await?;
    for path in ["/openapi.json", "/v1/events/openapi.json"] {
        for (headers, status) in [
            (&[][..], 403),
            (&[("x-origin-secret", "another-secret-890")], 403),
            (&[("x-origin-secret", "an-old-secret-0123")], 200),
            (&[("x-origin-secret", "a-new-secret-4567")], 200),
        ] {
            let answer = platform.api().send("", "GET", path, headers, None).await?;
            assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.body);
        }
    }
    Ok(())
}

#[tokio::test]
async fn incomplete_token_settings_are_not_deployed() -> Result<()> {
    let aws = LocalAws::start().await?;
    let (issuer, audience) = (("TokenIssuer", "https://id.test/"), ("TokenAudience", "audit-logs"));
    let (url, jwks) = (("TokenJwksUrl", "https://id.test/keys"), ("TokenJwks", r#"{"keys": []}"#));
    for (part, words) in [
        (&[issuer][..], "Set TokenAudience too"),
        (&[issuer, audience], "Set TokenJwksUrl or TokenJwks too"),
        (&[url], "Set TokenIssuer too"),
        (&[issuer, audience, url, jwks], "not both"),
    ] {
        let refused = deploy_platform(&aws, part).await.err().context("incomplete settings were deployed")?;
        ensure!(format!("{refused:#}").contains(words), "{refused:#}");
    }
    let platform = deploy_platform(&aws, &[issuer, audience, jwks]).await?;
    for name in [&platform.outputs().console_function_name, &platform.outputs().recorder_function_name] {
        let variables = function(&aws, name).await?["Environment"]["Variables"].take();
        let set =
            ["TOKEN_ISSUER", "TOKEN_JWKS", "TOKEN_JWKS_URL", "TOKEN_ALGORITHMS"].map(|name| text(&variables[name]));
        assert_eq!(set, [issuer.1, jwks.1, "", "RS256,ES256,EdDSA"]);
    }
    Ok(())
}

#[tokio::test]
async fn notifications_are_emailed_only_to_the_address_in_the_parameter() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform_with_sam(&aws, &[]).await?;
    let bus = platform.outputs().notification_bus_name.as_str();
    let rules = async || platform_cli(&aws, &["events", "list-rules", "--event-bus-name", bus]).await;
    assert_eq!(rules().await?["Rules"], json!([]), "no rule by default");

    deploy_platform_with_sam(&aws, &[("NotificationEmail", "ops@acme.example")]).await?;
    let rules = rules().await?;
    let [rule] = list(&rules["Rules"]) else { bail!("expected one rule: {rules}") };
    let of_rule = ["events", "list-targets-by-rule", "--event-bus-name", bus, "--rule", text(&rule["Name"])];
    let targets = platform_cli(&aws, &of_rule).await?;
    let [target] = list(&targets["Targets"]) else { bail!("expected one target: {targets}") };
    let topic = text(&target["Arn"]);
    ensure!(text(&target["DeadLetterConfig"]["Arn"]).contains("LostEmails"), "{target}");
    let subscribed = platform_cli(&aws, &["sns", "list-subscriptions-by-topic", "--topic-arn", topic]).await?;
    let [subscription] = list(&subscribed["Subscriptions"]) else { bail!("expected one subscriber: {subscribed}") };
    assert_eq!((text(&subscription["Protocol"]), text(&subscription["Endpoint"])), ("email", "ops@acme.example"));
    let attributes = platform_cli(&aws, &["sns", "get-topic-attributes", "--topic-arn", topic]).await?;
    ensure!(text(&attributes["Attributes"]["Policy"]).contains("events.amazonaws.com"), "{attributes}");
    Ok(())
}

async fn platform_cli(aws: &LocalAws, arguments: &[&str]) -> Result<Value> {
    tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await
}

async fn api(aws: &LocalAws, outputs: &PlatformOutputs, call: &[&str]) -> Result<Value> {
    platform_cli(aws, &[&["apigatewayv2"], call, &["--api-id", &outputs.api_id]].concat()).await
}

async fn function(aws: &LocalAws, name: &str) -> Result<Value> {
    platform_cli(aws, &["lambda", "get-function-configuration", "--function-name", name]).await
}

/// A number, as JSON number or text; zero for anything else.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// A text; blank for anything else.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The values of an array; empty for anything else.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
