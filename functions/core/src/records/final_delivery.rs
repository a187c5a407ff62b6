//! Final deliveries: what is left to deliver to the places that a tenant's admins have left.
//!
//! An admin's token is enough to point the export at another bucket. The place that is left gets everything up to and including
//! that change, so that a thief of the token can't lead the export elsewhere without an event of it in that place. Each place has
//! a delivery of its own: a place that refuses its delivery hides no change from the others.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Chain, Receipt, StoredWatermark, giving_up};
use crate::{
    failure::{Code, Failure, Party},
    object::tenant_folder,
    schedule::Window,
    settings::Draft,
    tenant::{AccountId, BucketName, Prefix, RoleArn, TenantId},
    timestamp,
};

/// Places that may wait after a save or a connection. A disconnect is never refused, and may add one more.
pub const MAX_PLACES: usize = 8;

/// An item in DynamoDB has at most 400 KB, and each place may have a checkpoint of that many bytes: enough for some 300 files.
/// A delivery with more goes on from there.
pub const MAX_CHECKPOINT_BYTES: usize = 32 * 1024;

/// Where deliveries go, by whose rights, and how they get in. Another one of these is another place, since wrong settings for the
/// same bucket would otherwise stop the deliveries before anything is left of the right ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub bucket: String,
    /// The tenant's folder in the bucket.
    pub folder: String,
    /// The account that each write expects to own the bucket.
    pub owner: String,
    /// The role's account. The same bucket may refuse a role of another account, and would then get no more events.
    pub role_account: String,
    pub region: String,
    /// The encryption and its key, as they are in the settings.
    pub encryption: String,
}

impl Place {
    /// The place of stored settings; none if they lead nowhere.
    pub fn of(tenant: &TenantId, settings: &Draft) -> Option<Self> {
        let optional = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let bucket = BucketName::parse(settings.bucket.as_deref()?).ok()?;
        let prefix = Prefix::parse(settings.prefix.as_deref().unwrap_or_default()).ok()?;
        let role = RoleArn::parse(settings.role_arn.as_deref()?).ok()?;
        let owner = optional(&settings.bucket_owner).map(|text| AccountId::parse(&text)).transpose().ok()?;
        Some(Self {
            bucket: bucket.to_string(),
            folder: tenant_folder(&prefix, tenant),
            owner: owner.as_ref().unwrap_or(role.account()).to_string(),
            role_account: role.account().to_string(),
            region: settings.region.clone().unwrap_or_default(),
            encryption: optional(&settings.encryption).unwrap_or_else(|| "bucket".to_owned())
                + &optional(&settings.kms_key_arn).map(|key| format!(" {key}")).unwrap_or_default(),
        })
    }
}

/// One place's delivery. Serializes to the stored form, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalDelivery {
    pub place: Place,
    /// The settings before the place was left, unchecked.
    pub config: Draft,
    /// Up to where the place has everything; whole seconds, like the others.
    #[serde(with = "timestamp::serde_seconds")]
    pub from: DateTime<Utc>,
    /// After the time of the change that left the place, so that the place gets the audit event of that change.
    #[serde(with = "timestamp::serde_seconds")]
    pub until: DateTime<Utc>,
    /// When the place was left first.
    #[serde(with = "timestamp::serde_seconds")]
    pub since: DateTime<Utc>,
    /// When it was left last.
    #[serde(with = "timestamp::serde_seconds")]
    pub left_at: DateTime<Utc>,
    /// Whether the place refused the exports each time that it was left.
    pub was_failing: bool,
    /// How often it was left.
    pub times_left: u64,
    /// The [`TrailingCounts`](crate::late_arrivals::TrailingCounts) of the window that ends at `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailing_counts: Option<String>,
    /// SHA-256 of the text of the [manifest](crate::manifest) that this delivery's follows: the place's last window's when the
    /// place was left, or that of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    /// When signing a manifest of this delivery failed first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub signing_failed_since: Option<DateTime<Utc>>,
    /// A [`Checkpoint`](crate::checkpoint::Checkpoint) of a delivery that takes longer than a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Until then, a request that failed may still store an object.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub retry_after: Option<DateTime<Utc>>,
    /// When it failed first since the place was left or a part was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub failing_since: Option<DateTime<Utc>>,
    /// When it failed first for a reason that is the customer's, since then.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub refused_since: Option<DateTime<Utc>>,
}

