//! The filters of the audit logs: which values they offer.

use sha2::{Digest, Sha256};

use super::query::{LogsQuery, canonical, is_same};
use crate::{
    logs::{AuditLogSummary, MAX_VALUE_CHARS, ValueCount},
    pages::text::{number, shown, weight},
};

/// How many values a filter offers, at most, beside the chosen ones.
const MAX_OPTIONS: usize = 40;

/// The bytes that these values may add to the page, and about how many each adds beside its value and label.
const MAX_OPTIONS_BYTES: usize = 6_500;
const MARKUP_BYTES: usize = 210;

/// Fewer values need no search.
const MIN_SEARCHED: usize = 8;

/// A filter of the page.
pub(super) struct Facet {
    pub(super) name: &'static str,
    /// The parameter that excludes values.
    pub(super) except: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: usize,
    pub(super) options: Vec<FacetOption>,
    /// How many more values there are.
    pub(super) others: usize,
}

pub(super) struct FacetOption {
    /// Depends only on the value, so that the focus stays on it when the list changes.
    pub(super) id: String,
    pub(super) value: String,
    pub(super) label: String,
    /// What identifies a user, beside the name.
    pub(super) more: String,
    /// `None` if it was not counted.
    pub(super) count: Option<String>,
    pub(super) chosen: bool,
    pub(super) excluded: bool,
}

impl Facet {
    pub(super) fn is_searched(&self) -> bool {
        self.options.len() >= MIN_SEARCHED
    }
}

pub(super) fn facets(query: &LogsQuery, summary: Option<&AuditLogSummary>) -> Vec<Facet> {
    let counted = |values: fn(&AuditLogSummary) -> &Vec<ValueCount>| summary.map(values).map_or(&[][..], Vec::as_slice);
    let filters = [
        ("notAction", counted(|summary| &summary.actions)),
        ("notUser", counted(|summary| &summary.users)),
        ("notLogType", counted(|summary| &summary.log_types)),
    ];
    let chosen = query.filters().into_iter().filter(|(_, _, is_exclusion, _)| !is_exclusion);
    chosen
        .zip(filters)
        .map(|((name, label, _, chosen), (except, counted))| {
            let is_excluded = |value: &str| query.has(except, value);
            Facet { name, except, label, ..facet(name, chosen, is_excluded, counted) }
        })
        .collect()
}

/// Offers the chosen values first, even without events, then the most frequent ones.
fn facet(name: &'static str, chosen: &[String], is_excluded: impl Fn(&str) -> bool, counted: &[ValueCount]) -> Facet {
    let option = |value: &str, counted: Option<&ValueCount>, chosen| {
        let user = counted.and_then(|counted| counted.name.as_deref()).map(|user| shown(user, 60));
        let is_named = user.is_some();
        let label = user.unwrap_or_else(|| shown(value, 60));
        FacetOption {
            id: id(name, value),
            value: value.to_owned(),
            label,
            more: if is_named { shown(value, 60) } else { String::new() },
            count: counted.map(|counted| number(counted.count)),
            chosen,
            excluded: is_excluded(value),
        }
    };
    let mut options: Vec<FacetOption> = Vec::new();
    for value in chosen {
        if !options.iter().any(|it| is_same(name, &it.value, value)) {
            let counted = counted.iter().find(|it| is_same(name, &it.value, value));
            options.push(option(value, counted, true));
        }
    }
    let chosen = options.len();
    let others: Vec<_> =
        counted.iter().filter(|it| !options.iter().any(|chosen| is_same(name, &chosen.value, &it.value))).collect();
    let mut budget = MAX_OPTIONS_BYTES;
    for it in others.iter().filter(|it| it.value.chars().count() <= MAX_VALUE_CHARS) {
        let option = option(&it.value, Some(it), false);
        // The value is sent by two controls.
        let needed = MARKUP_BYTES + 2 * weight(&option.value) + 2 * weight(&option.label) + weight(&option.more);
        if options.len() - chosen == MAX_OPTIONS {
            break;
        }
        // A shorter value may still fit.
        if let Some(left) = budget.checked_sub(needed) {
            budget = left;
            options.push(option);
        }
    }
    let others = others.len() - (options.len() - chosen);
    Facet { name, except: "", label: "", chosen, options, others }
}

