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
    ports::{Buckets, Bus, Conditional, Events, Tenants},
    progress::{Covers, Progress},
    records::{Doubt, Receipt, ReceiptDigest, StoredObject},
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
    /// Whatever another run has left.
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

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
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
    /// If they may not agree in the end.
    pub(super) async fn agree_with_receipt(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        stored: Stored<'_>,
    ) -> Result<(), Failure> {
        let is_part = matches!(stored, Stored::Part(..));
        if stored.objects().is_empty() || planted!(LoserLooksAway) || planted!(PartsAreForgotten) && is_part {
            return Ok(());
        }
        let overlooked = planted!(WholeLosesToProgress) && !is_part;
        if !overlooked && self.is_kept_or_disturbed(tenant, window, stored.objects()).await? {
            return Ok(());
        }
        self.repair(run, tenant, window, stored, Vec::new()).await
    }

    /// Stores the windows again that somebody has begun to store again, and has left so.
    pub(super) async fn settle_doubts(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
    ) -> Result<(), Failure> {
        if planted!(DoubtsAreIgnored) {
            return Ok(());
        }
        while let Some(window) = tenant.doubts.first().map(|doubt| doubt.window) {
            let (of_window, others): (Vec<Doubt>, _) = tenant.doubts.iter().partition(|doubt| doubt.window == window);
            tenant.doubts = others;
            if (run.should_stop)() {
                return Ok(());
            }
            // What lies there may be all there is: it isn't replaced by what is left of its events.
            if self.options.retention.is_some_and(|retention| window.from < (run.now)() - retention) {
                self.tenants.settle(&tenant.config.tenant, &of_window).await?;
                let message = format!(
                    "A run has left the window {window} in the middle of storing it again, and its events may be deleted by now; compare its objects with its receipt."
                );
                return Err(Failure::new(Code::ReceiptInDoubt, message));
            }
            tracing::warn!(window = %window, "a run has left this window in doubt");
            self.repair(run, tenant, window, Stored::Unknown, of_window).await?;
        }
        Ok(())
    }

    /// Stores a window again until receipt and bucket agree. `doubts` are its marks that are ours to take away.
    async fn repair(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        stored: Stored<'_>,
        doubts: Vec<Doubt>,
    ) -> Result<(), Failure> {
        // Wrong bytes must not stay, however little time is left: the tick's own end alone cuts this off.
        let to_the_end = Run { should_stop: &|| false, ..run };
        let mut repair = Repair { window, stored, doubts, is_marked: false };
        let mut why = "other runs kept storing it".to_owned();
        for tried in 0..MAX_RESTORES {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.restore(to_the_end, tenant, &mut repair).await {
                Ok(false) => {}
                Ok(true) => match self.tenants.settle(&tenant.config.tenant, &repair.doubts).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => why = failure.message,
                },
                Err(failure) => why = failure.message,
            }
        }
        let message = format!("The window {window} is committed, but its objects may hold an older reading: {why}");
        Err(Failure::new(Code::ReceiptInDoubt, message))
    }

    /// As long as a window is not committed, whoever may commit it must not do so over what this run has stored, unseen: it
    /// has to read and store again. What the watermark's own progress tells of is no matter: whoever comes next goes on
    /// from there, and true is the answer. Of a committed window, the receipt tells.
    async fn is_kept_or_disturbed(
        &self,
        tenant: &TenantExport<B::Bucket>,
        window: Window,
        stored: &[StoredObject],
    ) -> Result<bool, Failure> {
        let id = &tenant.config.tenant;
        for _ in 0..MAX_LOST_RACES {
            let stands = self.tenants.load_one(id).await?.watermark.unwrap_or_default();
            if stands.schedule().is_ok_and(|schedule| schedule.exported_until > window.from) {
                return Ok(false);
            }
            let kept = Progress::of(&stands, &tenant.config, window, self.options.max_object_bytes);
            let covers = kept.map_or(Covers::Otherwise, |kept| kept.covers(stored));
            if covers == Covers::All {
                return Ok(true);
            }
            // Files beyond the progress are stored again by whoever goes on from it.
            let progress = stands.progress.as_deref().filter(|_| covers == Covers::Part);
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
        repair: &mut Repair<'_>,
    ) -> Result<bool, Failure> {
        let (id, window) = (tenant.config.tenant.clone(), repair.window);
        // The marks before the receipt: whoever takes one away has amended the receipt before.
        let doubts = self.tenants.load_one(&id).await?.doubts;
        let Some(receipt) = self.tenants.receipt(&id, window.to).await? else { return Ok(true) };
        if !repair.is_needed(&doubts, &receipt) {
            return Ok(true);
        }
        tracing::warn!(window = %window, "a committed window was overwritten with other bytes, and is stored again");
        if !repair.is_marked && !planted!(RepairIsUnmarked) {
            let doubt = Doubt::new(window, (run.now)());
            self.tenants.doubt(&id, doubt).await?;
            repair.doubts.push(doubt);
            repair.is_marked = true;
        }
        tenant.take_records(self.tenants.load_one(&id).await?, run);
        let (mut late, came_late) = receipt.late.clone();
        late.extend(repair.stored.objects().iter().filter_map(|object| object.late));
        let mut anew = match self.store_window(run, tenant, window, State::Committed(&late)).await {
            Ok(anew) => anew,
            Err(GivenUp { why: Why::Failed(failure), .. }) => return Err(failure),
            Err(GivenUp { why: Why::OutOfTime | Why::Overtaken, .. }) => return Ok(false),
        };
        anew.amended = receipt.amended + 1;
        anew.late = came_late;
        anew.gap |= receipt.gap;
        if planted!(RestoreHidesTheGap) {
            anew.gap = false;
        } else if anew.events() < receipt.events {
            // What was deleted since the receipt can't be brought back, but it must not look complete.
            anew.gap = true;
            tenant.loss = anew.loss().inspect(|loss| log(id.as_str(), Some(window), loss));
        }
        let amended = self.tenants.amend_receipt(&id, &receipt, &anew).await?;
        repair.stored = Stored::All(anew);
        Ok(amended == Conditional::Written)
    }
}

/// The repair of a committed window.
struct Repair<'a> {
    window: Window,
    /// What lies in the bucket, as far as this run knows.
    stored: Stored<'a>,
    /// The marks that go when it is done.
    doubts: Vec<Doubt>,
    /// Whether this run's own mark is among them.
    is_marked: bool,
}

impl Repair<'_> {
    /// Whether the window has to be stored again: something else lies in the bucket, or somebody else is about to store it,
    /// and may do so over what the receipt tells of.
    fn is_needed(&self, doubts: &[Doubt], receipt: &ReceiptDigest) -> bool {
        let others = doubts.iter().any(|doubt| doubt.window == self.window && !self.doubts.contains(doubt));
        others && !planted!(DoubtsAreIgnored) || self.stored.disagrees_with(receipt)
    }
}