impl FinalDelivery {
    /// Whether a delivery that has just failed is tried no more. The time counts from its first failure: a fleet that couldn't try
    /// for a day must not give up at its first try.
    pub fn is_given_up(&self, failure: &Failure, now: DateTime<Utc>) -> bool {
        giving_up::is_given_up(failure.party, self.failing_since, self.refused_since, now)
    }

    /// The same after a failure.
    #[must_use]
    pub fn after_failure(&self, failure: &Failure, now: DateTime<Utc>) -> Self {
        let now = Some(timestamp::whole_seconds(now));
        let refused_since = self.refused_since.or(now.filter(|_| failure.party == Party::Customer));
        let signing_failed_since = now.filter(|_| failure.code == Code::SigningFailed);
        let signing_failed_since = signing_failed_since.map(|now| self.signing_failed_since.unwrap_or(now));
        Self { failing_since: self.failing_since.or(now), refused_since, signing_failed_since, ..self.clone() }
    }

    /// The settings to deliver by, unchecked: those before the change, with the external IDs of today if the tenant still has the
    /// same role. A rotation that was completed meanwhile has replaced those that the role demands.
    pub fn config_now(&self, stored: Option<&Draft>) -> Draft {
        let config = self.config.clone();
        match stored.filter(|stored| stored.external_id.is_some() && stored.role_arn == config.role_arn) {
            Some(Draft { external_id, pending_external_id, .. }) => {
                Draft { external_id: external_id.clone(), pending_external_id: pending_external_id.clone(), ..config }
            }
            None => config,
        }
    }

    /// Returns what is left after the window was delivered to the place; none if that is nothing.
    ///
    /// `as_read` is the delivery as it was when the reading began. If the place was left again meanwhile, the audit event of that
    /// change may have become visible too late, and a clock that is behind may have stamped it within the window. So the rest
    /// begins at that change.
    #[must_use]
    pub fn rest(&self, as_read: &Self, receipt: &Receipt) -> Option<Self> {
        let window = receipt.window;
        let was_left_again = self.times_left != as_read.times_left;
        if self.until <= window.to && !was_left_again {
            return None;
        }
        let from = if was_left_again { window.to.min(self.left_at) } else { window.to };
        Some(Self {
            from,
            trailing_counts: Some(receipt.trailing_counts.to_text()),
            manifest_sha256: receipt.manifest.as_ref().map(|it| it.sha256.clone()).or(self.manifest_sha256.clone()),
            signing_failed_since: self.signing_failed_since.filter(|_| receipt.signing_failure.is_some()),
            checkpoint: None,
            retry_after: None,
            failing_since: None,
            refused_since: None,
            ..self.clone()
        })
    }

    pub fn window(&self) -> Window {
        Window { from: self.from, to: self.until }
    }

    /// Where the chain of manifests stands for this place.
    pub fn chain(&self) -> Chain<'_> {
        Chain { head: self.manifest_sha256.as_deref(), signing_failed_since: self.signing_failed_since }
    }
}

/// The record `final_delivery`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinalDeliveries {
    /// Raised by each write, which is conditional on it; 0 without the record.
    pub revision: u64,
    /// The place that was left first comes first.
    pub places: Vec<FinalDelivery>,
    /// Stored forms that can't be read. They stay until an operator removes them.
    pub unreadable: Vec<String>,
}

