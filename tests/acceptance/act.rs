//! Acts as a platform with a new customer: the steps that change something, and what they need of each other.

use std::sync::Mutex;

use anyhow::{Result, ensure};
use chrono::{DateTime, DurationRound as _, TimeDelta, Timelike as _, Utc};

use crate::{
    alarm,
    api::Api,
    connect, deliver, fail,
    listener::Listener,
    options::Options,
    platform::Deployment,
    record,
    report::{Report, Stopped, passed},
};

pub(crate) const STEPS: [&str; 19] = [
    "access token",
    "tenant is new",
    "listen to the bus",
    "external ID",
    "customer's stack",
    "connect the role",
    "verify the connection",
    "save the settings",
    "record by HTTP",
    "record by queue",
    "export two hours",
    "deliver in parts",
    "encrypt with a KMS key",
    "deliver in parts, KMS",
    "break the role",
    "mend the role",
    "notifications arrive",
    "customer's alarm is quiet",
    "email gets notifications",
];

pub(crate) const WAITING: &str = "next hour's own tick";

/// The tenant in its relation to the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tenant {
    /// The run has nothing of it.
    #[default]
    Untouched,
    /// It had no records when the run began, so that its records are the run's own.
    Own,
    /// It has records, and nothing shows that they are the run's.
    Foreign,
}

/// What the steps share. Removal also needs it, wherever a run stopped.
pub(crate) struct Run<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) api: &'a Api,
    pub(crate) listener: Mutex<Option<Listener>>,
    tenant: Mutex<Tenant>,
    /// The last full hour. All windows end then or before.
    hour: DateTime<Utc>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(deployment: &'a Deployment, api: &'a Api) -> Result<Self> {
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        Ok(Self { deployment, api, listener: Mutex::default(), tenant: Mutex::default(), hour })
    }

    /// A window of an hour: 1 is the last one that is over, 2 the one before.
    pub(crate) fn window(&self, hours_ago: i32) -> deliver::Window {
        let to = self.hour - TimeDelta::hours(i64::from(hours_ago) - 1);
        deliver::Window { from: to - TimeDelta::hours(1), to }
    }

    /// The end of the current hour.
    pub(crate) fn next_hour(&self) -> DateTime<Utc> {
        self.hour + TimeDelta::hours(1)
    }

    /// The hourly tick exports all of the run's windows, so that nothing more can be put into one.
    pub(crate) fn ensure_before_next_tick(&self) -> Result<()> {
        ensure!(
            Utc::now() < self.next_hour(),
            "the steps took so long that the next hourly tick came: run the test again"
        );
        Ok(())
    }

    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant.lock().map_or(Tenant::Foreign, |tenant| *tenant)
    }

    pub(crate) fn set_tenant(&self, relation: Tenant) {
        if let Ok(mut tenant) = self.tenant.lock() {
            *tenant = relation;
        }
    }
}

/// Waits until the hourly tick isn't near. It would export all windows at once, also the one that is to fail.
pub(crate) async fn wait_for_quiet(minutes: u32) {
    let now = Utc::now();
    // The tick is at minute 1 and takes a while.
    if now.minute() + minutes >= 61 || now.minute() < 3 {
        let begin = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now) + TimeDelta::minutes(3);
        let begin = if now.minute() < 3 { begin } else { begin + TimeDelta::hours(1) };
        println!("Waiting until {} UTC, after the hourly tick …", begin.format("%H:%M"));
        tokio::time::sleep((begin - now).to_std().unwrap_or_default()).await;
    }
}

pub(crate) async fn act(run: &Run<'_>, options: &Options, report: &Report) -> Result<(), Stopped> {
    let [
        token,
        tenant,
        listen,
        external_id,
        stack,
        connect,
        verify,
        save,
        http,
        queue,
        hours,
        parts,
        key,
        key_parts,
        break_role,
        mend_role,
        notifications,
        quiet_alarm,
        email,
    ] = STEPS;
    let started = Utc::now();
    let accepted = async {
        run.api.new_token().await?;
        passed((), "for the throw-away tenant, with both permissions")
    };
    report.step(token, accepted).await?;
    report.step(tenant, connect::ensure_tenant_is_new(run)).await?;
    report.step(listen, Listener::begin(run)).await?;
    let setup = report.step(external_id, connect::external_id(run)).await?;
    let mut customer = report.step(stack, connect::create_stack(run, &setup)).await?;
    report.step(connect, connect::connect_role(run, &customer)).await?;
    report.step(verify, connect::verify(run, &customer)).await?;
    report.step(save, connect::save(run, &customer, Some(run.window(5).from))).await?;
    // Where one of these fails, exports are tried all the same.
    let by_http = report.step(http, record::by_http(run)).await;
    let by_queue = report.step(queue, record::by_queue(run)).await;
    report.step(hours, deliver::deliver_two_windows(run)).await?;
    let in_parts = report.step(parts, deliver::deliver_in_parts(run, &customer, run.window(3))).await;
    if in_parts.is_ok() {
        report.step(key, connect::encrypt(run, &setup, &mut customer)).await?;
        let _ = report.step(key_parts, deliver::deliver_in_parts(run, &customer, run.window(2))).await;
    }
    let events = report.step(break_role, fail::break_role(run, &customer)).await?;
    report.step(mend_role, fail::mend_role(run, &customer, &events)).await?;
    let _ = report.step(notifications, fail::expect_notifications(run)).await;
    let _ = report.step(quiet_alarm, alarm::expect_quiet(run)).await;
    let _ = report.step(email, fail::expect_emails(run, started)).await;
    if options.wait && by_http.is_ok() && by_queue.is_ok() {
        report.step(WAITING, record::wait_for_next_hour(run)).await?;
    }
    Ok(())
}
