//! No access token reaches another tenant's data: every operation, with every way to name another tenant.

use super::{refusals::operations, *};

/// Only the victim's data contains it.
const SECRET: &str = "victim";

fn all_of_the_victims(world: &World) -> String {
    let state = world.fakes.state();
    let events: Vec<_> = state.events.iter().filter(|((tenant, _), _)| tenant == SECRET).collect();
    let markers: Vec<_> = state.markers.iter().filter(|((tenant, _), _)| tenant == SECRET).collect();
    format!("{:?} {events:?} {markers:?}", state.tenants[SECRET])
}

/// Bodies for a path, some of which name the victim.
fn bodies(path: &str) -> Vec<Option<Value>> {
    match path {
        "/v1/connector" => vec![
            None,
            Some(json!({ "roleArn": ROLE })),
            Some(json!({ "roleArn": ROLE, "tenantId": SECRET })),
            Some(json!({ "roleArn": "arn:aws:iam::333333333333:role/somebody-elses" })),
        ],
        "/v1/connector/external-id" => vec![None, Some(json!({ "tenantId": SECRET, "externalId": SECRET }))],
        path if path.starts_with("/v1/export-settings") => {
            let mut naming = settings("thief");
            naming["tenantId"] = SECRET.into();
            naming["externalId"] = SECRET.into();
            vec![None, Some(settings("thief")), Some(naming), Some(json!({}))]
        }
        _ => vec![None],
    }
}

#[tokio::test]
async fn no_token_of_one_tenant_reads_or_changes_anything_of_another() {
    let world = World::new();
    for tenant in [SECRET, "thief"] {
        world.onboard(tenant).await;
        for minutes_ago in 1..=9 {
            world.event(tenant, minutes_ago, &format!("{tenant} did it"));
        }
    }
    let tokens = |path: &'static str| {
        let page = world.get(SECRET, path);
        async move { page.await.json()["nextPageToken"].as_str().unwrap_or_default().to_owned() }
    };
    let victims_page = tokens("/v1/audit-logs?pageSize=2").await;
    assert!(!victims_page.is_empty());
    let before = all_of_the_victims(&world);
    world.fakes.state().slots.clear();
    let (admin, reader) = (world.token("thief", ADMIN), world.token("thief", READ));
    let headers = [
        vec![],
        vec![("if-match", "*")],
        vec![("if-match", "*"), ("x-tenant-id", SECRET), ("tenant", SECRET), ("x-amzn-oidc-identity", SECRET)],
        vec![("if-match", "*"), ("x-forwarded-user", SECRET), ("cookie", "tenant_id=victim; tenant=victim")],
    ];
    let queries = [
        String::new(),
        "?tenant=victim".to_owned(),
        "?tenantId=victim".to_owned(),
        "?tenant_id=victim".to_owned(),
        "?user=ada%40victim.example&from=2026-11-01".to_owned(),
        "?q=victim".to_owned(),
        format!("?pageToken={victims_page}"),
        format!("?pageSize=100&pageToken={victims_page}"),
    ];
    let mut answered = 0;
    for (method, path, _) in operations() {
        for token in [&admin, &reader] {
            for query in &queries {
                for headers in &headers {
                    for body in bodies(&path) {
                        let answer = world.send(token, &method, &format!("{path}{query}"), headers, body).await;
                        // A refusal may quote the query.
                        let shown = answer.text.replace("tenant_id=victim", "");
                        assert!(!shown.contains(SECRET), "{method} {path}{query} {headers:?}: {shown}");
                        answered += u32::from(answer.status.is_success());
                        let slots = std::mem::take(&mut world.fakes.state().slots);
                        assert!(slots.keys().all(|(tenant, ..)| tenant.as_str() == "thief"), "{method} {path}{query}");
                        world.forget_downloads();
                    }
                }
            }
        }
        for path in [format!("{path}/{SECRET}"), format!("/tenants/{SECRET}{path}"), format!("{path}/../{SECRET}")] {
            let answer = world.send(&admin, &method, &path, &[], None).await;
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    assert!(answered > 300, "too few requests succeeded: {answered}");
    assert_eq!(all_of_the_victims(&world), before, "the victim's data has changed");
    let asked = world.fakes.state().verified.clone();
    assert!(asked.iter().filter(|it| it.tenant_id == SECRET).count() == 2, "only the victim's own verifications");
}
