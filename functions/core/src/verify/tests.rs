//! Each rule of a verification, against an account with planned answers.

mod account;

use std::collections::BTreeMap;

use super::*;
use crate::{
    fakes::{FakeTenant, Fakes, Fault, Op},
    settings::tests::{draft, platform},
    verification::StepStatus,
};
use account::{Account, PENDING, With};

/// AWS refuses the role in the same way if it doesn't know it and if the external ID is wrong.
const DENIED: Result<(), Code> = Err(Code::AssumeRoleDenied);

/// The calls of a role that is asked once.
const ROLE_CALLS: [&str; 6] =
    ["assume Right", "assume None", "assume Random", "assume FirstChanged", "assume LastChanged", "assume Appended"];

const NOW: &str = "2026-11-21T10:00:00Z";
const KEY: &str = "security/audit-logs/tenant=acme/_audit-log-export/connectivity-check";
const OUTSIDE_FOLDER: &str = "security/audit-logs/tenant=acme_audit-log-export-probe-822b33ad87c148a0a20a5ba7cd5ebcaa/_audit-log-export-probe-822b33ad87c148a0a20a5ba7cd5ebcaa";
const OUTSIDE_PREFIX: &str = "security_audit-log-export-probe-822b33ad87c148a0a20a5ba7cd5ebcaa";

/// The request of a tenant with plain settings.
fn request() -> VerificationRequest {
    let draft = Draft { prefix: Some("security".to_owned()), frequency_hours: None, ..draft() };
    VerificationRequest { tenant_id: "acme".to_owned(), draft }
}

/// The store of a tenant that has an external ID, and nothing else.
fn fakes() -> Fakes {
    fakes_with(Draft { external_id: draft().external_id, ..Draft::default() })
}

fn fakes_with(config: Draft) -> Fakes {
    let fakes = Fakes::default();
    let tenant = FakeTenant { config: Some(config), ..FakeTenant::default() };
    fakes.state().tenants.insert("acme".to_owned(), tenant);
    fakes
}

async fn run(account: &Account, fakes: &Fakes, request: &VerificationRequest) -> Vec<Step> {
    run_with_retries(account, fakes, request, "request-1", Duration::ZERO).await
}

async fn run_with_retries(
    account: &Account,
    fakes: &Fakes,
    request: &VerificationRequest,
    id: &str,
    retry_refused_role: Duration,
) -> Vec<Step> {
    let within = Duration::from_secs(20);
    let platform = &platform();
    let now = || NOW.parse().unwrap();
    let run = VerifyContext { platform, now: &now, retention: None, id, within, retry_refused_role };
    let steps = verify(fakes, &account, request, run).await.steps;
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), StepName::ALL, "all steps, in order");
    for step in &steps {
        let found = !matches!(step.status, StepStatus::Passed | StepStatus::Skipped);
        assert_eq!((step.code.is_some(), step.hint.is_some()), (found, found), "{step:?}");
        let has_secret = ["3f6c1d2e-external", PENDING].iter().any(|secret| step.message.contains(secret));
        assert!(!step.message.is_empty() && !has_secret, "{step:?}");
    }
    steps
}

async fn verified(account: &Account) -> Vec<Step> {
    run(account, &fakes(), &request()).await
}

/// Tries a refused role again for ten seconds.
async fn verified_with_retries(account: &Account) -> Vec<Step> {
    run_with_retries(account, &fakes(), &request(), "request-1", Duration::from_secs(10)).await
}

/// Each step's status, with its code if it has one.
fn outline(steps: &[Step]) -> Vec<String> {
    let word = |step: &Step| match step.code {
        None => format!("{:?}", step.status),
        Some(code) => format!("{:?} {code}", step.status),
    };
    steps.iter().map(word).collect()
}

#[tokio::test]
async fn a_connection_from_the_template_passes_with_exactly_these_calls() {
    let account = Account::default();
    let steps = verified(&account).await;
    assert_eq!(outline(&steps), ["Passed"; 5]);
    let calls = account.calls();
    let calls = calls.strip_prefix(&ROLE_CALLS.map(str::to_owned)).unwrap();
    assert_eq!(calls[0], format!("deliver acme-audit/{KEY} {CHECK_TEXT:?}"));
    assert_eq!(calls[1..3], [format!("s3:GetObject {KEY}"), format!("s3:ListBucket {KEY}")]);
    assert_eq!(calls[3..5], [OUTSIDE_FOLDER, OUTSIDE_PREFIX].map(|key| format!("s3:PutObject {key}")));
    assert_eq!(calls[5..], [format!("s3:DeleteObject {KEY}")], "Delete comes last");
}

