//! Verifications that an admin requests.

use super::*;

#[tokio::test]
async fn a_verification_tests_the_sent_settings_or_the_saved_ones_with_the_connected_role() {
    let world = World::with("acme").await;
    let verify = async |body| world.admin("acme", "POST", "/v1/export-settings/verify", body).await;
    let saved = verify(None).await.json();
    assert_eq!(saved["passed"], true, "{saved}");
    let steps: Vec<_> = saved["steps"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
    assert_eq!(steps, ["assume_role", "external_id_enforced", "region", "put_object", "least_privilege"]);
    let bucket = |world: &World| world.fakes.state().verified.last().unwrap().draft.bucket.clone().unwrap();
    assert_eq!(bucket(&world), "acme-audit-logs");

    world.plan_step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied);
    world.plan_step(StepName::LeastPrivilege, StepStatus::Warning, Code::ExcessRights);
    let draft = verify(Some(json!({ "bucket": "another-bucket", "region": "eu-west-1" }))).await.json();
    assert_eq!((bucket(&world).as_str(), &draft["passed"]), ("another-bucket", &json!(false)));
    assert_eq!(draft["steps"][3]["code"], "access_denied");
    let asked = world.fakes.state().verified.last().cloned().unwrap().draft;
    assert_eq!(asked.role_arn.as_deref(), Some(ROLE));
    assert_eq!(verify(Some(json!({ "bucket": 7 }))).await.fields(), ["bucket", "region"]);
    let none = World::new().admin("acme", "POST", "/v1/export-settings/verify", None).await;
    assert_eq!(none.refusal(), (409, "connector_required".to_owned()));
}

#[tokio::test]
async fn a_tenant_has_ten_verifications_a_minute_for_itself() {
    let world = World::with("acme").await;
    let verify = async |tenant| world.admin(tenant, "POST", "/v1/export-settings/verify", None).await;
    // Connecting and saving have taken two.
    for _ in 0..8 {
        assert_eq!(verify("acme").await.status, 200);
    }
    let refused = verify("acme").await;
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("retry-after"), "47");
    world.onboard("globex").await;
}

#[tokio::test]
async fn a_verifications_result_is_recorded_and_no_answer_counts_as_failed() {
    let world = World::with("acme").await;
    let verify = async || world.admin("acme", "POST", "/v1/export-settings/verify", None).await.status.as_u16();
    let count = |action: &str| world.fakes.actions("acme").iter().filter(|it| *it == action).count();
    let checks = || (count("Connection Check Passed"), count("Connection Check Failed"));
    assert_eq!(checks(), (2, 0), "connecting and saving verify the role alone");
    assert_eq!((verify().await, checks()), (200, (3, 0)));
    world.plan_step(StepName::LeastPrivilege, StepStatus::Warning, Code::ExcessRights);
    assert_eq!((verify().await, checks()), (200, (4, 0)), "a warning is no failure");
    world.plan_step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied);
    assert_eq!((verify().await, checks()), (200, (4, 1)));
    world.plan_step(StepName::PutObject, StepStatus::Inconclusive, Code::Throttled);
    assert_eq!((verify().await, checks()), (200, (4, 2)));
    world.fakes.once(Op::Verify, None, Fault::Fail(Failure::new(Code::Unavailable, "no answer")));
    assert_eq!((verify().await, checks()), (503, (4, 3)));
}

#[tokio::test]
async fn a_role_that_spans_all_tenants_folders_comes_with_the_command_that_updates_its_stack() {
    let world = World::with("acme").await;
    world.plan_step(StepName::LeastPrivilege, StepStatus::Warning, Code::RoleFolderTooWide);
    let found = world.admin("acme", "POST", "/v1/export-settings/verify", None).await.json();
    assert_eq!((&found["passed"], &found["steps"][4]["status"]), (&json!(true), &json!("warning")), "{found}");
    let connector = world.admin("acme", "GET", "/v1/connector", None).await.json();
    let command = found["steps"][4]["command"].as_str().unwrap();
    assert_eq!(command, connector["updateCli"]);
    let tenant_id = r#"{"ParameterKey":"TenantId","ParameterValue":"acme"}"#;
    for part in ["update-stack", tenant_id, "UsePreviousValue"] {
        assert!(command.contains(part), "no {part}: {command}");
    }
    // Exports go to the saved prefix while another one is tried.
    let tried = json!({ "bucket": "acme-audit-logs", "region": "eu-west-1", "prefix": "tried" });
    let found = world.admin("acme", "POST", "/v1/export-settings/verify", Some(tried)).await.json();
    let command = found["steps"][4]["command"].as_str().unwrap();
    assert!(command.contains(r#"{"ParameterKey":"BucketPrefix","ParameterValue":"security"}"#), "{command}");
    assert_eq!(found["steps"][3]["command"], Value::Null);
}
