//! The filters: which values are there to choose from.

use sha2::{Digest, Sha256};

use crate::{
    logs::ValueCount,
    pages::text::{number, shown, weight},
};

/// How many of a filter's values are offered; others are found by searching.
const OFFERED: usize = 25;

/// How much those may add to the page, in bytes; and how much each adds beside its value and label, about.
const BUDGET: usize = 6_000;
const MARKUP: usize = 150;

/// A value can't be looked for if it is longer than a parameter may be, in characters.
const MAX_VALUE: usize = 320;

/// A filter to choose values of.
pub(super) struct Facet {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: usize,
    pub(super) options: Vec<FacetOption>,
    /// How many values there are beyond those.
    pub(super) others: usize,
}

/// One value.
pub(super) struct FacetOption {
    /// The same wherever the value stands in the list: by it the focus finds the value again when the list has changed.
    pub(super) id: String,
    pub(super) value: String,
    pub(super) label: String,
    /// None where it was not counted, or there are none.
    pub(super) count: Option<String>,
    pub(super) chosen: bool,
}

/// The chosen values first, whether there are any events of them or not; then the most frequent ones.
pub(super) fn facet(name: &'static str, label: &'static str, chosen: &[String], counted: &[ValueCount]) -> Facet {
    let option = |value: &str, count: Option<u64>, chosen| FacetOption {
        id: id(name, value),
        value: value.to_owned(),
        label: shown(value, 60),
        count: count.map(number),
        chosen,
    };
    let mut options: Vec<FacetOption> = Vec::new();
    for value in chosen {
        if !options.iter().any(|it| it.value.eq_ignore_ascii_case(value)) {
            let counted = counted.iter().find(|it| it.value.eq_ignore_ascii_case(value));
            options.push(option(value, counted.map(|it| it.count), true));
        }
    }
    let chosen = options.len();
    let others: Vec<_> = counted
        .iter()
        .filter(|it| !options.iter().any(|chosen| chosen.value.eq_ignore_ascii_case(&it.value)))
        .collect();
    let mut budget = BUDGET;
    for it in others.iter().filter(|it| it.value.chars().count() <= MAX_VALUE) {
        let option = option(&it.value, Some(it.count), false);
        let needed = MARKUP + weight(&option.value) + weight(&option.label);
        if options.len() - chosen == OFFERED {
            break;
        }
        // A shorter one may still have its place.
        if let Some(left) = budget.checked_sub(needed) {
            budget = left;
            options.push(option);
        }
    }
    let others = others.len() - (options.len() - chosen);
    Facet { name, label, chosen, options, others }
}

/// In any case it is the same value.
fn id(name: &str, value: &str) -> String {
    let digest: String =
        Sha256::digest(value.to_ascii_lowercase()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_offers_what_was_chosen_first_and_then_the_most_frequent() {
        let counted: Vec<_> = (0..40).map(|at| ValueCount { value: format!("v{at}"), count: 100 - at }).collect();
        let facet = facet("action", "Action", &["V3".to_owned(), "gone".to_owned()], &counted);
        let first: Vec<_> = facet.options.iter().take(4).map(|it| (it.value.as_str(), it.count.as_deref())).collect();
        assert_eq!(first, [("V3", Some("97")), ("gone", None), ("v0", Some("100")), ("v1", Some("99"))]);
        assert_eq!((facet.options.len(), facet.others, facet.chosen), (27, 14, 2));
    }

    #[test]
    fn a_value_has_the_same_id_wherever_it_stands_and_each_another() {
        let counted: Vec<_> = (0..9).map(|at| ValueCount { value: format!("v{at}"), count: 100 - at }).collect();
        let ids = |chosen: &[&str]| {
            let chosen: Vec<String> = chosen.iter().map(|&value| value.to_owned()).collect();
            let options = facet("action", "Action", &chosen, &counted).options.into_iter();
            options.map(|it| (it.value.to_lowercase(), it.id)).collect::<std::collections::BTreeMap<_, _>>()
        };
        let before = ids(&[]);
        assert_eq!(before, ids(&["V7", "v3", "v7"]));
        assert_eq!(before.values().collect::<std::collections::BTreeSet<_>>().len(), 9);
    }

    #[test]
    fn long_values_do_not_make_the_page_heavy_and_short_ones_are_still_offered() {
        let value = |at: usize| if at == 30 { "short".to_owned() } else { format!("{at}{}", "<".repeat(315)) };
        let counted: Vec<_> = (0..40).map(|at| ValueCount { value: value(at), count: 9 }).collect();
        let facet = facet("action", "Action", &[], &counted);
        let heavy: usize = facet.options.iter().map(|it| weight(&it.value) + weight(&it.label)).sum();
        assert!(heavy < BUDGET && facet.options.iter().any(|it| it.value == "short"), "{heavy}");
        assert_eq!(facet.options.len() + facet.others, 40);
    }
}