#[tokio::test]
async fn the_answer_is_the_documented_json() {
    let account = Account { access: vec![(Action::List, Access::Allowed)], ..Account::default() };
    let answer = Verification { steps: verified(&account).await };
    let answer = serde_json::to_value(&answer).unwrap();
    assert_eq!(
        answer["steps"][2],
        serde_json::json!({
            "step": "region", "status": "passed", "code": null, "message": "The bucket acme-audit is in eu-west-1.",
            "hint": null, "party": null,
        })
    );
    let last = &answer["steps"][4];
    assert_eq!(
        (&last["step"], &last["status"], &last["code"], &last["party"]),
        (&"least_privilege".into(), &"warning".into(), &"excess_rights".into(), &"customer".into())
    );
}

#[tokio::test]
async fn a_role_that_does_not_enforce_the_external_id_fails_and_nothing_is_written_through_it() {
    let allowed = |which: &[With]| which.iter().map(|with| (*with, vec![Ok(())])).collect::<BTreeMap<_, _>>();
    let mut locked_out = allowed(&[With::None]);
    locked_out.insert(With::Right, vec![DENIED]);
    let mut throttled = allowed(&[With::Random]);
    throttled.insert(With::None, vec![Err(Code::Throttled)]);
    let random = "with a random external ID of the same length.";
    for (role, first, how) in [
        (allowed(&[With::Random]), "Passed", random),
        (allowed(&[With::None]), "Passed", "without any external ID."),
        // StringLike with "3f6c1d2e-externa?", and with "3f6c*".
        // StringLike with "?f6c1d2e-external", and with "*external".
        (allowed(&[With::FirstChanged]), "Passed", "with another first character of the external ID."),
        (allowed(&[With::LastChanged]), "Passed", "with another last character of the external ID."),
        (allowed(&[With::Appended]), "Passed", "with a character appended to the external ID."),
        (
            allowed(&With::DECOYS),
            "Passed",
            "without any external ID, with a random external ID of the same length, with another first character of the external ID, with another last character of the external ID, with a character appended to the external ID.",
        ),
        (throttled, "Passed", random),
        (locked_out, "Failed assume_role_denied", "without any external ID."),
    ] {
        let account = Account { role, ..Account::default() };
        let steps = verified(&account).await;
        let expected = [first, "Failed external_id_not_enforced", "Skipped", "Skipped", "Skipped"];
        assert_eq!(outline(&steps), expected, "{how}");
        assert!(steps[1].message.contains(how) && steps[1].message.contains("confused deputy"), "{:?}", steps[1]);
        assert!(steps[1].hint.as_ref().unwrap().contains("sts:ExternalId"), "{:?}", steps[1]);
        assert_eq!(account.calls(), ROLE_CALLS, "nothing was written");
    }
}

#[tokio::test]
async fn the_refusals_of_a_role_that_can_not_be_assumed_prove_nothing() {
    let account = Account { role: [(With::Right, vec![DENIED])].into(), ..Account::default() };
    let steps = verified(&account).await;
    assert_eq!(outline(&steps), ["Failed assume_role_denied", "Skipped", "Skipped", "Skipped", "Skipped"]);
    assert_eq!(account.calls(), ROLE_CALLS, "once each, unless an admin waits");
    assert_eq!(steps[0].message, "assume_role_denied by STS");
    assert!(steps[0].hint.as_ref().unwrap().contains("quick-create"));
}

