//! The customer's own alarm and table for Athena: the same in both files.

use super::*;

/// What both files make for a tenant's values and more of them, with CloudFormation's names.
fn made(tenant: &Tenant, more: &[(&str, &str, &str)]) -> (Stack, Value) {
    let role_setup = RoleSetup { create_bucket: false, ..tenant.all() };
    let mut parameters = in_cli(&role_setup.cli());
    parameters.extend(more.iter().map(|(name, _, value)| ((*name).to_owned(), (*value).to_owned())));
    let given: Vec<_> = more.iter().map(|(_, name, value)| (*name, *value)).collect();
    (Stack::new(&parameters, tenant.region), evaluate(&role_setup.terraform(), &given).unwrap())
}

const ALARM: (&str, &str, &str) = ("AlarmEmail", "alarm_email", "ops@acme.example");
const TABLE: (&str, &str, &str) = ("CreateGlueTable", "create_glue_table", "true");

#[test]
fn without_an_address_and_a_wish_for_a_table_there_is_neither() {
    let (stack, terraform) = made(&Tenant::in_region("eu-west-1"), &[]);
    for resource in
        ["Deliveries", "DeliveriesStopped", "AlarmTopic", "AlarmSubscription", "AlarmTopicPolicy", "Database", "Table"]
    {
        assert!(!stack.has(resource), "{resource}");
    }
    let kinds: Vec<_> = terraform.as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["aws_iam_role", "aws_iam_role_policy", "output"]);
    assert_eq!(terraform["output"]["athena_table"], Value::Null);
}

#[test]
fn terraform_and_cloudformation_make_the_same_alarm() {
    let tenant = Tenant::in_region("eu-west-1");
    let policy = |json: &Value| serde_json::from_str::<Value>(json.as_str().unwrap()).unwrap();
    let (stack, terraform) = made(&tenant, &[ALARM]);
    let (alarm, made) =
        (stack.properties("DeliveriesStopped"), &terraform["aws_cloudwatch_metric_alarm"]["deliveries_stopped"]);
    for (there, here) in [
        ("namespace", "Namespace"),
        ("metric_name", "MetricName"),
        ("statistic", "Statistic"),
        ("comparison_operator", "ComparisonOperator"),
        ("threshold", "Threshold"),
        ("period", "Period"),
        ("treat_missing_data", "TreatMissingData"),
    ] {
        assert_eq!(made[there], alarm[here], "{there}");
    }
    // A day and the three hours after.
    assert_eq!((&made["evaluation_periods"], &alarm["EvaluationPeriods"]), (&json!(27), &json!("27")));
    assert_eq!(made["dimensions"], json!({ "RuleName": "<name>" }));
    assert_eq!(alarm["Dimensions"], json!([{ "Name": "RuleName", "Value": "<Deliveries>" }]));
    for actions in [&made["alarm_actions"], &made["ok_actions"]] {
        assert_eq!(*actions, json!(["<arn>"]));
    }
    for actions in ["AlarmActions", "OKActions"] {
        assert_eq!(alarm[actions], json!(["<AlarmTopic>"]));
    }
    let description = made["alarm_description"].as_str().unwrap();
    let words = "No file of audit logs has arrived in the bucket acme-audit-logs for 27 hours.";
    assert!(description.starts_with(words) && alarm["AlarmDescription"].as_str().unwrap().starts_with(words));

    assert_eq!(
        policy(&terraform["aws_cloudwatch_event_rule"]["deliveries"]["event_pattern"]),
        stack.properties("Deliveries")["EventPattern"]
    );
    let mut allows = stack.properties("AlarmTopicPolicy")["PolicyDocument"].clone();
    assert_eq!(allows["Statement"][0]["Resource"], "<AlarmTopic>");
    allows["Statement"][0]["Resource"] = json!("<arn>");
    assert_eq!(policy(&terraform["aws_sns_topic_policy"]["alarm"]["policy"]), allows);
    let subscription = &terraform["aws_sns_topic_subscription"]["alarm"];
    assert_eq!(subscription["topic_arn"], "<arn>");
    assert_eq!(
        json!({ "TopicArn": "<AlarmTopic>", "Protocol": subscription["protocol"], "Endpoint": subscription["endpoint"] }),
        stack.properties("AlarmSubscription")
    );
}

