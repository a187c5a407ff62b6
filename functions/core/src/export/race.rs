//! What a run does when somebody else got there first.

use std::time::Duration;

use super::{
    Export, Run,
    report::{Deferral, End},
    tenant::{Step, TenantExport, deferred, log},
    window::{GivenUp, State, Why},
};
use crate::{
    failure::{Code, Failure},
    ports::{Buckets, Conditional, Events, Tenants},
    progress::{Covers, Progress},
    records::{Receipt, ReceiptDigest, StoredObject},
    schedule::Window,
};

/// How often a run lets itself be overtaken at one tenant before it leaves the tenant to the other run.
const MAX_LOST_RACES: u32 = 3;

/// How often a run stores a window again because its receipt tells of other bytes.
const MAX_RESTORES: u32 = 3;

/// Between two tries at that.
const PAUSE: Duration = Duration::from_millis(500);

/// What a run has stored of a window that somebody else may have committed.
pub(super) enum Stored<'a> {
    All(Receipt),
    /// The first objects, in a bucket.
    Part(&'a str, &'a [StoredObject]),
    /// All of it, and somebody may have laid something over it.
    Unknown,
}

impl Stored<'_> {
    fn objects(&self) -> &[StoredObject] {
        match self {
            Self::All(receipt) => &receipt.objects,
            Self::Part(_, objects) => objects,
            Self::Unknown => &[],
        }
    }

    fn disagrees_with(&self, receipt: &ReceiptDigest) -> bool {
        match self {
            Self::All(stored) => receipt.is_replaced_by(stored),
            Self::Part(..) if planted!(OverlaidIsOverlooked) => false,
            Self::Part(bucket, objects) => receipt.is_overlaid_by(bucket, objects),
            Self::Unknown => true,
        }
    }
}

impl<T: Tenants, E: Events, B: Buckets> Export<T, E, B> {
    /// Goes on after somebody else moved the watermark, saved the settings or disconnected the tenant. That is no
    /// failure.
    pub(super) async fn after_lost_race(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        stored: Stored<'_>,
    ) -> Result<Step, Failure> {
        tracing::info!(window = %window, "another run or a save came first");
        self.agree_with_receipt(run, tenant, window, stored).await?;
        tenant.lost_races += 1;
        if tenant.lost_races >= MAX_LOST_RACES {
            return Ok(deferred(window, Deferral::ToTheNextTick, "another run is exporting this tenant"));
        }
        let records = self.tenants.load_one(&tenant.config.tenant).await?;
        match TenantExport::<B::Bucket>::new(tenant.config.tenant.clone(), records, run) {
            Ok(None) => Ok(Step::Ended(End::Exported)),
            Ok(Some(fresh)) => {
                tenant.go_on_from(fresh);
                Ok(Step::More)
            }
            Err(refused) => {
                if let Some((_, watermark)) = refused.watermark {
                    tenant.watermark = watermark;
                }
                Err(refused.failure)
            }
        }
    }