/// The same for values by which a filter finds the same events.
fn id(name: &str, value: &str) -> String {
    let digest = Sha256::digest(canonical(name, value).as_bytes());
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(value: String, count: u64) -> ValueCount {
        ValueCount { value, count, name: None }
    }

    fn of(name: &'static str, chosen: &[&str], counted: &[ValueCount]) -> Facet {
        let chosen: Vec<String> = chosen.iter().map(|&value| value.to_owned()).collect();
        facet(name, &chosen, |value| value == "v5", counted)
    }

    #[test]
    fn a_filter_offers_what_was_chosen_first_and_then_the_most_frequent() {
        let values: Vec<_> = (0..60).map(|at| counted(format!("v{at}"), 100 - at)).collect();
        let facet = of("user", &["V3", "gone"], &values);
        let first: Vec<_> = facet.options.iter().take(4).map(|it| (it.value.as_str(), it.count.as_deref())).collect();
        assert_eq!(first, [("V3", Some("97")), ("gone", None), ("v0", Some("100")), ("v1", Some("99"))]);
        assert_eq!((facet.options.len() + facet.others, facet.chosen), (61, 2));
        assert!(facet.options.len() > 25 && facet.is_searched(), "{}", facet.options.len());
        let excluded: Vec<_> = facet.options.iter().filter(|it| it.excluded).map(|it| it.value.as_str()).collect();
        assert_eq!(excluded, ["v5"]);
    }

    #[test]
    fn an_action_in_other_case_is_another_one() {
        let facet = of("action", &["V3"], &[counted("v3".to_owned(), 1)]);
        let options: Vec<_> = facet.options.iter().map(|it| (it.value.as_str(), it.chosen)).collect();
        assert_eq!(options, [("V3", true), ("v3", false)]);
        assert_ne!(facet.options[0].id, facet.options[1].id);
    }

    #[test]
    fn a_user_is_offered_with_name_and_address() {
        let ada = ValueCount { name: Some("Ada Lovelace".to_owned()), ..counted("ada@acme.example".to_owned(), 3) };
        let facet = of("user", &[], &[ada, counted("u-1".to_owned(), 1)]);
        let texts: Vec<_> = facet.options.iter().map(|it| (it.label.as_str(), it.more.as_str())).collect();
        assert_eq!(texts, [("Ada Lovelace", "ada@acme.example"), ("u-1", "")]);
    }

    #[test]
    fn a_values_id_is_its_own_and_does_not_depend_on_its_place() {
        let values: Vec<_> = (0..9).map(|at| counted(format!("v{at}"), 100 - at)).collect();
        let ids = |chosen: &[&str]| {
            let options = of("user", chosen, &values).options.into_iter();
            options.map(|it| (it.value.to_lowercase(), it.id)).collect::<std::collections::BTreeMap<_, _>>()
        };
        let before = ids(&[]);
        assert_eq!(before, ids(&["V7", "v3", "v7"]));
        assert_eq!(before.values().collect::<std::collections::BTreeSet<_>>().len(), 9);
    }

    #[test]
    fn long_values_do_not_make_the_page_heavy_and_short_ones_are_still_offered() {
        let value = |at: usize| if at == 30 { "short".to_owned() } else { format!("{at}{}", "<".repeat(315)) };
        let values: Vec<_> = (0..40).map(|at| counted(value(at), 9)).collect();
        let facet = of("action", &[], &values);
        let heavy: usize = facet.options.iter().map(|it| 2 * weight(&it.value) + 2 * weight(&it.label)).sum();
        assert!(heavy < MAX_OPTIONS_BYTES && facet.options.iter().any(|it| it.value == "short"), "{heavy}");
        assert_eq!(facet.options.len() + facet.others, 40);
    }
}
