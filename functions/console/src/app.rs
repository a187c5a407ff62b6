//! What the handlers are given: the tables, the exporter, the clock, and who may ask.

use std::{sync::Arc, time::Duration};

use audit_log_core::{
    event::User,
    failure::{Code, Failure},
    new_event::{Stamp, time_ordered_id},
    ports::{Connections, Events, PublishTrigger, Recorder, Settings, Verifier},
    system_events::AdminChange,
    tenant::{ExternalId, Platform, Region, TenantId},
};
use audit_log_web::{
    authority::{Actor, Authority},
    caller::{Caller, HasAuthority},
};
use chrono::{DateTime, TimeDelta, Utc};

/// How long an admin waits at most until the exporter was asked to publish.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The ports that this function needs, over whatever implements them.
pub trait Backend: Send + Sync + 'static {
    /// The tenants' records.
    type Settings: Settings + Connections;
    /// The recorded events.
    type Events: Events;
    /// Where events are recorded.
    type Recorder: Recorder;
    /// The exporter, as the function that verifies connections.
    type Verifier: Verifier;
    /// The exporter, as the function that publishes notifications.
    type PublishTrigger: PublishTrigger;

    /// The tenants' records.
    fn settings(&self) -> &Self::Settings;
    /// The recorded events.
    fn events(&self) -> &Self::Events;
    /// Where events are recorded.
    fn recorder(&self) -> &Self::Recorder;
    /// The exporter, as the function that verifies connections.
    fn verifier(&self) -> &Self::Verifier;
    /// The exporter, as the function that publishes notifications.
    fn publish_trigger(&self) -> &Self::PublishTrigger;
}

/// What implements them all, is all of them.
impl<P> Backend for P
where
    P: Settings + Connections + Events + Recorder + Verifier + PublishTrigger + Send + Sync + 'static,
{
    type Settings = Self;
    type Events = Self;
    type Recorder = Self;
    type Verifier = Self;
    type PublishTrigger = Self;

    fn settings(&self) -> &Self {
        self
    }

    fn events(&self) -> &Self {
        self
    }

    fn recorder(&self) -> &Self {
        self
    }

    fn verifier(&self) -> &Self {
        self
    }

    fn publish_trigger(&self) -> &Self {
        self
    }
}

/// What the platform has decided for all of its tenants.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Whose system it is.
    pub platform: Platform,
    /// Where it runs.
    pub region: Region,
    /// The name of the exporter's role, which customers' roles trust.
    pub exporter_role: String,
    /// Where the customers' template is published, if it is.
    pub template_url: Option<String>,
    /// How long after its end a window is left alone.
    pub settle: TimeDelta,
    /// For how long events are kept, if not for ever.
    pub retention: Option<TimeDelta>,
}

/// The state of the router; cheap to clone.
pub struct App<B>(Arc<Parts<B>>);

struct Parts<B> {
    backend: B,
    deployment: Deployment,
    authority: Option<Authority>,
    clock: fn() -> DateTime<Utc>,
    random: fn(&mut [u8]) -> bool,
}

impl<B> Clone for App<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> App<B> {
    /// Over the ports, for the tenants of an authority. `random` fills a slice with what nobody can foresee, or says
    /// that it couldn't.
    pub fn new(
        backend: B,
        deployment: Deployment,
        authority: Option<Authority>,
        clock: fn() -> DateTime<Utc>,
        random: fn(&mut [u8]) -> bool,
    ) -> Self {
        Self(Arc::new(Parts { backend, deployment, authority, clock, random }))
    }

    pub(crate) fn settings(&self) -> &B::Settings {
        self.0.backend.settings()
    }

    pub(crate) fn events(&self) -> &B::Events {
        self.0.backend.events()
    }

    pub(crate) fn recorder(&self) -> &B::Recorder {
        self.0.backend.recorder()
    }

    pub(crate) fn verifier(&self) -> &B::Verifier {
        self.0.backend.verifier()
    }

    /// Asks the exporter to publish the notification of a change. The change is made in any case, and the notification is in
    /// the tenant's outbox: if nobody can be asked, the tenant's next export or the hourly check publishes it.
    pub(crate) async fn request_publishing(&self, tenant: &TenantId) {
        let request = self.0.backend.publish_trigger().request_publishing(tenant);
        let late = |_| Err(Failure::new(Code::Unavailable, "The exporter did not take the request in time."));
        let requested = tokio::time::timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(late);
        if let Err(Failure { code, message, .. }) = requested {
            tracing::warn!(tenant = %tenant, code = %code, reason = message, "publishing was not requested, and is left to the next export or hourly check");
        }
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }

    pub(crate) fn time(&self) -> DateTime<Utc> {
        (self.0.clock)()
    }

    /// The time, for somewhere that asks for it later.
    pub(crate) fn clock(&self) -> fn() -> DateTime<Utc> {
        self.0.clock
    }

    /// What the caller is about to do, stamped with this moment: to be called right before it is done.
    pub(crate) fn change<P>(&self, caller: &Caller<P>) -> Result<AdminChange, Failure> {
        let at = self.time();
        let Actor { id, name, email } = caller.actor().clone();
        let stamp = Stamp { at, retention: self.0.deployment.retention };
        Ok(AdminChange { by: User { id, name, email }, stamp, id: time_ordered_id(at, &self.random()?) })
    }

    /// An external ID that nobody has or can guess: 160 bits, in hex.
    pub(crate) fn new_external_id(&self) -> Result<ExternalId, Failure> {
        let bytes: [u8; 20] = self.random()?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        ExternalId::parse(&text).map_err(|invalid| Failure::new(Code::Unavailable, invalid.0))
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        let filled = (self.0.random)(&mut bytes);
        filled.then_some(bytes).ok_or_else(|| Failure::new(Code::Unavailable, "The system has no random numbers."))
    }
}

impl<B: Backend> HasAuthority for App<B> {
    fn authority(&self) -> Option<&Authority> {
        self.0.authority.as_ref()
    }

    fn now(&self) -> DateTime<Utc> {
        self.time()
    }
}
