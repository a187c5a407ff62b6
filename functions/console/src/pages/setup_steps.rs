//! The steps that somebody in AWS has to take, as one text: to be sent to an administrator who can't open these pages.

use askama::Template;
use audit_log_core::role_setup::{TEMPLATE_FILE, TERRAFORM_FILE};
use audit_log_web::caller::Admin;
use axum::{extract::State, response::Response};
use http::StatusCode;

use super::{
    error_page::ErrorPage,
    layout::{Layout, NavItem, html},
    session::Session,
    setup::PlaceView,
};
use crate::{
    app::{App, Backend},
    connector::{self, Connector},
    setup::Setup,
};

#[derive(Template)]
#[template(path = "setup-steps.html")]
struct StepsPage {
    layout: Layout,
    has_destination: bool,
    text: String,
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
) -> Result<Response, ErrorPage> {
    let found = connector::with_records(&app, &session.caller).await;
    let (connector, records) = found.map_err(|problem| session.refuse(&problem))?;
    let tenant = session.caller.tenant();
    let place = Setup::from_records(&records).destination.map(|typed| PlaceView::new(tenant, &typed));
    let nav_item = if session.setup_pending { NavItem::Setup } else { NavItem::Connector };
    let page = StepsPage {
        layout: session.layout(nav_item, "Steps for your AWS administrator"),
        has_destination: place.is_some(),
        text: steps(tenant.as_str(), &connector, place.as_ref()),
    };
    Ok(html(StatusCode::OK, &page))
}

/// The whole text. It has every value, so that nobody has to look anything up.
fn steps(tenant: &str, connector: &Connector, place: Option<&PlaceView>) -> String {
    let Connector { external_id, pending_external_id, provider_account_id, provider_role_name, .. } = connector;
    let external_id = pending_external_id.as_ref().unwrap_or(external_id);
    let mut text = "AUDIT LOG EXPORT TO S3: STEPS FOR THE AWS ADMINISTRATOR\n\n\
        Please create an IAM role in our AWS account. Through it, our provider adds audit log files to one folder of our S3\n\
        bucket. The role can't read, list or delete anything. Only the provider's role below can assume it, and only with our\n\
        external ID.\n\nVALUES\n\n"
        .to_owned();
    let mut value = |name: &str, value: &str| text.extend([&format!("  {name:<18}"), value, "\n"]);
    match place {
        Some(place) => {
            let note = if place.create_bucket { " (created along with the role)" } else { " (must exist)" };
            value("Bucket", &format!("{}{note}", place.bucket));
            value("Region", &place.region);
            value("Folder", &place.folder);
            if let Some(key) = &place.kms_key {
                value("KMS key", key);
            }
        }
        None => value("Bucket", "to be filled in"),
    }
    value("Tenant", tenant);
    value("External ID", external_id);
    value("Provider account", provider_account_id);
    value("Provider role", provider_role_name);
    text.push_str(
        "\nCREATE THE ROLE\n\nChoose one of these ways. All create the same role. To get an email when files\n\
         stop arriving, set AlarmEmail, or alarm_email in Terraform, to an address.\n\n",
    );
    let mut way = 0;
    let mut heading = |text: &mut String, name: &str| {
        way += 1;
        text.push_str(&format!("{way}. {name}\n\n"));
    };
    if let Some(url) = &connector.quick_create_url {
        heading(&mut text, "CloudFormation console");
        text.extend([
            "Sign in to the account, then open this link. Check the values, acknowledge that a role is created, and create the\nstack.\n\n",
            url,
            "\n\n",
        ]);
    }
    heading(&mut text, "AWS CLI");
    text.push_str("Run these commands in bash. The last line they print is the role's ARN.\n");
    if connector.template_url.is_none() {
        text.push_str(&format!("First save the template at the end of this text as {TEMPLATE_FILE}.\n"));
    }
    text.extend(["\n", &connector.cli, "\n"]);
    heading(&mut text, "Terraform");
    text.push_str(&format!(
        "Save the following lines as {TERRAFORM_FILE} and apply them, or use them as a module. The output role_arn is the\nrole's ARN.\n\n"
    ));
    text.extend([connector.terraform.as_str(), "\nSEND BACK\n\n"]);
    text.push_str(
        "The role's ARN: the stack's output RoleArn, the last line of the commands, or Terraform's output role_arn. It looks like\n\
         arn:aws:iam::123456789012:role/audit-log-export-1A2B3C. Send it to the person who sent you this text. Nothing else is\n\
         needed, and nothing of it is secret.\n",
    );
    if connector.template_url.is_none() {
        text.extend([&format!("\nTEMPLATE ({TEMPLATE_FILE})\n\n"), connector.template]);
    }
    text
}
