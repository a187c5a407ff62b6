//! What is wrong with what was asked for, in the words of the page: the API has others for the same.

use audit_log_web::problem::Problem;

use crate::pages::{render::Alert, text::sentence};

/// The parameters of the page's address, with what stands for them on the page.
const PARAMETERS: [(&str, &str); 7] = [
    ("from", "The beginning of the period"),
    ("to", "The end of the period"),
    ("q", "The search"),
    ("action", "The filter by action"),
    ("user", "The filter by user"),
    ("logType", "The filter by log type"),
    ("pageToken", "The address of this page"),
];

/// A refusal, and the fields that are to blame.
pub(super) fn told(problem: &Problem) -> (Alert, Vec<&'static str>) {
    let mut wrong = Vec::new();
    let messages: Vec<String> = problem
        .errors()
        .iter()
        .map(|error| {
            let known = PARAMETERS.iter().find(|(name, _)| *name == error.field);
            wrong.extend(known.map(|(name, _)| *name));
            let words = known.map_or("The address of this page", |(_, words)| *words);
            match error.field.as_str() {
                "pageToken" => "The address of this page is not one that these pages gave out.".to_owned(),
                _ => sentence(words, &error.message),
            }
        })
        .collect();
    let detail = if messages.is_empty() { problem.detail().to_owned() } else { messages.join(" ") };
    (Alert { title: "That can’t be looked for".to_owned(), detail, ..Alert::of(problem) }, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_in_the_words_of_the_page() {
        let (alert, wrong) = told(&Problem::parameter("from", "is not before the end of the period"));
        assert_eq!(alert.detail, "The beginning of the period is not before the end of the period.");
        assert_eq!(wrong, ["from"]);
        let (alert, wrong) = told(&Problem::parameter("pageToken", "is not one that this API gave out"));
        assert!(!alert.detail.contains("pageToken") && !alert.detail.contains("API"), "{}", alert.detail);
        assert_eq!(wrong, ["pageToken"]);
    }
}
