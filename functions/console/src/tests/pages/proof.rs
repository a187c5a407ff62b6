//! How to verify: the box on the status page, the keys' files, and the document.

use audit_log_core::records::ManifestState;

use super::{super::manifest_keys::sign, *};

/// The box; empty if the page has none.
fn section(page: &Answer) -> &str {
    let section = page.text.split("<section class=\"card verify\" aria-labelledby=\"proof-title\">").nth(1);
    section.and_then(|rest| rest.split("</section>").next()).unwrap_or_default()
}

fn commands(page: &Answer) -> String {
    let text = section(page).split("<pre id=\"verify\" tabindex=\"0\">").nth(1).unwrap();
    unescaped(text.split("</pre>").next().unwrap())
}

/// Each receipt's cell, from the newest on.
fn states(page: &Answer) -> Vec<String> {
    let cells = page.text.split("<span class=\"of\">Manifest</span>").skip(1);
    cells.map(|cell| cell.split('>').nth(1).unwrap().split('<').next().unwrap().to_owned()).collect()
}

fn set_state(world: &World, newest: usize, state: ManifestState) {
    let mut fakes = world.fakes.state();
    let receipts = fakes.tenants.get_mut("acme").unwrap().receipts.values_mut().rev().take(newest);
    receipts.for_each(|receipt| receipt.manifest.as_mut().unwrap().state = state);
}

#[tokio::test]
async fn the_status_shows_how_to_verify_and_each_windows_manifest() {
    let world = World::with("acme").await;
    super::super::reading::export(&world, "acme", 3);
    let browser = world.browser("acme", READ);
    let without = browser.get("/status").await;
    assert_eq!((section(&without), states(&without)), ("", vec!["None".to_owned(); 3]));
    assert_eq!(world.fakes.calls(Op::ManifestKeys), 0, "nobody needs the keys");

    sign(&world, "acme");
    let page = browser.get("/status").await;
    assert_eq!(states(&page), ["Signed"; 3]);
    let head = world.get("acme", "/v1/status").await.json()["manifestHead"].as_str().unwrap().to_owned();
    let expected = [
        r#"aws s3 sync "s3://acme-audit-logs/it's (safe)/audit-logs/tenant=acme/" 'tenant=acme'"#,
        r"audit-log-verify --key manifest-key-a7937b64.pem --key manifest-key-b1e99324.pem --key manifest-key-16367aac.pem \",
        &format!("  --head {head} 'tenant=acme'"),
    ];
    assert_eq!(commands(&page).lines().collect::<Vec<_>>(), expected);
    let section = section(&page);
    assert_eq!((section.matches("<dt>Key</dt>").count(), section.matches("<dt>Earlier key</dt>").count()), (1, 2));
    // printf first | sha256sum
    let fingerprint = "<code>a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e</code>";
    assert!(section.contains(fingerprint), "{section}");
    assert!(!section.contains("not signed") && section.contains("<a href=\"./proof\">"), "{section}");
    let more = browser.get("/status?pageToken=MjAyNi0xMS0yMVQxMDowMDowMFo").await;
    assert_eq!((more.status.as_u16(), self::section(&more)), (200, ""), "only the first page has the box");
}

#[tokio::test]
async fn windows_that_are_not_signed_are_shown_as_such() {
    let world = World::with("acme").await;
    super::super::reading::export(&world, "acme", 3);
    sign(&world, "acme");
    let browser = world.browser("acme", READ);
    set_state(&world, 2, ManifestState::Unsigned);
    let page = browser.get("/status").await;
    assert_eq!(states(&page), ["Not signed", "Not signed", "Signed"]);
    assert!(section(&page).contains("The last window is not signed"), "{}", section(&page));
    set_state(&world, 1, ManifestState::Signed);
    let page = browser.get("/status").await;
    assert!(!section(&page).contains("The last window is not signed"), "{}", section(&page));
    assert_eq!(states(&page), ["Signed", "Not signed", "Signed"]);

    let failure = Failure::new(Code::SigningFailed, "KMS answered DisabledException.");
    world.change(|tenant| (tenant.last_error, tenant.consecutive_failures) = (Some((failure, now())), 1));
    let page = browser.get("/status").await.text;
    for words in ["The last export could not be signed", "delivered without a signature", "Platform issue"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("KMS answered") && !page.contains("exports will catch up"), "{page}");
}

#[tokio::test]
async fn the_status_is_shown_without_keys_and_while_they_cannot_be_read() {
    let world = World::with("acme").await;
    super::super::reading::export(&world, "acme", 1);
    sign(&world, "acme");
    set_state(&world, 1, ManifestState::Unsigned);
    world.fakes.state().manifest_keys.clear();
    let browser = world.browser("acme", READ);
    let page = browser.get("/status").await;
    assert!(
        section(&page).contains("No window is signed yet") && !page.text.contains("audit-log-verify"),
        "{}",
        page.text
    );
    world.fakes.always(Op::ManifestKeys, None, Failure::new(Code::Unavailable, "no answer"));
    let page = browser.get("/status").await;
    assert!(section(&page).contains("can’t be read at the moment"), "{}", page.text);
    assert_eq!((page.status.as_u16(), states(&page)), (200, vec!["Not signed".to_owned()]));
}

#[tokio::test]
async fn each_key_is_a_file_of_its_own() {
    let world = World::with("acme").await;
    super::super::reading::export(&world, "acme", 1);
    sign(&world, "acme");
    let browser = world.browser("acme", READ);
    let keys = world.send("", "GET", "/v1/manifest-keys", &[], None).await.json();
    let page = browser.get("/status").await;
    let links: Vec<_> =
        section(&page).split("href=\"./manifest-keys/").skip(1).map(|it| it.split('"').next().unwrap()).collect();
    assert_eq!(links.len(), 3);
    for (link, key) in links.into_iter().zip(keys["keys"].as_array().unwrap()) {
        let file = browser.get(&format!("/manifest-keys/{link}")).await;
        assert_eq!(
            (file.text.as_str(), file.header("content-type")),
            (key["pem"].as_str().unwrap(), "application/x-pem-file")
        );
        assert_eq!(file.header("content-disposition"), format!("attachment; filename=\"{link}\""));
    }
    assert_eq!(browser.get("/manifest-keys/manifest-key-00000000.pem").await.status, 404);
    assert_eq!(Browser { world: &world, token: None }.get("/manifest-keys/x").await.status, 401);
}
