//! The platform's template, deployed: what the emulator lets pass, and AWS would refuse or make useless.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Error, Result, bail, ensure};
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, PlatformOutputs, deploy_platform, on_the_platform, tools};
use serde_json::{Value, json};

#[test]
fn the_platforms_functions_share_neither_roles_nor_logs() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let (mut roles, mut logs) = (BTreeSet::new(), BTreeSet::new());
        for name in [&outputs.exporter_function_name, &outputs.console_function_name, &outputs.recorder_function_name] {
            let function = function(aws, name).await?;
            roles.insert(function["Role"].to_string());
            logs.insert(function["LoggingConfig"]["LogGroup"].to_string());
            let variables = function["Environment"]["Variables"].as_object().context("no environment")?;
            let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
            // By "Lambda quotas", 4 KB in all: what is left has to do for a set of keys and for extra actions.
            ensure!(bytes < 1024, "{name} has {bytes} bytes of environment before anything is set");
        }
        assert_eq!((roles.len(), logs.len()), (3, 3), "{roles:?} {logs:?}");
        Ok(())
    })
}

#[test]
fn the_api_hands_each_request_to_its_function_and_leaves_preflights_to_itself() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let mut function_behind = HashMap::new();
        for integration in list(&api(aws, outputs, &["get-integrations"]).await?["Items"]) {
            let kind = ["IntegrationType", "PayloadFormatVersion"].map(|name| integration[name].as_str());
            assert_eq!(kind, [Some("AWS_PROXY"), Some("2.0")]);
            let name = integration["IntegrationUri"].as_str().and_then(|uri| uri.rsplit(':').next());
            let name = name.context("an integration without a function")?;
            // By "Quotas for HTTP APIs", an integration has 30 seconds.
            ensure!(number(&function(aws, name).await?["Timeout"]) <= 30, "{name} may answer after the API gave up");
            let policy = platforms(aws, &["lambda", "get-policy", "--function-name", name]).await?;
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
fn the_api_is_throttled_and_its_log_has_neither_tokens_nor_what_was_searched_for() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let stage = api(aws, outputs, &["get-stage", "--stage-name", "$default"]).await?;
        assert_eq!(stage["AutoDeploy"], true, "or no route is ever reachable");
        let limits = ["ThrottlingRateLimit", "ThrottlingBurstLimit"].map(|name| &stage["DefaultRouteSettings"][name]);
        assert_eq!(limits, [&json!(100.0), &json!(200)]);
        let format = text(&stage["AccessLogSettings"]["Format"]);
        let fields: BTreeMap<String, String> = serde_json::from_str(format).context("a log line that is no JSON")?;
        for secret in ["path", "query", "header", "authorizer"] {
            ensure!(fields.values().all(|value| !value.to_lowercase().contains(secret)), "{format}");
        }
        Ok(())
    })
}

#[test]
fn the_ingestion_queue_gives_each_message_its_tries_and_then_keeps_it() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let recorder = outputs.recorder_function_name.as_str();
        let mappings = platforms(aws, &["lambda", "list-event-source-mappings", "--function-name", recorder]).await?;
        let [mapping] = list(&mappings["EventSourceMappings"]) else { bail!("one queue, not {mappings}") };
        assert_eq!(mapping["EventSourceArn"], outputs.ingestion_queue_arn.as_str());
        assert_eq!(
            mapping["FunctionResponseTypes"],
            json!(["ReportBatchItemFailures"]),
            "or one failure repeats a batch"
        );
        let window = number(&mapping["MaximumBatchingWindowInSeconds"]);
        // By "CreateEventSourceMapping" in the Lambda API reference.
        ensure!(number(&mapping["BatchSize"]) <= 10 || window >= 1, "{mapping}");
        ensure!((2..=1000).contains(&number(&mapping["ScalingConfig"]["MaximumConcurrency"])), "{mapping}");

        let attributes = async |url| {
            let get = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", url];
            platforms(aws, &get).await.map(|mut answer| answer["Attributes"].take())
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
            // A message keeps its age when it is moved, so neither may be shorter than the other.
            assert_eq!(number(&queue["MessageRetentionPeriod"]), 14 * 86_400, "{queue}");
            assert_eq!(queue["SqsManagedSseEnabled"], "true", "{queue}");
        }
        Ok(())
    })
}

