//! Storing a committed window again, so that receipt and bucket agree.
//!
//! No tick comes back to a committed window. So whoever is about to store one again leaves a mark on the watermark before,
//! a [`Doubt`], and takes it away when it is done: a mark that stays tells a later run what is left to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::TimeDelta;

use super::{
    Export, Run,
    race::Stored,
    tenant::TenantExport,
    turn::log,
    window::{GivenUp, State, Why},
};
use crate::{
    failure::{Code, Failure},
    late::LOOK_BACK,
    patience,
    ports::{Buckets, Bus, Conditional, Events, Tenants},
    records::{Doubt, TenantRecords},
    schedule::Window,
    tenant::TenantId,
};

/// How often a run stores a window again because its receipt tells of other bytes, or asks for what it must know; and
/// how many runs try it before it is put off for hours.
const MAX_TRIES: usize = 3;

/// Between two tries at that.
const PAUSE: Duration = Duration::from_millis(500);

/// A mark that is older than this is a dead run's: Lambda ends each after 15 minutes (by "Lambda quotas").
const LONGEST_RUN: TimeDelta = TimeDelta::minutes(20);

/// The repair of a committed window.
pub(super) struct Repair<'a> {
    window: Window,
    /// What lies in the bucket, as far as this run knows.
    stored: Stored<'a>,
    /// The minutes to deliver again with it.
    late: BTreeSet<Window>,
    /// The marks of dead runs that go when it is done.
    left: Vec<Doubt>,
    /// This run's own mark, once there was a need for one.
    own: Option<Doubt>,
    /// Whether that has been left.
    is_marked: bool,
}

impl<'a> Repair<'a> {
    pub(super) fn of(window: Window, stored: Stored<'a>, left: Vec<Doubt>) -> Self {
        Self { window, stored, late: BTreeSet::new(), left, own: None, is_marked: false }
    }

    /// The marks that are ours to take away.
    fn ours(&self) -> Vec<Doubt> {
        self.left.iter().copied().chain(self.own).collect()
    }

    /// Whether somebody else is about to store the window again, perhaps over what the receipt tells of.
    fn is_doubted_by_others(&self, doubts: &[Doubt]) -> bool {
        let ours = self.ours();
        doubts.iter().any(|doubt| doubt.window == self.window && !ours.contains(doubt)) && !planted!(DoubtsAreIgnored)
    }
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Stores the windows again that a run has begun to store again, and has left so when it died.
    ///
    /// # Errors
    /// If that can't be done; the mark stays then.
    pub(super) async fn settle_doubts(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
    ) -> Result<(), Failure> {
        if tenant.doubts.is_empty() || planted!(DoubtsAreIgnored) {
            return Ok(());
        }
        tenant.doubts.clear();
        let id = tenant.config.tenant.clone();
        // Those that were read at the turn's beginning may be settled since, and the tenant be disconnected.
        let records = self.tenants.load_one(&id).await.inspect_err(|failure| log(id.as_str(), None, failure));
        let TenantRecords { watermark, mut doubts, .. } = records?;
        doubts.sort_unstable();
        let is_connected = watermark.is_some_and(|watermark| watermark.due_shard.is_some());
        let mut of_windows: BTreeMap<Window, Vec<Doubt>> = BTreeMap::new();
        for doubt in doubts.into_iter().filter(|_| is_connected) {
            of_windows.entry(doubt.window).or_default().push(doubt);
        }
        // Whoever has left the youngest may be alive, and then the window is theirs.
        let is_left = |doubts: &Vec<Doubt>| doubts.iter().all(|doubt| (run.now)() - doubt.since > LONGEST_RUN);
        let mut unmended = Ok(());
        for (window, of_window) in of_windows.into_iter().filter(|(_, doubts)| is_left(doubts)) {
            let settled = if (run.should_stop)() {
                Err(in_doubt(window, "there is no time to store it again now; the next run of the tenant does."))
            } else {
                self.settle_window(run, tenant, window, of_window).await
            };
            // One that can't be mended must not keep the others from it.
            if let Err(failure) = settled {
                log(id.as_str(), Some(window), &failure);
                unmended = Err(failure);
            }
        }
        unmended
    }

