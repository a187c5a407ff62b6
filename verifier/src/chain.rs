//! The manifests in order: which windows they prove, and what is wrong between them.

mod deliveries;
mod finals;
mod head;
mod links;
mod slots;
mod texts;
mod unsigned;

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use self::deliveries::Deliveries;
pub(crate) use self::{
    deliveries::Delivery,
    head::GivenHead,
    slots::Slot,
    texts::{Text, Texts},
};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    names::Class,
    window::{Window, instant},
};

/// The time that is to be checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// None: from the first window on.
    pub from: Option<DateTime<Utc>>,
    /// None: to the last window.
    pub to: Option<DateTime<Utc>>,
}

impl Range {
    pub(crate) fn includes(&self, window: &Window) -> bool {
        self.from.is_none_or(|from| from < window.to) && self.to.is_none_or(|to| window.from < to)
    }

    /// Whether it has a beginning or an end.
    pub(crate) fn is_limited(&self) -> bool {
        self.from.or(self.to).is_some()
    }
}

/// Where the windows begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With the tenant's first manifest.
    First,
    /// With one that names another, which isn't in the folder.
    After(Sha256),
    /// With one that continues another in the folder.
    Within,
    /// The first manifest can't be used.
    Unknown,
}

/// The manifests of a folder in order.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The trusted ones, in the range or not.
    pub(crate) texts: Vec<Text>,
    /// The windows in the range.
    pub(crate) slots: Vec<Slot>,
    /// Those with files in the range.
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) beginning: Beginning,
    /// The hash of the last trusted manifest in the range.
    pub(crate) head: Option<Sha256>,
    pub(crate) given_head: GivenHead,
    /// The files that trusted manifests list, in the range or not.
    pub(crate) listed: HashSet<String>,
    /// Times in the range for which a finding says that nothing is proved.
    pub(crate) unproved: Vec<Window>,
    /// The same of final deliveries.
    pub(crate) unproved_finals: Vec<Window>,
    /// Whether the manifest is there that lists the late arrivals of the last window in the range.
    pub(crate) has_next: bool,
    pub(crate) findings: Vec<Finding>,
}

impl Chain {
    /// Puts manifests in order.
    pub(crate) fn new(texts: Texts, range: Range, head: Option<Sha256>) -> Self {
        let Texts { texts, opaque, mut findings, .. } = texts;
        let all_slots = slots::new(&texts, &opaque);
        let regular = links::Regular::new(&texts, &all_slots);
        findings.extend(unsigned::check(&texts, &opaque, &all_slots, &regular));
        let first = all_slots.iter().position(|slot| range.includes(&slot.window));
        let beginning = first.map_or(Beginning::Unknown, |at| beginning(&texts, &regular, &all_slots[..=at]));
        let slots: Vec<Slot> = all_slots.iter().filter(|slot| range.includes(&slot.window)).copied().collect();
        findings.extend(links::check(&texts, &regular, &slots));
        findings.extend(finals::check(&texts, &opaque, &all_slots));
        if let (Beginning::After(previous), Some(first)) = (beginning, slots.first()) {
            let detail = format!("the chain begins at {} and names {previous}", instant(first.window.from));
            findings.push(Finding::new(Kind::PredecessorAbsent, detail).of(first.window));
        }
        findings.extend(not_covered(&slots, range));
        let given_head =
            head.map_or(GivenHead::None, |head| GivenHead::find(&texts, &regular, &all_slots, &slots, head));
        findings.extend(head.and_then(|head| given_head.finding(head, &slots)));
        let mut unproved: Vec<Window> =
            slots.iter().filter(|slot| slot.text.is_none()).map(|slot| slot.window).collect();
        let missing = findings.iter().filter(|finding| finding.kind == Kind::ManifestMissing);
        unproved.extend(missing.filter_map(|finding| finding.window));
        let Deliveries { mut deliveries, listed, findings: found, unproved: more } =
            Deliveries::new(&texts, &opaque, &all_slots, &unproved);
        findings.extend(found);
        unproved.extend(more);
        let finals = opaque.iter().filter(|opaque| opaque.name.class == Class::Final);
        let mut unproved_finals: Vec<Window> = finals.map(|opaque| opaque.name.window).collect();
        // What is in the range is decided here and for files in `unlisted`.
        deliveries.retain_mut(|delivery| delivery.limit(&texts[delivery.text].manifest, range));
        unproved.retain(|window| range.includes(window));
        unproved_finals.retain(|window| range.includes(window));
        findings.retain(|finding| finding.window.is_none_or(|window| range.includes(&window)));
        let head = slots.iter().rev().find_map(|slot| slot.text).map(|text| texts[text].manifest.sha256);
        let end = slots.last().map(|slot| slot.window.to);
        let has_next = all_slots.iter().any(|slot| slot.text.is_some() && Some(slot.window.from) == end);
        Self {
            texts,
            slots,
            deliveries,
            beginning,
            head,
            given_head,
            listed,
            unproved,
            unproved_finals,
            has_next,
            findings,
        }
    }
}

/// `slots` ends with the first one in the range.
fn beginning(texts: &[Text], regular: &links::Regular, slots: &[Slot]) -> Beginning {
    let Some((first, before)) = slots.split_last() else { return Beginning::Unknown };
    let Some(text) = first.text else { return Beginning::Unknown };
    match texts[text].manifest.previous {
        None => Beginning::First,
        Some(previous) if regular.has(previous) => Beginning::Within,
        // What is wrong with those before isn't asked for.
        Some(_) if before.iter().any(|slot| slot.text.is_some()) => Beginning::Within,
        Some(previous) => Beginning::After(previous),
    }
}

fn not_covered(slots: &[Slot], range: Range) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |detail: String| findings.push(Finding::new(Kind::NotCovered, detail));
    let Some((first, last)) = slots.first().zip(slots.last()) else {
        if range.is_limited() {
            add("no window of that time is in the folder".to_owned());
        }
        return findings;
    };
    if let Some(from) = range.from.filter(|from| *from < first.window.from) {
        add(format!("{} to {}", instant(from), instant(first.window.from)));
    }
    let end = slots.iter().map(|slot| slot.window.to).max().unwrap_or(last.window.to);
    if let Some(to) = range.to.filter(|to| *to > end) {
        add(format!("{} to {}", instant(end), instant(to)));
    }
    findings
}
