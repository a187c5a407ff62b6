use std::collections::HashSet;

use audit_log_core::{
    failure::{Code, Failure, Party},
    tenant::{Encryption, RoleArn},
};

use super::{
    AwsError,
    codes::{ALL, COMMON, DYNAMODB, EVENTBRIDGE, LAMBDA, S3, SQS, STS, Table},
    denials::{Policy, account_in},
};

fn error(status: u16, code: &str, message: &str) -> AwsError {
    AwsError { code: code.to_owned(), message: message.to_owned(), status, bucket_region: None, request_id: None }
}

fn failure_of(table: &Table, error: &AwsError) -> Failure {
    let role = RoleArn::parse("arn:aws:iam::222222222222:role/audit").unwrap();
    match table.name {
        "STS" => error.sts_failure(&role, "eu-central-1", false),
        "S3" => error.s3_failure("acme-audit", "eu-west-1", "k", &Encryption::Bucket(None)),
        "DynamoDB" => error.dynamodb_failure("reading"),
        "SQS" => error.sqs_failure(),
        "Lambda" => error.lambda_failure("invoking"),
        "EventBridge" => error.eventbridge_failure(),
        other => panic!("{other} has no function"),
    }
}

const SERVICES: [&Table; 6] = [&STS, &S3, &DYNAMODB, &SQS, &LAMBDA, &EVENTBRIDGE];

fn names(table: &Table) -> impl Iterator<Item = (Code, &'static str)> {
    table.rows.iter().flat_map(|(code, names)| names.split_whitespace().map(|name| (*code, name)))
}

#[test]
fn each_code_in_the_tables_becomes_the_failure_of_its_row_for_that_codes_party() {
    for table in SERVICES {
        let own: HashSet<&str> = names(table).map(|(_, name)| name).collect();
        let common = names(&COMMON).filter(|(_, name)| !own.contains(name));
        for (code, name) in names(table).chain(common) {
            // A status that would decide otherwise if the code were not in the table.
            let failure = failure_of(table, &error(503, &name.replace('*', "Something"), ""));
            assert_eq!((failure.code, failure.party), (code, code.party()), "{name} of {}", table.name);
            assert!(failure.message.ends_with('.'), "{failure}");
        }
        assert_eq!(own.len(), names(table).count(), "a code is twice in the table of {}", table.name);
    }
}

#[test]
fn an_unknown_code_is_rejected_in_the_customers_account_and_unexpected_in_the_platforms() {
    for (table, code, answered) in [
        (&STS, Code::Rejected, "AWS answered AccessPointNotOwnedByYou while the role"),
        (&S3, Code::Rejected, "AWS answered AccessPointNotOwnedByYou while s3://acme-audit/k was stored."),
        (&DYNAMODB, Code::Unexpected, "DynamoDB answered AccessPointNotOwnedByYou while reading."),
        (&SQS, Code::Unexpected, "SQS answered AccessPointNotOwnedByYou while"),
        (&LAMBDA, Code::Unexpected, "Lambda answered AccessPointNotOwnedByYou while"),
        (&EVENTBRIDGE, Code::Unexpected, "EventBridge answered AccessPointNotOwnedByYou while"),
    ] {
        let failure = failure_of(table, &error(403, "AccessPointNotOwnedByYou", ""));
        assert_eq!(failure.code, code, "{}", table.name);
        assert!(failure.message.starts_with(answered), "{failure}");
        for (status, code) in [(429, Code::Throttled), (500, Code::Unavailable), (599, Code::Unavailable)] {
            assert_eq!(failure_of(table, &error(status, "New", "")).code, code, "{status} of {}", table.name);
        }
    }
}

#[test]
fn the_documented_codes_of_aws_are_exactly_those_of_the_tables() {
    let page = include_str!("../../../../docs/operations.md");
    let (_, section) = page.split_once("\n### AWS's error codes\n").unwrap();
    let documented: Vec<&str> = section
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
        .collect();
    let mut expected = Vec::new();
    for table in ALL {
        let mut seen = HashSet::new();
        for code in table.rows.iter().map(|(code, _)| *code).filter(|code| seen.insert(*code)) {
            let mut of_code: Vec<&str> = names(table).filter(|(of, _)| *of == code).map(|(_, name)| name).collect();
            of_code.sort_unstable();
            let listed: Vec<String> = of_code.iter().map(|name| format!("`{name}`")).collect();
            expected.push(format!("| {} | `{code}` | {} | {} |", table.name, code.party(), listed.join(" ")));
        }
    }
    assert_eq!(documented, expected, "the table should be:\n{}", expected.join("\n"));
}