/// The daily connection check would keep an alarm quiet that goes by the tenant's folder.
#[test]
fn only_files_with_the_tenants_data_keep_the_alarm_quiet() {
    let mut tenant = Tenant::in_region("eu-west-1");
    for prefix in ["", PREFIX] {
        tenant.prefix = Prefix::parse(prefix).unwrap();
        let (stack, _) = made(&tenant, &[ALARM]);
        let pattern = stack.properties("Deliveries")["EventPattern"].clone();
        assert_eq!(pattern["detail"]["bucket"]["name"], json!(["acme-audit-logs"]));
        let expected = format!("{}dt=", tenant_folder(&tenant.prefix, &tenant.id));
        let encoded = expected.replace("tenant=", "tenant%3D").replace("dt=", "dt%3D");
        assert_eq!(pattern["detail"]["object"]["key"], json!([{ "prefix": expected }, { "prefix": encoded }]));
    }
}

#[test]
fn terraform_and_cloudformation_make_the_same_table() {
    let mut tenant = Tenant::in_region("eu-west-1");
    for (id, prefix) in [("acme_eu", ""), ("acme_eu", PREFIX), ("", PREFIX)] {
        tenant.prefix = Prefix::parse(prefix).unwrap();
        let (stack, terraform) = made(&tenant, &[TABLE, ("TenantId", "tenant_id", id)]);
        let (table, made) =
            (&stack.properties("Table")["TableInput"], &terraform["aws_glue_catalog_table"]["audit_logs"]);
        let columns = |columns: &Value| -> Value {
            let columns = columns.as_array().unwrap().iter();
            columns.map(|column| json!({ "Name": column["name"], "Type": column["type"] })).collect()
        };
        let storage = &made["storage_descriptor"][0];
        let same = json!({
            "Name": made["name"],
            "TableType": made["table_type"],
            "Parameters": made["parameters"],
            "PartitionKeys": columns(&made["partition_keys"]),
            "StorageDescriptor": {
                "Columns": columns(&storage["columns"]),
                "Location": storage["location"],
                "InputFormat": storage["input_format"],
                "OutputFormat": storage["output_format"],
                "SerdeInfo": {
                    "SerializationLibrary": storage["ser_de_info"][0]["serialization_library"],
                    "Parameters": storage["ser_de_info"][0]["parameters"],
                },
            },
        });
        assert_eq!(same, *table);
        let parameters = &table["Parameters"];
        let folder = tenant_folder(&tenant.prefix, &TenantId::parse("T").unwrap()).replace("=T", "=${tenant}");
        assert_eq!(parameters["storage.location.template"], format!("s3://acme-audit-logs/{folder}dt=${{dt}}/"));
        let projected = (&parameters["projection.tenant.type"], parameters.get("projection.tenant.values"));
        match id {
            "" => assert_eq!(projected, (&json!("injected"), None)),
            id => assert_eq!(projected, (&json!("enum"), Some(&json!(id)))),
        }
    }
}

#[test]
fn each_stack_has_a_database_of_its_own() {
    let mut tenant = Tenant::in_region("eu-west-1");
    let mut names = BTreeSet::new();
    for prefix in ["", "security", PREFIX] {
        tenant.prefix = Prefix::parse(prefix).unwrap();
        let (stack, terraform) = made(&tenant, &[TABLE]);
        // The digits of the stack's id.
        assert_eq!(stack.properties("Database")["DatabaseInput"]["Name"], "audit_logs_1b2c3d4e");
        let name = terraform["aws_glue_catalog_database"]["audit_logs"]["name"].as_str().unwrap().to_owned();
        let digits = name.strip_prefix("audit_logs_").unwrap();
        assert!(digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn an_alarm_comes_three_hours_after_the_next_export_is_due() {
    let tenant = Tenant::in_region("eu-west-1");
    for (hours, after) in [("1", "4"), ("24", "27")] {
        let role_setup = RoleSetup { frequency: Frequency::parse(hours).ok(), ..tenant.all() };
        assert_eq!(in_cli(&role_setup.cli())["AlarmAfterHours"], after);
    }
    let unknown = RoleSetup { frequency: None, ..tenant.all() };
    assert!(
        !in_cli(&unknown.cli()).contains_key("AlarmAfterHours"),
        "the template's default is for a frequency of an hour"
    );
    assert_eq!(template()["Parameters"]["AlarmAfterHours"]["Default"], 4);
}