/// The answers to the right external ID of a role that AWS refuses so often, since it doesn't know it yet.
fn known_after(refusals: usize) -> Vec<Result<(), Code>> {
    [vec![DENIED; refusals], vec![Ok(())]].concat()
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_seconds_old_is_tried_again_for_some_seconds() {
    for (refusals, expected, tries, seconds) in
        [(0, "Passed", 2, 2), (3, "Passed", 5, 8), (5, "Passed", 7, 12), (6, "Failed assume_role_denied", 6, 10)]
    {
        let account = Account { role: [(With::Right, known_after(refusals))].into(), ..Account::default() };
        let began = Instant::now();
        let steps = verified_with_retries(&account).await;
        assert_eq!(outline(&steps)[0], expected, "{refusals}");
        assert_eq!((account.count("assume Right"), began.elapsed().as_secs()), (tries, seconds), "{refusals}");
        match &steps[0].hint {
            None => assert_eq!(outline(&steps), ["Passed"; 5]),
            Some(hint) => {
                assert!(hint.contains("made a minute ago, try again"), "{hint}");
                assert_eq!(outline(&steps)[1..], ["Skipped"; 4]);
            }
        }
    }
}

/// The host that refuses a wrong external ID may not know the role, while another host knows it.
#[tokio::test(start_paused = true)]
async fn a_role_that_is_seconds_old_must_demand_the_external_id_too() {
    let open = || vec![DENIED, Ok(())];
    let seldom = || vec![DENIED, DENIED, Ok(())];
    for (refusals, role) in [
        (2, vec![(With::Random, vec![Ok(())])]),
        (3, vec![(With::Random, open()), (With::None, open())]),
        (0, vec![(With::Random, open())]),
        (0, vec![(With::FirstChanged, open())]),
        (0, vec![(With::LastChanged, open())]),
        (0, vec![(With::Appended, open())]),
        (0, vec![(With::None, open())]),
        // Refused once more between the successes.
        (0, vec![(With::Right, vec![Ok(()), DENIED, Ok(())]), (With::None, seldom())]),
    ] {
        let mut answers: BTreeMap<_, _> = [(With::Right, known_after(refusals))].into();
        answers.extend(role);
        let case = format!("{answers:?}");
        let account = Account { role: answers, ..Account::default() };
        let steps = verified_with_retries(&account).await;
        assert_eq!(outline(&steps)[..2], ["Passed", "Failed external_id_not_enforced"], "{case}");
        assert_eq!(account.count("deliver "), 0, "nothing was written");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_a_role_that_is_not_known_everywhere_prove_nothing() {
    let inconclusive = "Inconclusive assume_role_denied";
    for (right, expected, seconds) in [
        (vec![Ok(()), DENIED, Ok(())], "Passed", 6),
        (vec![Ok(()), DENIED, Ok(()), DENIED], inconclusive, 6),
        (vec![Ok(()), DENIED], inconclusive, 6),
        (vec![Ok(()), Err(Code::Throttled)], "Inconclusive throttled", 2),
    ] {
        let account = Account { role: [(With::Right, right)].into(), ..Account::default() };
        let began = Instant::now();
        let steps = verified_with_retries(&account).await;
        assert_eq!(outline(&steps)[..2], ["Passed", expected]);
        assert_eq!(began.elapsed().as_secs(), seconds);
        let hint = steps[1].hint.as_deref().unwrap_or("try again in a minute");
        assert!(hint.contains("try again in a minute"), "{hint}");
    }
}

/// A role's rights reach S3 and KMS later than its trust reaches STS.
#[tokio::test(start_paused = true)]
async fn a_refused_delivery_is_tried_again_if_the_role_is_new() {
    let put = |code| DeliveryFailure::Put(Failure::new(code, "refused"));
    let part = |code| DeliveryFailure::Multipart(Failure::new(code, "refused"));
    for (refusals, failure, deliveries) in [
        (1, put(Code::AssumeRoleDenied), 2),
        (1, put(Code::AccessDenied), 2),
        (1, part(Code::KmsDenied), 2),
        (1, put(Code::BucketNotFound), 1),
        (0, put(Code::AccessDenied), 1),
    ] {
        let role = [(With::Right, known_after(refusals))].into();
        let account = Account { role, delivery: Some(failure), delivers_later: true, ..Account::default() };
        let steps = verified_with_retries(&account).await;
        assert_eq!(account.count("deliver "), deliveries);
        assert_eq!(steps[3].passed(), deliveries == 2, "{:?}", steps[3]);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_refusal_of_the_role_is_tried_again() {
    let account = Account { role: [(With::Right, vec![Err(Code::Unavailable)])].into(), ..Account::default() };
    verified_with_retries(&account).await;
    assert_eq!(account.calls()[..2], ["assume Right", "assume None"]);
}

#[tokio::test]
async fn an_unclear_answer_does_not_pass() {
    for (with, code, expected) in [
        (With::Right, Code::Throttled, ["Inconclusive throttled", "Inconclusive throttled"]),
        (With::Right, Code::Unavailable, ["Inconclusive unavailable", "Inconclusive unavailable"]),
        (With::Right, Code::PlatformDenied, ["Failed platform_denied", "Skipped"]),
        (With::Random, Code::Throttled, ["Passed", "Inconclusive throttled"]),
        (With::LastChanged, Code::Throttled, ["Passed", "Inconclusive throttled"]),
        (With::Appended, Code::Unavailable, ["Passed", "Inconclusive unavailable"]),
        (With::None, Code::Unavailable, ["Passed", "Inconclusive unavailable"]),
        (With::None, Code::Rejected, ["Passed", "Inconclusive rejected"]),
    ] {
        let account = Account { role: [(with, vec![Err(code)])].into(), ..Account::default() };
        let steps = verified(&account).await;
        assert_eq!(outline(&steps[..2]), expected);
        assert_eq!(outline(&steps[2..]), ["Skipped"; 3]);
        assert!(steps[1].hint.as_ref().is_none_or(|hint| hint.contains("try again")), "{:?}", steps[1]);
    }
}

#[tokio::test]
async fn without_a_bucket_only_the_role_is_verified() {
    for bucket in [None, Some(String::new())] {
        let account = Account::default();
        let request = VerificationRequest { draft: Draft { bucket, region: None, ..request().draft }, ..request() };
        let steps = run(&account, &fakes(), &request).await;
        assert_eq!(outline(&steps), ["Passed", "Passed", "Skipped", "Skipped", "Skipped"]);
        assert!(steps[2].message.contains("no bucket"), "{:?}", steps[2]);
        assert_eq!(account.calls(), ROLE_CALLS);
    }
}

#[tokio::test]
async fn the_first_step_names_all_wrong_fields_and_nothing_is_tried() {
    let text = |text: &str| Some(text.to_owned());
    let platform_role = text("arn:aws:iam::111111111111:role/audit-log-exporter");
    for (tenant, draft, fields) in [
        ("acme", Draft { region: None, ..request().draft }, &["region: is required"][..]),
        (
            "acme",
            Draft { role_arn: platform_role, ..request().draft },
            &["role_arn: the role is in the platform's own"],
        ),
        ("acme", Draft { role_arn: text("x"), region: text("moon"), ..request().draft }, &["role_arn: ", "region: "]),
        ("acme", Draft { role_arn: None, bucket: None, ..request().draft }, &["role_arn: is required"]),
        (
            "acme",
            Draft { kms_key_arn: text("arn:aws:kms:us-east-1:222222222222:key/1"), ..request().draft },
            &["kms_key_arn: "],
        ),
        ("a/b", request().draft, &["tenant_id: "]),
    ] {
        let account = Account::default();
        let request = VerificationRequest { tenant_id: tenant.to_owned(), draft };
        let steps = run(&account, &fakes(), &request).await;
        assert_eq!(outline(&steps), ["Failed config_invalid", "Skipped", "Skipped", "Skipped", "Skipped"]);
        for field in fields {
            assert!(steps[0].message.contains(field), "{}", steps[0].message);
        }
        assert_eq!(account.calls(), [""; 0]);
    }
}

#[tokio::test]
async fn a_tenant_can_use_only_its_own_external_id() {
    let only = |id: Option<&str>| fakes_with(Draft { external_id: id.map(str::to_owned), ..Draft::default() });
    // Nothing is stored of a tenant that was erased.
    for fakes in [only(Some("another-one")), only(None), Fakes::default()] {
        let account = Account::default();
        let steps = run(&account, &fakes, &request()).await;
        assert_eq!(outline(&steps), ["Failed config_invalid", "Skipped", "Skipped", "Skipped", "Skipped"]);
        assert!(!steps[0].message.contains("another-one"), "{}", steps[0].message);
        assert_eq!(account.calls(), [""; 0], "nothing was assumed");
    }

    let (account, fakes) = (Account::default(), fakes());
    assert_eq!(outline(&run(&account, &fakes, &request()).await), ["Passed"; 5]);

    let unreadable = Failure::new(Code::Unavailable, "DynamoDB did not answer.");
    fakes.once(Op::Load, Some("acme"), Fault::Fail(unreadable));
    let steps = run(&account, &fakes, &request()).await;
    assert_eq!(outline(&steps)[0], "Inconclusive unavailable");
}

#[tokio::test]
async fn the_answer_to_the_put_decides_two_steps() {
    for (code, region, put) in [
        (Code::WrongRegion, "Failed wrong_region", "Skipped"),
        (Code::BucketNotFound, "Skipped", "Failed bucket_not_found"),
        (Code::AccessDenied, "Skipped", "Failed access_denied"),
        (Code::RegionNotEnabled, "Skipped", "Failed region_not_enabled"),
        // The role could be assumed a moment ago, so it is too new.
        (Code::AssumeRoleDenied, "Inconclusive assume_role_denied", "Inconclusive assume_role_denied"),
        (Code::KmsDenied, "Passed", "Failed kms_denied"),
        (Code::KmsThrottled, "Passed", "Inconclusive kms_throttled"),
        (Code::BucketOwnerMismatch, "Passed", "Failed bucket_owner_mismatch"),
        (Code::Throttled, "Inconclusive throttled", "Inconclusive throttled"),
        (Code::Unavailable, "Inconclusive unavailable", "Inconclusive unavailable"),
        (Code::Rejected, "Inconclusive rejected", "Failed rejected"),
    ] {
        let refused = DeliveryFailure::Put(Failure::new(code, "as S3 has it"));
        let account = Account { delivery: Some(refused), ..Account::default() };
        let steps = verified(&account).await;
        assert_eq!(outline(&steps), ["Passed", "Passed", region, put, "Skipped"]);
        assert_eq!(account.calls().len(), ROLE_CALLS.len() + 1, "no right is tried without a stored object");
    }
}

#[tokio::test]
async fn a_failed_multipart_upload_fails_the_put_and_no_other_step() {
    for (code, put) in [
        (Code::KmsDenied, "Failed kms_denied"),
        (Code::AccessDenied, "Failed access_denied"),
        (Code::Throttled, "Inconclusive throttled"),
    ] {
        let multipart = DeliveryFailure::Multipart(Failure::new(code, "could not be aborted"));
        let steps = verified(&Account { delivery: Some(multipart), ..Account::default() }).await;
        assert_eq!(outline(&steps), ["Passed", "Passed", "Passed", put, "Passed"]);
        assert_eq!(steps[3].message, "could not be aborted");
    }
}

#[tokio::test]
async fn a_bucket_of_another_account_than_the_roles_is_a_warning_that_stops_nothing() {
    let owner = |owner: &str| Draft { bucket_owner: Some(owner.to_owned()), ..request().draft };
    for (draft, expected) in
        [(owner("333333333333"), "Warning object_ownership"), (owner("222222222222"), "Passed"), (owner(""), "Passed")]
    {
        let request = VerificationRequest { draft, ..request() };
        let verification = Verification { steps: run(&Account::default(), &fakes(), &request).await };
        assert_eq!(outline(&verification.steps)[3..], [expected, "Passed"], "the rights are tried too");
        assert!(verification.passed());
        if let Some(hint) = &verification.steps[3].hint {
            assert!(hint.contains("aws s3api put-bucket-ownership-controls"), "{hint}");
            assert!(hint.contains("ObjectOwnership=BucketOwnerEnforced"), "{hint}");
            assert!(verification.steps[3].message.contains("333333333333 can't read"), "{:?}", verification.steps[3]);
        }
    }
}

#[tokio::test]
async fn every_excess_right_is_a_warning_that_names_it() {
    for (action, words) in [
        (Action::Get, "s3:GetObject on what was delivered"),
        (Action::List, "s3:ListBucket on the bucket"),
        (Action::Delete, "s3:DeleteObject on what was delivered"),
        (Action::Put, "s3:PutObject outside the tenant's folder, s3:PutObject outside the prefix"),
    ] {
        let steps = verified(&Account { access: vec![(action, Access::Allowed)], ..Account::default() }).await;
        assert_eq!(outline(&steps)[4], "Warning excess_rights");
        assert!(steps[4].message.starts_with(&format!("The role may do more than a delivery needs: {words}.")));
        for key in [OUTSIDE_FOLDER, OUTSIDE_PREFIX] {
            let left_behind = steps[4].message.contains(&format!("s3://acme-audit/{key} "));
            assert_eq!(left_behind, action == Action::Put, "{}", steps[4].message);
        }
    }
}

#[tokio::test]
async fn the_objects_outside_folder_and_prefix_are_deleted_if_the_role_may() {
    let access = vec![(Action::Put, Access::Allowed), (Action::Delete, Access::Allowed)];
    let account = Account { access, ..Account::default() };
    let steps = verified(&account).await;
    assert!(!steps[4].message.contains("left behind"), "{}", steps[4].message);
    let calls = account.calls();
    let of = |action: Action| {
        let words = format!("{action} ");
        calls.iter().filter_map(|call| call.strip_prefix(&words)).collect::<Vec<_>>()
    };
    assert_eq!(of(Action::Delete), [KEY, OUTSIDE_FOLDER, OUTSIDE_PREFIX], "and nothing else is deleted");
}

#[tokio::test]
async fn a_role_that_spans_the_folders_of_all_tenants_is_a_warning_that_says_how_to_narrow_it() {
    for prefix in ["security", ""] {
        let account = Account { folder_too_wide: true, ..Account::default() };
        let request =
            VerificationRequest { draft: Draft { prefix: Some(prefix.to_owned()), ..request().draft }, ..request() };
        let verification = Verification { steps: run(&account, &fakes(), &request).await };
        assert!(verification.passed(), "deliveries work");
        let last = &verification.steps[4];
        assert_eq!(outline(&verification.steps)[4], "Warning role_folder_too_wide", "{prefix:?}");
        assert!(last.message.contains("beside s3://acme-audit/") && last.message.contains("left behind"), "{last:?}");
        assert!(last.hint.as_ref().unwrap().contains("Set TenantId"), "{last:?}");
    }
    let access = vec![(Action::List, Access::Allowed)];
    let steps = verified(&Account { folder_too_wide: true, access, ..Account::default() }).await;
    assert_eq!(outline(&steps)[4], "Warning excess_rights", "TenantId alone would not narrow it");
    assert!(steps[4].message.contains("s3:ListBucket on the bucket, s3:PutObject outside the tenant's folder."));
}

#[tokio::test]
async fn repeated_verifications_leave_the_same_objects_whatever_the_external_id() {
    let account = Account { access: vec![(Action::Put, Access::Allowed)], ..Account::default() };
    let mut left = std::collections::BTreeSet::new();
    for (id, external_id) in [("request-1", "3f6c1d2e-external"), ("request-2", "another")] {
        let draft = Draft { external_id: Some(external_id.to_owned()), ..request().draft };
        let request = VerificationRequest { draft, ..request() };
        run_with_retries(&account, &fakes(), &request, id, Duration::ZERO).await;
        left.extend(account.calls().into_iter().filter(|call| call.starts_with("s3:PutObject ")));
    }
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test]
async fn an_unclear_right_is_inconclusive_unless_another_one_is_allowed() {
    let throttled = (Action::Get, Access::Unclear(Code::Throttled));
    let steps = verified(&Account { access: vec![throttled], ..Account::default() }).await;
    assert_eq!(outline(&steps)[4], "Inconclusive throttled");
    let access = vec![throttled, (Action::List, Access::Allowed)];
    let steps = verified(&Account { access, ..Account::default() }).await;
    assert_eq!(outline(&steps)[4], "Warning excess_rights");
    assert!(steps[4].message.contains("no clear answer to s3:GetObject"), "{}", steps[4].message);
    let steps = verified(&Account { reach: Some(Code::Unavailable), ..Account::default() }).await;
    assert_eq!(outline(&steps)[4], "Inconclusive unavailable");
}

#[tokio::test]
async fn without_a_prefix_the_role_is_still_limited_to_the_tenants_folder() {
    let account = Account::default();
    let request = VerificationRequest { draft: Draft { prefix: None, ..request().draft }, ..request() };
    let steps = run(&account, &fakes(), &request).await;
    assert_eq!(outline(&steps), ["Passed"; 5]);
    let calls = account.calls();
    let puts = calls.iter().filter(|call| call.starts_with("s3:PutObject")).collect::<Vec<_>>();
    assert_eq!(puts, [&format!("s3:PutObject {}", OUTSIDE_FOLDER.trim_start_matches("security/"))]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_in_time_is_inconclusive_and_others_count() {
    for (silent, expected) in [
        (With::Right, ["Inconclusive unavailable", "Inconclusive unavailable"]),
        (With::None, ["Passed", "Inconclusive unavailable"]),
    ] {
        let began = Instant::now();
        let steps = verified(&Account { silent: [silent].into(), ..Account::default() }).await;
        assert_eq!(outline(&steps[..2]), expected);
        assert_eq!(outline(&steps[2..]), ["Skipped"; 3]);
        assert_eq!(began.elapsed().as_secs(), 20);
    }
    let steps = verified(&Account { put_hangs: true, ..Account::default() }).await;
    let unanswered = "Inconclusive unavailable";
    assert_eq!(outline(&steps), ["Passed", "Passed", unanswered, unanswered, "Skipped"]);
}

#[tokio::test]
async fn only_saved_settings_that_pass_are_noted_and_reset_the_backoff() {
    let slow_down = || DeliveryFailure::Put(Failure::new(Code::Throttled, "slow down"));
    let throttled = || Account { delivery: Some(slow_down()), ..Account::default() };
    let wide = || Account { access: vec![(Action::List, Access::Allowed)], ..Account::default() };
    let elsewhere = Draft { bucket: Some("elsewhere".to_owned()), ..request().draft };
    for (account, draft, passes) in [
        (Account::default(), request().draft, true),
        (wide(), request().draft, true),
        (Account::default(), Draft { format: Some("ndjson".to_owned()), ..request().draft }, true),
        (throttled(), request().draft, false),
        (Account::default(), elsewhere, false),
        (Account::default(), Draft { prefix: None, ..request().draft }, false),
        (Account::default(), Draft { encryption: Some("sse-s3".to_owned()), ..request().draft }, false),
        (Account::default(), Draft { bucket: None, ..request().draft }, false),
    ] {
        let fakes = Fakes::default();
        let (frequency_hours, version) = (Some("6".to_owned()), Some("3".to_owned()));
        let config = Some(Draft { frequency_hours, version, ..request().draft });
        let failing_since = Some("2026-11-18T10:00:00Z".parse().unwrap());
        fakes.state().tenants.insert("acme".to_owned(), FakeTenant { config, failing_since, ..FakeTenant::default() });
        run(&account, &fakes, &VerificationRequest { draft: draft.clone(), ..request() }).await;
        let FakeTenant { backoff_reset_at, verified_version, .. } = fakes.state().tenants["acme"].clone();
        assert_eq!(backoff_reset_at, passes.then(|| NOW.parse().unwrap()), "{draft:?}");
        assert_eq!(verified_version, passes.then_some(3), "{draft:?}");
        let calls = fakes.calls(Op::MarkVerified);
        run(&account, &fakes, &VerificationRequest { draft, ..request() }).await;
        assert_eq!((calls, fakes.calls(Op::MarkVerified)), (passes.into(), passes.into()), "it is noted once");
    }
    let fakes = Fakes::default();
    fakes.state().tenants.insert("acme".to_owned(), FakeTenant { config: Some(draft()), ..FakeTenant::default() });
    run(&Account::default(), &fakes, &request()).await;
    assert_eq!(fakes.state().tenants["acme"].backoff_reset_at, None, "there is no backoff without failures");
}

/// The stored settings of a tenant in a rotation, with its role or without.
fn rotating(role_arn: Option<String>) -> Fakes {
    fakes_with(Draft { pending_external_id: Some(PENDING.to_owned()), role_arn, ..request().draft })
}

/// A role that demands one of these.
fn demanding(right: &[With]) -> Account {
    let answer = |with: With| (with, vec![if right.contains(&with) { Ok(()) } else { DENIED }]);
    Account { role: [With::Right, With::Pending].map(answer).into(), ..Account::default() }
}

fn external_ids(fakes: &Fakes) -> (Option<String>, Option<String>) {
    let config = fakes.state().tenants["acme"].config.clone().unwrap();
    (config.external_id, config.pending_external_id)
}

#[tokio::test]
async fn a_verification_that_passes_with_the_pending_external_id_makes_it_the_only_one() {
    let role = || draft().role_arn;
    let (current, pending) = (Some("3f6c1d2e-external".to_owned()), Some(PENDING.to_owned()));
    let other = Some("arn:aws:iam::222222222222:role/another".to_owned());
    for (right, role, expected, words, completes) in [
        (&[With::Pending][..], role(), "Passed", "with the new external ID.", true),
        (&[With::Right, With::Pending], role(), "Passed", "with the new external ID.", true),
        (&[With::Pending], None, "Passed", "with the new external ID.", true),
        (&[With::Right], role(), "Passed", "with the current external ID, but not with the new one.", false),
        // The connected role may still demand the current one.
        (&[With::Pending], other, "Passed", "with the new external ID.", false),
        (&[], role(), "Failed assume_role_denied", "", false),
    ] {
        let (account, fakes) = (demanding(right), rotating(role));
        let steps = run(&account, &fakes, &request()).await;
        assert_eq!(outline(&steps)[0], expected);
        assert!(steps[0].message.contains(words), "{}", steps[0].message);
        let left = if completes { (pending.clone(), None) } else { (current.clone(), pending.clone()) };
        assert_eq!(external_ids(&fakes), left, "{right:?}");
        let recorded = if completes { vec!["External ID Rotation Completed"] } else { vec![] };
        assert_eq!(fakes.actions("acme"), recorded);
        let outbox = fakes.state().tenants["acme"].outbox.clone();
        assert!(outbox.is_empty(), "{outbox:?}");
    }
}

#[tokio::test]
async fn in_a_rotation_the_decoys_of_both_external_ids_must_be_refused() {
    let fakes = rotating(draft().role_arn);
    let account = demanding(&[With::Right]);
    assert_eq!(outline(&run(&account, &fakes, &request()).await), ["Passed"; 5]);
    for (decoy, asked) in
        [(With::None, 1), (With::Random, 2), (With::FirstChanged, 2), (With::LastChanged, 2), (With::Appended, 2)]
    {
        assert_eq!(account.count(&format!("assume {decoy:?}")), asked, "{decoy:?}");
    }
    // A trust policy that lists the current one exactly, and the pending one sloppily.
    for decoy in With::DECOYS {
        let mut account = demanding(&[With::Right, With::Pending]);
        account.role.insert(decoy, vec![DENIED, Ok(())]);
        account.role.entry(With::None).and_modify(|answers| _ = answers.remove(0));
        let steps = run(&account, &fakes, &request()).await;
        assert_eq!(outline(&steps)[..2], ["Passed", "Failed external_id_not_enforced"], "{decoy:?}");
        assert_eq!(external_ids(&fakes).1.as_deref(), Some(PENDING), "the rotation goes on");
    }
}

#[tokio::test]
async fn an_unclear_answer_to_the_pending_external_id_is_no_refusal_of_the_role() {
    let mut account = demanding(&[]);
    account.role.insert(With::Pending, vec![Err(Code::Throttled)]);
    let steps = run(&account, &rotating(draft().role_arn), &request()).await;
    assert_eq!(outline(&steps)[0], "Inconclusive throttled");
}

#[tokio::test]
async fn a_rotation_that_can_not_be_completed_goes_on_and_the_verification_counts() {
    let fakes = rotating(draft().role_arn);
    fakes.once(Op::Settings, None, Fault::Fail(Failure::new(Code::Unavailable, "DynamoDB did not answer.")));
    let steps = run(&demanding(&[With::Pending]), &fakes, &request()).await;
    assert_eq!(outline(&steps), ["Passed"; 5]);
    assert!(
        steps[0].message.ends_with("the platform failed to make the new one the only one: verify again in a minute.")
    );
    assert_eq!(external_ids(&fakes).1.as_deref(), Some(PENDING));
    assert_eq!(outline(&run(&demanding(&[With::Pending]), &fakes, &request()).await), ["Passed"; 5]);
    assert_eq!(external_ids(&fakes), (Some(PENDING.to_owned()), None), "the next one completes it");

    // Cancelled while the role was asked.
    let fakes = rotating(draft().role_arn);
    let store = fakes.clone();
    let cancel = move || {
        let mut state = store.state();
        state.tenants.get_mut("acme").unwrap().config.as_mut().unwrap().pending_external_id = None;
    };
    fakes.once(Op::Settings, None, Fault::After(Box::new(cancel)));
    let steps = run(&demanding(&[With::Pending]), &fakes, &request()).await;
    assert_eq!(outline(&steps), ["Passed"; 5]);
    assert!(steps[0].message.contains("But the rotation was cancelled"), "{:?}", steps[0]);
    assert_eq!(external_ids(&fakes), (draft().external_id, None), "the cancelled one is not stored");
    assert_eq!(fakes.actions("acme"), [""; 0]);
}

#[tokio::test]
async fn a_rotation_is_not_completed_for_a_role_that_was_replaced_during_the_verification() {
    let fakes = rotating(draft().role_arn);
    let store = fakes.clone();
    let connect_another = move || {
        let mut state = store.state();
        let config = state.tenants.get_mut("acme").unwrap().config.as_mut().unwrap();
        config.role_arn = Some("arn:aws:iam::222222222222:role/another".to_owned());
    };
    fakes.once(Op::Settings, None, Fault::After(Box::new(connect_another)));
    assert_eq!(outline(&run(&demanding(&[With::Pending]), &fakes, &request()).await), ["Passed"; 5]);
    assert_eq!(external_ids(&fakes), (draft().external_id, Some(PENDING.to_owned())), "both stay");
    assert_eq!(fakes.actions("acme"), [""; 0]);
}