    /// If a window is committed and we stored other bytes over its objects, ours may be the older ones. So the window
    /// is read and stored once more, by the settings as they are now, until receipt and bucket agree.
    ///
    /// # Errors
    /// If they may not agree in the end: no tick comes back to a committed window, so somebody has to know.
    pub(super) async fn agree_with_receipt(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        mut stored: Stored<'_>,
    ) -> Result<(), Failure> {
        let is_part = matches!(stored, Stored::Part(..));
        if stored.objects().is_empty() || planted!(LoserLooksAway) || planted!(PartsAreForgotten) && is_part {
            return Ok(());
        }
        let overlooked = planted!(WholeLosesToProgress) && !is_part;
        if !overlooked && self.is_kept_or_disturbed(tenant, window, stored.objects(), is_part).await? {
            return Ok(());
        }
        // Wrong bytes must not stay, however little time is left: the tick's own end alone cuts this off.
        let to_the_end = Run { should_stop: &|| false, ..run };
        let mut why = "other runs kept storing it".to_owned();
        for tried in 0..MAX_RESTORES {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.restore(to_the_end, tenant, window, &mut stored).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) => why = failure.message,
            }
        }
        let message = format!("The window {window} is committed, but its objects may hold an older reading: {why}");
        Err(Failure::new(Code::ReceiptInDoubt, message))
    }

    /// As long as a window is not committed, whoever may commit it must not do so over what this run has stored, unseen: it
    /// has to read and store again. What the watermark's own progress tells of is no matter: whoever comes next goes on
    /// from there, and true is the answer.
    async fn is_kept_or_disturbed(
        &self,
        tenant: &TenantExport<B::Bucket>,
        window: Window,
        stored: &[StoredObject],
        is_part: bool,
    ) -> Result<bool, Failure> {
        let id = &tenant.config.tenant;
        for _ in 0..MAX_LOST_RACES {
            let stands = self.tenants.load_one(id).await?.watermark.unwrap_or_default();
            let kept = Progress::of(&stands, &tenant.config, window, self.options.max_object_bytes);
            let covers = kept.map_or(Covers::Otherwise, |kept| kept.covers(stored));
            if covers == Covers::All {
                return Ok(true);
            }
            // Files beyond the progress are stored again by whoever goes on from it; and one of a later window tells
            // nothing of this one.
            let is_committed = stands.schedule().is_ok_and(|schedule| schedule.exported_until > window.from);
            if is_committed && !is_part {
                // Its receipt tells whether the two are alike, as they are of two healthy runs: those must not stop each other.
                return Ok(false);
            }
            let progress = stands.progress.as_deref().filter(|_| is_committed || covers == Covers::Part);
            if self.tenants.disturb(id, progress).await? == Conditional::Written {
                return Ok(false);
            }
        }
        self.tenants.disturb(id, None).await.map(|_| false)
    }

    /// One try at it; whether receipt and bucket agree now.
    async fn restore(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        stored: &mut Stored<'_>,
    ) -> Result<bool, Failure> {
        let Some(receipt) = self.tenants.receipt(&tenant.config.tenant, window.to).await? else { return Ok(true) };
        if !stored.disagrees_with(&receipt) {
            return Ok(true);
        }
        tracing::warn!(window = %window, "a committed window was overwritten with other bytes, and is stored again");
        let records = self.tenants.load_one(&tenant.config.tenant).await?;
        let disturbed = records.watermark.as_ref().and_then(|watermark| watermark.disturbed.clone());
        tenant.take_records(records, run);
        let mut anew = match self.store_window(run, tenant, window, State::Committed).await {
            Ok(anew) => anew,
            Err(GivenUp { why: Why::Failed(failure), .. }) => return Err(failure),
            Err(GivenUp { why: Why::OutOfTime | Why::Overtaken, .. }) => return Ok(false),
        };
        anew.gap |= receipt.gap;
        if planted!(RestoreHidesTheGap) {
            anew.gap = false;
        } else if anew.events() < receipt.events {
            // What was deleted since the receipt can't be brought back, but it must not look complete.
            anew.gap = true;
            tenant.loss = anew.loss().inspect(|loss| log(tenant.config.tenant.as_str(), Some(window), loss));
        }
        // Also where it says so already: another run may have amended it since.
        let amended = self.tenants.amend_receipt(&tenant.config.tenant, &receipt, &anew).await?;
        *stored = Stored::All(anew);
        if amended == Conditional::LostRace {
            return Ok(false);
        }
        // Whoever laid a part over it meanwhile has disturbed, and may have found its part in the receipt of before.
        let stands = self.tenants.load_one(&tenant.config.tenant).await?.watermark.unwrap_or_default();
        if stands.disturbed != disturbed {
            *stored = Stored::Unknown;
            return Ok(false);
        }
        Ok(true)
    }
}
