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
    progress::Progress,
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
}

impl Stored<'_> {
    fn objects(&self) -> &[StoredObject] {
        match self {
            Self::All(receipt) => &receipt.objects,
            Self::Part(_, objects) => objects,
        }
    }

    fn disagrees_with(&self, receipt: &ReceiptDigest) -> bool {
        match self {
            Self::All(stored) => receipt.is_replaced_by(stored),
            Self::Part(bucket, objects) => receipt.is_overlaid_by(bucket, objects),
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
        if matches!(stored, Stored::Part(_, [])) {
            return Ok(());
        }
        let stands = self.tenants.load_one(&tenant.config.tenant).await?.watermark.unwrap_or_default();
        let is_due = stands.schedule().is_ok_and(|schedule| schedule.exported_until == window.from);
        if is_due || matches!(stored, Stored::Part(..)) {
            let kept = Progress::of(&stands, &tenant.config, window, self.options.max_object_bytes);
            if kept.is_some_and(|kept| kept.covers(stored.objects())) {
                // They are what the watermark tells of, and the next run goes on from there, whoever it is.
                return Ok(());
            }
            // Whoever has not committed yet must not do so over what lies there now: it reads and stores again. That
            // goes for a whole window, too: what it lost its race against may be another run's progress.
            self.tenants.disturb(&tenant.config.tenant).await?;
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
        tenant.take_records(records, run);
        let mut anew = match self.store_window(run, tenant, window, State::Committed).await {
            Ok(anew) => anew,
            Err(GivenUp { why: Why::Failed(failure), .. }) => return Err(failure),
            Err(GivenUp { why: Why::OutOfTime | Why::Overtaken, .. }) => return Ok(false),
        };
        anew.gap |= receipt.gap;
        if anew.events() < receipt.events {
            // What was deleted since the receipt can't be brought back, but it must not look complete.
            anew.gap = true;
            tenant.loss = anew.loss().inspect(|loss| log(tenant.config.tenant.as_str(), Some(window), loss));
        }
        let agree = receipt.tells_of(&anew)
            || self.tenants.amend_receipt(&tenant.config.tenant, &receipt, &anew).await? == Conditional::Written;
        *stored = Stored::All(anew);
        Ok(agree)
    }
}