    /// The same for one window, and the marks of dead runs that it has, in order.
    async fn settle_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        left: Vec<Doubt>,
    ) -> Result<(), Failure> {
        // What lies there may be all there is: it isn't replaced by what is left of its events.
        if self.may_be_deleted(window.from - LOOK_BACK, (run.now)()) {
            return Err(in_doubt(window, "its events may be deleted by now, so it is not stored again."));
        }
        let has_waited = |last: &Doubt| patience::has_waited(last.since, run.tick) && !planted!(RepairIsGivenUp);
        if left.len() > MAX_TRIES && !left.last().is_some_and(has_waited) {
            return Err(in_doubt(window, "so have others since; it is tried again every six hours."));
        }
        tracing::warn!(window = %window, "a run has left this window in doubt");
        self.repair(run, tenant, Repair::of(window, Stored::Unknown, left)).await
    }

    /// Stores a window again until receipt and bucket agree.
    pub(super) async fn repair(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        mut repair: Repair<'_>,
    ) -> Result<(), Failure> {
        // Wrong bytes must not stay, however little time is left: the tick's own end alone cuts this off.
        let to_the_end = Run { should_stop: &|| false, ..run };
        let mut why = "other runs kept storing it".to_owned();
        for tried in 0..MAX_TRIES {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.restore(to_the_end, tenant, &mut repair).await {
                Ok(false) => {}
                Ok(true) => match self.tenants.settle(&tenant.config.tenant, &repair.ours()).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => why = failure.message,
                },
                Err(failure) => why = failure.message,
            }
        }
        let window = repair.window;
        if !repair.is_marked && repair.left.is_empty() {
            let own = repair.own.unwrap_or_else(|| Doubt::new(window, (run.now)()));
            self.leave_in_doubt(&tenant.config.tenant, own).await?;
        }
        let message = format!("The window {window} is committed, but its objects may hold an older reading: {why}");
        Err(Failure::new(Code::ReceiptInDoubt, message))
    }

    /// Leaves a mark of a window that this run can't look after any more.
    ///
    /// # Errors
    /// If even that can't be done.
    pub(super) async fn leave_in_doubt(&self, id: &TenantId, doubt: Doubt) -> Result<(), Failure> {
        let mut why = String::new();
        if planted!(NobodyLeavesAMark) {
            return Ok(());
        }
        for tried in 0..MAX_TRIES {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.tenants.doubt(id, doubt).await {
                Ok(()) => return Ok(()),
                Err(failure) => why = failure.message,
            }
        }
        let message = format!(
            "The objects of the window {} may hold an older reading than its receipt, and no mark could be left for \
             a later run to look after it: {why}",
            doubt.window
        );
        Err(Failure::new(Code::ReceiptInDoubt, message))
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
        let TenantRecords { doubts, watermark, .. } = self.tenants.load_one(&id).await?;
        let Some(receipt) = self.tenants.receipt(&id, window.to).await? else {
            let stands = watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
            return match stands.filter(|schedule| schedule.exported_until > window.from) {
                Some(_) => Err(in_doubt(window, "its receipt is gone or damaged.")),
                // It is not committed yet.
                None => Ok(true),
            };
        };
        if !repair.stored.disagrees_with(&receipt) {
            let past_retention = self.may_be_deleted(window.from, (run.now)());
            // What is left of its events must not replace all of them only because somebody else was in doubt.
            if !repair.is_doubted_by_others(&doubts) || past_retention {
                return Ok(true);
            }
        }
        tracing::warn!(window = %window, "a committed window was overwritten with other bytes, and is stored again");
        let own = *repair.own.get_or_insert_with(|| Doubt::new(window, (run.now)()));
        if !doubts.contains(&own) && !planted!(RepairIsUnmarked) {
            self.tenants.doubt(&id, own).await?;
        }
        repair.is_marked = true;
        if repair.left.len() > MAX_TRIES {
            // More of them tell nothing new, and the record must not grow for ever.
            self.tenants.settle(&id, &repair.left[MAX_TRIES..]).await?;
            repair.left.truncate(MAX_TRIES);
        }
        tenant.take_records(self.tenants.load_one(&id).await?, run);
        let (late, came_late) = receipt.late.clone();
        repair.late.extend(late);
        repair.late.extend(repair.stored.objects().iter().filter_map(|object| object.late));
        let mut anew = match self.store_window(run, tenant, window, State::Committed(&repair.late)).await {
            Ok(anew) => anew,
            Err(GivenUp { why, stored }) => {
                if !stored.is_empty() {
                    repair.stored = Stored::Unknown;
                }
                return match why {
                    Why::Failed(failure) => Err(failure),
                    Why::OutOfTime | Why::Overtaken => Ok(false),
                };
            }
        };
        anew.amended = receipt.amended + 1;
        anew.late = came_late;
        // What was deleted since the receipt can't be brought back, but it must not look complete.
        anew.gap |= receipt.gap || anew.events() < receipt.events;
        anew.gap &= !planted!(RestoreHidesTheGap);
        if anew.gap && !receipt.gap {
            tenant.loss = anew.loss().inspect(|loss| log(id.as_str(), Some(window), loss));
        }
        let amended = self.tenants.amend_receipt(&id, &receipt, &anew).await?;
        repair.stored = Stored::All(anew);
        Ok(amended == Conditional::Written)
    }
}

fn in_doubt(window: Window, why: &str) -> Failure {
    let message = format!("A run has left the window {window} in the middle of storing it again, and {why}");
    Failure::new(Code::ReceiptInDoubt, message)
}
