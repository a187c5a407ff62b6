//! The pages as a browser sees them, over the world in memory.

mod crawl;
mod escaping;
mod forms;
mod late;
mod looks;
mod meanwhile;
mod proofs;
mod session;
mod weight;

use super::*;

/// Where the pages are, for most tests.
const HOST: &str = "console.example";

/// What a browser sends along.
struct Browser<'a> {
    world: &'a World,
    /// None where nobody is signed in.
    token: Option<String>,
}

impl Answer {
    /// Whether it is an answer of the pages: HTML, or something that leads to it.
    fn title(&self) -> &str {
        let after = self.text.split("<title>").nth(1).unwrap_or_default();
        after.split(" – ").next().unwrap_or_default()
    }

    /// The value of a form's field.
    fn field(&self, name: &str) -> String {
        let inputs = self.text.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
        let of_that_name = inputs.filter(|tag| tag.contains(&format!("name=\"{name}\"")));
        let values = of_that_name.filter_map(|tag| tag.split(" value=\"").nth(1)?.split('"').next().map(unescaped));
        values.collect::<Vec<_>>().first().cloned().unwrap_or_default()
    }

    /// Where it leads.
    fn location(&self) -> &str {
        self.header("location")
    }
}

/// An attribute's value as it is meant.
fn unescaped(text: &str) -> String {
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

impl World {
    /// A browser in which somebody is signed in.
    fn browser(&self, tenant: &str, permission: &str) -> Browser<'_> {
        Browser { world: self, token: Some(self.token(tenant, permission)) }
    }
}

impl Browser<'_> {
    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", HOST);
        match &self.token {
            Some(token) => request.header("cookie", format!("theme=dark; __Host-session={token}")),
            None => request,
        }
    }

    async fn look(&self, path: &str) -> Answer {
        self.world.raw(self.request("GET", path).body(HttpBody::empty()).unwrap()).await
    }

    /// The part of a page that its script asks for.
    async fn look_partly(&self, path: &str) -> Answer {
        let request = self.request("GET", path).header("hx-request", "true");
        self.world.raw(request.body(HttpBody::empty()).unwrap()).await
    }

    /// Fills a form in that a page has, and sends it.
    async fn send(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.look(page).await.field("csrf");
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

/// All paths of the pages that take a method, from where they are routed.
fn paths(method: &str) -> Vec<&'static str> {
    let routes = include_str!("../pages.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let paths: Vec<_> = routes
        .filter(|route| route.contains(&format!(" {method}(")) || route.contains(&format!(".{method}(")))
        .filter_map(|route| route.split('"').next())
        .collect();
    assert_eq!(paths.len(), if method == "get" { 9 } else { 7 }, "{paths:?}");
    paths
}

/// The paths that show a page, each with whether looking is enough.
const PAGES: [(&str, bool); 5] =
    [("/", true), ("/status", true), ("/connector", false), ("/connector/disconnect", false), ("/settings", false)];
