//! A document of the repository as a page.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

use super::layout::{Layout, NavItem, html};

#[derive(Template)]
#[template(path = "document.html")]
struct DocumentPage {
    layout: Layout,
    document: &'static str,
}

/// `document` is [rendered].
pub(super) fn page(layout: Layout, document: &'static str) -> Response {
    html(StatusCode::OK, &DocumentPage { layout, document })
}

/// Markdown as HTML: its title, then a card for the introduction and one for each section. HTML within it is shown as text, but
/// for comments, and links to other files of the repository are text, too.
pub(crate) fn rendered(markdown: &str) -> String {
    let raw = |html: &'static str| Event::Html(html.into());
    let mut events = Parser::new_ext(markdown, Options::ENABLE_TABLES);
    let mut shown = Vec::new();
    let (mut heading, mut in_head, mut in_link) = (String::new(), false, false);
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let is_end = |event: &Event| matches!(event, Event::End(TagEnd::Heading(_)));
                heading = events.by_ref().take_while(|event| !is_end(event)).map(text).collect();
                if level == HeadingLevel::H2 {
                    shown.push(raw("</section><section class=\"card prose\">"));
                }
                shown.push(Event::Html(format!("<{level} id=\"{}\">", anchor(&heading)).into()));
                shown.push(Event::Text(heading.clone().into()));
                shown.push(Event::Html(format!("</{level}>").into()));
                if level == HeadingLevel::H1 {
                    shown.push(raw("<section class=\"card prose\">"));
                }
            }
            Event::Start(Tag::Table(_)) => {
                // No landmark, since several tables of a section would have the same name.
                let region = format!("role=\"group\" aria-labelledby=\"{}\" tabindex=\"0\"", anchor(&heading));
                shown.push(Event::Html(format!("<div class=\"scroll\" {region}><table>").into()));
                shown.push(raw("<caption class=\"unseen\">"));
                shown.push(Event::Text(heading.clone().into()));
                shown.push(raw("</caption>"));
            }
            Event::Start(Tag::TableHead) => {
                in_head = true;
                shown.push(raw("<thead><tr>"));
            }
            Event::End(TagEnd::TableHead) => {
                in_head = false;
                shown.push(raw("</tr></thead><tbody>"));
            }
            Event::Start(Tag::TableCell) => shown.push(raw(if in_head { "<th scope=\"col\">" } else { "<td>" })),
            Event::End(TagEnd::TableCell) => shown.push(raw(if in_head { "</th>" } else { "</td>" })),
            Event::End(TagEnd::Table) => shown.push(raw("</tbody></table></div>")),
            Event::Start(Tag::CodeBlock(_)) => shown.push(raw("<div class=\"code\"><pre tabindex=\"0\"><code>")),
            Event::End(TagEnd::CodeBlock) => shown.push(raw("</code></pre></div>")),
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                in_link = dest_url.starts_with('#') || dest_url.starts_with("https://");
                shown.extend(in_link.then_some(event));
            }
            Event::End(TagEnd::Link) => shown.extend(in_link.then_some(event)),
            Event::Start(Tag::HtmlBlock | Tag::Image { .. }) | Event::End(TagEnd::HtmlBlock | TagEnd::Image) => {}
            Event::Html(html) if html.starts_with("<!--") => {}
            Event::Html(html) | Event::InlineHtml(html) => shown.push(Event::Text(html)),
            other => shown.push(other),
        }
    }
    shown.push(raw("</section>"));
    let mut html = String::new();
    push_html(&mut html, shown.into_iter());
    html
}

fn text(event: Event<'_>) -> String {
    match event {
        Event::Text(text) | Event::Code(text) => text.into_string(),
        _ => String::new(),
    }
}

/// The fragment that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}