#[test]
fn a_request_without_an_answer_is_not_said_to_be_answered() {
    for table in SERVICES {
        let failure = failure_of(table, &error(0, "ConstructionFailure", ""));
        assert_eq!(failure.code, Code::Unexpected, "{}", table.name);
        let expected = format!("A request failed without an error of {} (ConstructionFailure)", table.name);
        assert!(failure.message.starts_with(&expected), "{failure}");
    }
}

#[test]
fn whatever_kms_answers_about_the_manifest_key_is_a_failure_to_sign() {
    let secret = "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Sign";
    for (code, what) in [
        ("AccessDeniedException", "KMS answered AccessDeniedException"),
        ("ThrottlingException", "KMS answered ThrottlingException"),
        ("ExpiredTokenException", "KMS answered ExpiredTokenException"),
        ("AddedLaterException", "KMS answered AddedLaterException"),
        ("<script>", "KMS answered an unknown code"),
        ("Timeout", "AWS did not answer"),
        ("ConstructionFailure", "A request failed without an error of KMS (ConstructionFailure)"),
    ] {
        for status in [0, 400, 429, 503] {
            let failure = error(status, code, secret).signing_failure("a manifest was signed");
            assert_eq!(failure, Failure::new(Code::SigningFailed, format!("{what} while a manifest was signed.")));
            assert_eq!(failure.party, Party::Platform);
        }
    }
}

#[test]
fn events_that_can_not_be_read_have_another_code_than_a_busy_table() {
    for (code, expected) in [
        ("AccessDeniedException", Code::EventsUnreadable),
        ("ResourceNotFoundException", Code::EventsUnreadable),
        ("KMSAccessDeniedException", Code::EventsUnreadable),
        ("KMSDisabledException", Code::EventsUnreadable),
        ("ProvisionedThroughputExceededException", Code::Throttled),
        ("ValidationException", Code::Unexpected),
    ] {
        let failure = error(400, code, "User: x is not authorized").events_failure();
        assert_eq!((failure.code, failure.party), (expected, Party::Platform), "{code}");
    }
}

#[test]
fn the_message_names_the_buckets_region_if_s3_does() {
    let redirect = AwsError { bucket_region: Some("eu-central-1".to_owned()), ..error(301, "", "") };
    assert_eq!(
        failure_of(&S3, &redirect).message,
        "The bucket acme-audit is in eu-central-1, but the settings say eu-west-1."
    );
}

#[test]
fn the_policy_is_the_one_in_the_reason_and_not_in_an_arn() {
    for (message, policy) in [
        ("Access Denied", None),
        ("… on resource: arn:aws:s3:::b/session policy", None),
        ("… with an explicit deny", None),
        ("… with an explicit deny in a new kind of policy", None),
        ("… with an explicit deny in a service control policy", Some(Policy::ServiceControl)),
        ("… because no VPC Endpoint policy allows the s3:PutObject action", Some(Policy::Endpoint)),
        ("… b/because no session policy because no resource-based policy allows it", Some(Policy::Resource)),
    ] {
        assert_eq!(Policy::from_message(message), policy, "{message}");
    }
}

#[test]
fn only_twelve_digits_are_an_account() {
    for (message, account) in [
        ("STS is not activated in this region for account:222222222222. Your", Some("222222222222")),
        ("for account: 222222222222", Some("222222222222")),
        ("for account:2222", None),
        ("for this account", None),
    ] {
        assert_eq!(account_in(message), account, "{message}");
    }
}

#[test]
fn awss_error_texts_never_reach_a_message() {
    let secret =
        "User: arn:aws:sts::1:assumed-role/x is not authorized; token=abc with an explicit deny in a session policy";
    for code in ["AccessDenied", "RegionDisabledException", "Whatever", "<script>"] {
        for table in SERVICES {
            let message = failure_of(table, &error(403, code, secret)).message;
            assert!(
                !message.contains("token") && !message.contains('<') && !message.contains("assumed-role"),
                "{message}"
            );
        }
    }
}