#[tokio::test]
async fn browsers_are_let_in_from_the_origins_that_are_named_and_no_others() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[]).await?;
    let cors = async || Ok::<_, Error>(api(&aws, platform.outputs(), &["get-api"]).await?["CorsConfiguration"].take());
    assert_eq!(cors().await?["AllowOrigins"], Value::Null);

    let refused = deploy_platform(&aws, &[("AllowedOrigins", "https://app.acme.example,*")]).await.err();
    let refused = format!("{:#}", refused.context("any origin was let in")?);
    ensure!(refused.contains("AllowedOrigins"), "{refused}");

    deploy_platform(&aws, &[("AllowedOrigins", "https://app.acme.example,http://localhost:5173")]).await?;
    let cors = cors().await?;
    assert_eq!(cors["AllowOrigins"], json!(["https://app.acme.example", "http://localhost:5173"]));
    ensure!(!cors.to_string().contains('*') && cors["AllowCredentials"] != true, "{cors}");
    Ok(())
}

#[tokio::test]
async fn the_settings_of_tokens_are_deployed_whole_or_not_at_all() -> Result<()> {
    let aws = LocalAws::start().await?;
    let (issuer, audience) = (("TokenIssuer", "https://id.test/"), ("TokenAudience", "audit-logs"));
    let (url, jwks) = (("TokenJwksUrl", "https://id.test/keys"), ("TokenJwks", r#"{"keys": []}"#));
    for (part, words) in [
        (&[issuer][..], "TokenAudience has to be set"),
        (&[issuer, audience], "either TokenJwksUrl or TokenJwks has to be set"),
        (&[url], "mean nothing without TokenIssuer"),
        (&[issuer, audience, url, jwks], "set one of them"),
    ] {
        let refused = deploy_platform(&aws, part).await.err().context("deployed all the same")?;
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
async fn notifications_go_by_email_only_to_the_address_in_the_parameter() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[]).await?;
    let bus = platform.outputs().notification_bus_name.as_str();
    let rules = async || platforms(&aws, &["events", "list-rules", "--event-bus-name", bus]).await;
    assert_eq!(rules().await?["Rules"], json!([]), "nobody listens by default");

    deploy_platform(&aws, &[("NotificationEmail", "ops@acme.example")]).await?;
    let rules = rules().await?;
    let [rule] = list(&rules["Rules"]) else { bail!("one rule, not {rules}") };
    let of_rule = ["events", "list-targets-by-rule", "--event-bus-name", bus, "--rule", text(&rule["Name"])];
    let targets = platforms(&aws, &of_rule).await?;
    let [target] = list(&targets["Targets"]) else { bail!("one target, not {targets}") };
    let topic = text(&target["Arn"]);
    let subscribed = platforms(&aws, &["sns", "list-subscriptions-by-topic", "--topic-arn", topic]).await?;
    let [subscription] = list(&subscribed["Subscriptions"]) else { bail!("one subscriber, not {subscribed}") };
    assert_eq!((text(&subscription["Protocol"]), text(&subscription["Endpoint"])), ("email", "ops@acme.example"));
    let attributes = platforms(&aws, &["sns", "get-topic-attributes", "--topic-arn", topic]).await?;
    ensure!(text(&attributes["Attributes"]["Policy"]).contains("events.amazonaws.com"), "{attributes}");
    Ok(())
}

/// What a command line call in the platform's account answers.
async fn platforms(aws: &LocalAws, arguments: &[&str]) -> Result<Value> {
    tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await
}

/// What the API's owner sees of it.
async fn api(aws: &LocalAws, outputs: &PlatformOutputs, call: &[&str]) -> Result<Value> {
    platforms(aws, &[&["apigatewayv2"], call, &["--api-id", &outputs.api_id]].concat()).await
}

/// A function's configuration.
async fn function(aws: &LocalAws, name: &str) -> Result<Value> {
    platforms(aws, &["lambda", "get-function-configuration", "--function-name", name]).await
}

/// A number, which some services write as a text; zero for anything else.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// A text; none for anything else.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An array's values; none for anything else.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