impl FinalDeliveries {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.unreadable.is_empty()
    }

    /// The same as the next write stores it.
    #[must_use]
    pub fn next_revision(&self) -> Self {
        Self { revision: self.revision + 1, ..self.clone() }
    }

    /// Parses what [`FinalDeliveries::to_texts`] returns.
    pub fn parse(revision: u64, texts: impl IntoIterator<Item = String>) -> Self {
        let mut read = Self { revision, ..Self::default() };
        for text in texts {
            match serde_json::from_str(&text) {
                Ok(place) => read.places.push(place),
                Err(_) => read.unreadable.push(text),
            }
        }
        read
    }

    /// The stored form of each place.
    pub fn to_texts(&self) -> Vec<String> {
        let places = self.places.iter().filter_map(|place| serde_json::to_string(place).ok());
        places.chain(self.unreadable.iter().cloned()).collect()
    }

    fn waits(&self, place: &Place) -> bool {
        self.places.iter().any(|it| it.place == *place)
    }

    /// Whether deliveries may move from one place to another. Afterwards, a disconnect adds one place at most.
    pub fn has_room(&self, from: Option<&Place>, to: Option<&Place>) -> bool {
        let added = from.is_some_and(|place| !self.waits(place));
        from == to || to.is_some_and(|place| self.waits(place)) || self.places.len() + usize::from(added) <= MAX_PLACES
    }

    /// When the first of the places that refuse their delivery is given up; none if none refuses yet.
    pub fn room_at(&self) -> Option<DateTime<Utc>> {
        self.places.iter().filter_map(|it| it.refused_since).min().map(|since| since + giving_up::TRIED_FOR)
    }

    /// Returns the record after a change, at that time, by which deliveries leave the place of the settings `before`; none if
    /// these lead nowhere. The settings of a place that waits for its delivery already are never overwritten: only `until` moves.
    ///
    /// The watermark's position is where the place's deliveries end. If the change comes from a clock behind that position, the
    /// delivery begins at the change, so that its audit event is delivered nevertheless.
    #[must_use]
    pub fn after_leaving(
        &self,
        tenant: &TenantId,
        before: &Draft,
        watermark: &StoredWatermark,
        at: DateTime<Utc>,
    ) -> Option<Self> {
        let place = Place::of(tenant, before)?;
        let since = timestamp::whole_seconds(at);
        let until = since + TimeDelta::seconds(1);
        let mut after = self.next_revision();
        if let Some(waiting) = after.places.iter_mut().find(|waiting| waiting.place == place) {
            (waiting.from, waiting.until) = (waiting.from.min(since), waiting.until.max(until));
            waiting.left_at = since;
            waiting.times_left += 1;
            waiting.was_failing &= watermark.refused;
            (waiting.failing_since, waiting.refused_since) = (None, None);
            return Some(after);
        }
        let exported_until = watermark.exported_until.as_deref().and_then(timestamp::parse_seconds);
        let from = exported_until.map_or(since, |exported_until| exported_until.min(since));
        let trailing_counts = watermark.trailing_counts.clone();
        after.places.push(FinalDelivery {
            place,
            config: before.clone(),
            from,
            until,
            since,
            left_at: since,
            was_failing: watermark.refused,
            times_left: 1,
            trailing_counts,
            manifest_sha256: watermark.manifest_sha256.clone(),
            signing_failed_since: None,
            checkpoint: None,
            retry_after: None,
            failing_since: None,
            refused_since: None,
        });
        Some(after)
    }

    /// Returns the record with one place's delivery replaced, or without it.
    #[must_use]
    pub fn with(&self, place: &Place, delivery: Option<FinalDelivery>) -> Self {
        let replaced = |it: &FinalDelivery| if it.place == *place { delivery.clone() } else { Some(it.clone()) };
        Self {
            revision: self.revision + 1,
            places: self.places.iter().filter_map(replaced).collect(),
            unreadable: self.unreadable.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{late_arrivals::TrailingCounts, records::Location, settings::tests::draft};

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn watermark() -> StoredWatermark {
        let exported_until = Some("2026-11-21T10:00:00Z".to_owned());
        StoredWatermark { exported_until, trailing_counts: Some("counts".to_owned()), ..StoredWatermark::default() }
    }

    fn delivered(window: Window) -> Receipt {
        let location = Location { bucket: "one".to_owned(), folder: String::new() };
        Receipt::empty(window, location, TrailingCounts::new(window))
    }

    fn in_bucket(bucket: &str) -> Draft {
        Draft { bucket: Some(bucket.to_owned()), ..draft() }
    }

    fn leave(pending: &FinalDeliveries, bucket: &str, time: &str) -> Option<FinalDeliveries> {
        pending.after_leaving(&acme(), &in_bucket(bucket), &watermark(), at(time))
    }

    #[test]
    fn another_bucket_folder_owner_or_account_of_the_role_is_another_place_and_nothing_else_is() {
        let place = |draft: &Draft| Place::of(&acme(), draft);
        let text = |text: &str| Some(text.to_owned());
        for other in [
            in_bucket("elsewhere"),
            Draft { prefix: text("security"), ..draft() },
            Draft { bucket_owner: text("333333333333"), ..draft() },
            Draft { role_arn: text("arn:aws:iam::333333333333:role/audit"), ..draft() },
            Draft {
                role_arn: text("arn:aws:iam::333333333333:role/audit"),
                bucket_owner: text("222222222222"),
                ..draft()
            },
        ] {
            assert!(place(&other).is_some() && place(&other) != place(&draft()), "{other:?}");
        }
        for same in [
            Draft { prefix: text("/"), bucket_owner: text(""), ..draft() },
            Draft { bucket_owner: text("222222222222"), format: text("ndjson"), ..draft() },
            Draft { role_arn: text("arn:aws:iam::222222222222:role/another"), ..draft() },
        ] {
            assert_eq!(place(&same), place(&draft()), "{same:?}");
        }
        assert_eq!(place(&Draft { bucket: None, ..draft() }), None);
    }

    #[test]
    fn a_place_gets_everything_up_to_and_including_the_change_that_leaves_it() {
        let left = leave(&FinalDeliveries::default(), "one", "2026-11-21T10:20:30.999Z").unwrap();
        let [delivery] = &left.places[..] else { panic!("{left:?}") };
        assert_eq!(delivery.window(), Window { from: at("2026-11-21T10:00:00Z"), to: at("2026-11-21T10:20:31Z") });
        assert_eq!((delivery.trailing_counts.as_deref(), left.revision), (Some("counts"), 1));
    }

    #[test]
    fn the_change_of_a_clock_behind_the_watermark_is_delivered_too() {
        let left = leave(&FinalDeliveries::default(), "one", "2026-11-21T09:59:45.200Z").unwrap();
        assert_eq!(
            left.places[0].window(),
            Window { from: at("2026-11-21T09:59:45Z"), to: at("2026-11-21T09:59:46Z") }
        );
    }

    #[test]
    fn a_place_that_waits_is_never_overwritten_and_hides_no_other() {
        let first = leave(&FinalDeliveries::default(), "one", "2026-11-21T10:20:00Z").unwrap();
        let second = leave(&first, "two", "2026-11-21T10:30:00Z").unwrap();
        assert_eq!(second.places[0], first.places[0]);
        assert_eq!(second.places[1].config, in_bucket("two"));
        let role_arn = Some("arn:aws:iam::222222222222:role/replaced".to_owned());
        let again = Draft { role_arn, ..in_bucket("one") };
        let third = second.after_leaving(&acme(), &again, &watermark(), at("2026-11-21T10:40:00Z")).unwrap();
        let (until, left_at) = (at("2026-11-21T10:40:01Z"), at("2026-11-21T10:40:00Z"));
        let expected = FinalDelivery { until, left_at, times_left: 2, ..first.places[0].clone() };
        assert_eq!((&third.places[0], third.places.len(), third.revision), (&expected, 2, 3));
        let earlier = leave(&third, "one", "2026-11-21T10:39:00Z").unwrap();
        assert_eq!(earlier.places[0].until, until, "the end never moves back");
    }

    #[test]
    fn what_is_left_begins_where_the_delivery_ended_or_at_a_change_meanwhile() {
        let as_read = leave(&FinalDeliveries::default(), "one", "2026-11-21T10:20:00Z").unwrap();
        let rest = |now: &FinalDeliveries, to: &str| {
            let window = Window { from: as_read.places[0].from, to: at(to) };
            now.places[0].rest(&as_read.places[0], &delivered(window)).map(|rest| rest.window())
        };
        let until = "2026-11-21T10:20:01Z";
        assert_eq!(rest(&as_read, until), None);
        assert_eq!(
            rest(&as_read, "2026-11-21T10:10:00Z"),
            Some(Window { from: at("2026-11-21T10:10:00Z"), to: at(until) })
        );
        for (again, from, to) in [
            ("2026-11-21T10:30:00Z", until, "2026-11-21T10:30:01Z"),
            ("2026-11-21T10:19:30Z", "2026-11-21T10:19:30Z", until),
        ] {
            let again = leave(&as_read, "one", again).unwrap();
            assert_eq!(rest(&again, until), Some(Window { from: at(from), to: at(to) }), "{again:?}");
        }
    }

    #[test]
    fn there_is_room_to_leave_every_place_that_deliveries_may_move_to() {
        let place = |bucket: &str| Place::of(&acme(), &in_bucket(bucket));
        let mut pending = FinalDeliveries { unreadable: vec!["{}".to_owned()], ..FinalDeliveries::default() };
        let may_move = |pending: &FinalDeliveries, from: Option<&str>, to: &str| {
            pending.has_room(from.and_then(place).as_ref(), place(to).as_ref())
        };
        for n in 0..MAX_PLACES {
            assert!(may_move(&pending, Some(&format!("bucket-{n}")), "next"), "{n}");
            pending = leave(&pending, &format!("bucket-{n}"), "2026-11-21T10:20:00Z").unwrap();
        }
        assert!(!may_move(&pending, Some("ninth"), "next"));
        for (from, to) in [("ninth", "ninth"), ("ninth", "bucket-0"), ("bucket-0", "next")] {
            assert!(may_move(&pending, Some(from), to), "{from} {to}");
        }
        let disconnected = leave(&pending, "ninth", "2026-11-21T10:30:00Z").unwrap();
        assert_eq!((disconnected.places.len(), &disconnected.places[..MAX_PLACES]), (9, &pending.places[..]));
        assert!(may_move(&pending, None, "next") && !may_move(&disconnected, None, "next"));
        assert!(may_move(&disconnected, None, "ninth"), "to leave it again takes no more room");
    }

    #[test]
    fn a_delivery_is_given_up_a_day_after_its_first_refusal_and_if_the_platform_fails_after_seven() {
        let left = leave(&FinalDeliveries::default(), "one", "2026-11-21T10:20:00Z").unwrap();
        let (refused, failed) = (Failure::new(Code::AccessDenied, ""), Failure::new(Code::Throttled, ""));
        let first = at("2026-11-25T11:02:00Z");
        let after = |hours: i64| first + TimeDelta::hours(hours);
        assert!(!left.places[0].is_given_up(&refused, first) && !left.places[0].is_given_up(&failed, first));
        let failing = left.places[0].after_failure(&failed, first);
        assert!(!failing.is_given_up(&refused, after(25)), "refused for the first time");
        assert!(!failing.is_given_up(&failed, after(24 * 7 - 1)) && failing.is_given_up(&failed, after(24 * 7)));
        let refusing = failing.after_failure(&refused, after(25));
        assert_eq!(refusing.after_failure(&refused, after(26)), refusing, "the first one counts");
        assert!(!refusing.is_given_up(&refused, after(48)) && refusing.is_given_up(&refused, after(49)));
        let waiting = left.with(&refusing.place, Some(refusing.clone()));
        assert_eq!(waiting.room_at(), Some(after(49)));
        let again = leave(&waiting, "one", "2026-11-26T11:00:00Z").unwrap().places.remove(0);
        assert!(!again.is_given_up(&refused, after(49)), "left again");
        let window = Window { to: at("2026-11-21T10:10:00Z"), ..refusing.window() };
        let rest = refusing.rest(&refusing, &delivered(window)).unwrap();
        assert!(!rest.is_given_up(&refused, after(49)), "a part was delivered");
    }

    #[test]
    fn the_external_ids_are_those_of_today_if_the_role_is_the_same() {
        let delivery = leave(&FinalDeliveries::default(), "one", "2026-11-21T10:20:00Z").unwrap().places.remove(0);
        let text = |text: &str| Some(text.to_owned());
        let rotated = Draft { external_id: text("new"), pending_external_id: text("newer"), ..in_bucket("two") };
        let now = delivery.config_now(Some(&rotated));
        assert_eq!((now.bucket, now.external_id, now.pending_external_id), (text("one"), text("new"), text("newer")));
        let other = Draft { role_arn: text("arn:aws:iam::222222222222:role/another"), ..rotated };
        for stored in [Some(&other), Some(&Draft::default()), None] {
            assert_eq!(delivery.config_now(stored), delivery.config);
        }
    }

    #[test]
    fn the_record_is_read_as_it_was_stored_and_a_damaged_place_stays_as_it_is() {
        let left = leave(&FinalDeliveries::default(), "one", "2026-11-21T10:20:30.999Z").unwrap();
        let retry_after = Some(at("2026-11-21T11:30:00Z"));
        let failed = left.places[0].after_failure(&Failure::new(Code::AccessDenied, ""), at("2026-11-21T11:02:00Z"));
        let waiting = FinalDelivery { retry_after, checkpoint: Some("{}".to_owned()), ..failed };
        let stored = FinalDeliveries { places: vec![waiting, left.places[0].clone()], ..left };
        assert_eq!(FinalDeliveries::parse(1, stored.to_texts()), stored);
        let damaged = FinalDeliveries::parse(4, ["{}".to_owned()]);
        assert_eq!((damaged.to_texts(), damaged.is_empty()), (vec!["{}".to_owned()], false));
    }
}
