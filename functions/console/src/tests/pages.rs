//! The pages as a browser sees them, over the fakes.

mod conflicts;
mod crawl;
mod csrf;
mod embedding;
mod escaping;
mod forms;
mod incidents;
mod logs_and_status;
mod obstacles;
mod proof;
mod replay;
mod returning;
mod saving;
mod session;
mod setup;
mod sign_in;
mod states;
mod weight;

use std::collections::BTreeSet;

use super::*;

const HOST: &str = "console.example";

struct Browser<'a> {
    world: &'a World,
    /// `None` if signed out.
    token: Option<String>,
}

impl Answer {
    fn title(&self) -> &str {
        let after = self.text.split("<title>").nth(1).unwrap_or_default();
        after.split(" – ").next().unwrap_or_default()
    }

    fn field(&self, name: &str) -> String {
        let inputs = self.text.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
        let of_that_name = inputs.filter(|tag| tag.contains(&format!("name=\"{name}\"")));
        let values = of_that_name.filter_map(|tag| tag.split(" value=\"").nth(1)?.split('"').next().map(unescaped));
        values.collect::<Vec<_>>().first().cloned().unwrap_or_default()
    }

    fn location(&self) -> &str {
        self.header("location")
    }
}

fn unescaped(text: &str) -> String {
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

impl World {
    fn browser(&self, tenant: &str, permission: &str) -> Browser<'_> {
        Browser { world: self, token: Some(self.token(tenant, permission)) }
    }
}

impl Browser<'_> {
    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", HOST);
        match &self.token {
            Some(token) => request.header("cookie", format!("theme=dark; __Host-audit-log-session={token}")),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.world.raw(self.request("GET", path).body(HttpBody::empty()).unwrap()).await
    }

    /// As the page's script does.
    async fn get_partial(&self, path: &str) -> Answer {
        let request = self.request("GET", path).header("hx-request", "true");
        self.world.raw(request.body(HttpBody::empty()).unwrap()).await
    }

    /// Sends a form with the CSRF token of a page.
    async fn send(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.get(page).await.field("csrf");
        self.post(path, &[("sec-fetch-site", "same-origin")], &[&[("csrf", csrf.as_str())], fields].concat()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let mut request = self.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.world.raw(request.body(body.into()).unwrap()).await
    }
}

/// The source of the routes.
const ROUTES: &str = include_str!("../pages.rs");

/// The paths of all routes of a method, read from the source.
fn paths(method: &str) -> Vec<&'static str> {
    let routes: Vec<_> = ROUTES.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")).collect();
    assert_eq!(routes.len(), ROUTES.matches(".route(").count(), "each route begins a line with its path");
    let has_method = |route: &&str| [" ", "."].iter().any(|before| route.contains(&format!("{before}{method}(")));
    routes.into_iter().filter(has_method).filter_map(|route| route.split('"').next()).collect()
}

/// An address of each page, and whether the read permission is enough. The event is the newest one of [`crawl::busy`].
const PAGES: [(&str, bool); 11] = [
    ("/", true),
    ("/status", true),
    ("/event?at=MjAyNi0xMS0yMVQxMDowMjoxMi4zNDVaI2FjbWUtMQ", true),
    ("/obstacles", true),
    ("/proof", true),
    ("/replay?from=2026-11-21T07:00&to=2026-11-21T09:00", false),
    ("/connector", false),
    ("/connector/disconnect", false),
    ("/connector/external-id", false),
    ("/settings", false),
    ("/setup/steps", false),
];

/// What is no page of its own.
const FILES: [&str; 6] = [
    "/replay/progress",
    "/audit-logs.csv",
    "/connector/template.yaml",
    "/connector/terraform.tf",
    "/manifest-keys/{name}",
    "/assets/{name}",
];

/// Pages that need no session, since they are the same for everybody.
const OPEN: [&str; 2] = ["/obstacles", "/proof"];

#[test]
fn every_page_is_among_those_that_the_tests_visit() {
    // Of a tenant that exports, the setup leads to the status; its own tests visit it.
    let others = FILES.into_iter().chain(["/setup"]);
    let pages = PAGES.iter().map(|(address, _)| address.split('?').next().unwrap());
    let visited: BTreeSet<_> = pages.chain(others).collect();
    assert_eq!(visited, paths("get").into_iter().collect(), "add new pages to PAGES");
}
