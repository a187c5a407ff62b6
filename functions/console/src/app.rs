//! The state of the handlers: ports, deployment, access tokens, clock and random numbers.

use std::{sync::Arc, time::Duration};

use audit_log_core::{
    event::User,
    failure::{Code, Failure},
    new_event::{Stamp, time_ordered_id},
    ports::{Connections, Events, ExporterTrigger, ManifestKeys, Recorder, Repairs, Rotations, Settings, Verifier},
    system_events::AdminChange,
    tenant::{ExternalId, Platform, Region, TenantId},
};
use audit_log_web::{
    access_token::{Actor, TokenVerifier},
    caller::{Caller, HasTokenVerifier},
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::embedding::Embedding;

/// How long an admin's request waits for the exporter to accept an asynchronous one.
const TRIGGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The ports that this function needs.
pub trait Backend: Send + Sync + 'static {
    type Settings: Settings + Repairs + Rotations + Connections + ManifestKeys;
    type Events: Events;
    type Recorder: Recorder;
    type Verifier: Verifier;
    type ExporterTrigger: ExporterTrigger;

    fn settings(&self) -> &Self::Settings;
    fn events(&self) -> &Self::Events;
    fn recorder(&self) -> &Self::Recorder;
    fn verifier(&self) -> &Self::Verifier;
    fn exporter_trigger(&self) -> &Self::ExporterTrigger;
}

/// For tests: the fakes implement all ports.
impl<P> Backend for P
where
    P: Settings
        + Repairs
        + Rotations
        + Connections
        + ManifestKeys
        + Events
        + Recorder
        + Verifier
        + ExporterTrigger
        + Send
        + Sync
        + 'static,
{
    type Settings = Self;
    type Events = Self;
    type Recorder = Self;
    type Verifier = Self;
    type ExporterTrigger = Self;

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

    fn exporter_trigger(&self) -> &Self {
        self
    }
}

/// The settings of the platform, the same for all tenants.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub platform: Platform,
    pub region: Region,
    /// The name of the role that customers' roles trust.
    pub exporter_role: String,
    /// Where the customers' template is published.
    pub template_url: Option<String>,
    /// How long after its end a window is exported.
    pub settle: TimeDelta,
    /// How long events are kept; `None` is forever.
    pub retention: Option<TimeDelta>,
    /// How often a tenant may search its audit logs.
    pub searches_per_minute: u32,
    /// The other sites whose pages may post a sign-in, as browsers name them: `https://app.example.com`.
    pub sign_in_origins: Vec<String>,
    pub embedding: Embedding,
}

/// Cheap to clone.
pub struct App<B>(Arc<Parts<B>>);

struct Parts<B> {
    backend: B,
    deployment: Deployment,
    token_verifier: Option<TokenVerifier>,
    clock: fn() -> DateTime<Utc>,
    random: fn(&mut [u8]) -> bool,
}

impl<B> Clone for App<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> App<B> {
    /// `random` fills a slice with unpredictable bytes, or returns false.
    pub fn new(
        backend: B,
        deployment: Deployment,
        token_verifier: Option<TokenVerifier>,
        clock: fn() -> DateTime<Utc>,
        random: fn(&mut [u8]) -> bool,
    ) -> Self {
        Self(Arc::new(Parts { backend, deployment, token_verifier, clock, random }))
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

    /// Asks the exporter to publish the notification of a change. The change is done, and the notification is in the tenant's
    /// outbox: if the exporter can't be asked, the tenant's next export or the hourly check publishes it.
    pub(crate) async fn request_publishing(&self, tenant: &TenantId) {
        let requested = in_time(self.0.backend.exporter_trigger().request_publishing(tenant)).await;
        if let Err(Failure { code, message, .. }) = requested {
            tracing::warn!(tenant = %tenant, code = %code, reason = message, "publishing not requested; left to the next export or hourly check");
        }
    }

    /// Asks the exporter to export what is due of the tenant.
    pub(crate) async fn request_export(&self, tenant: &TenantId) -> Result<(), Failure> {
        in_time(self.0.backend.exporter_trigger().request_export(tenant)).await
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }

    pub(crate) fn time(&self) -> DateTime<Utc> {
        (self.0.clock)()
    }

    pub(crate) fn clock(&self) -> fn() -> DateTime<Utc> {
        self.0.clock
    }

    /// The caller's change or other act, stamped with the present. Call it right before the change.
    pub(crate) fn change<P>(&self, caller: &Caller<P>) -> Result<AdminChange, Failure> {
        let at = self.time();
        let Actor { id, name, email } = caller.actor().clone();
        let stamp = Stamp { at, retention: self.0.deployment.retention };
        let (by, client) = (User { id, name, email }, caller.client().clone());
        Ok(AdminChange { by, client, stamp, id: time_ordered_id(at, &self.random()?) })
    }

    /// 160 random bits, in hex.
    pub(crate) fn new_external_id(&self) -> Result<ExternalId, Failure> {
        let bytes: [u8; 20] = self.random()?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        ExternalId::parse(&text).map_err(|invalid| Failure::new(Code::Unavailable, invalid.0))
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        let filled = (self.0.random)(&mut bytes);
        filled.then_some(bytes).ok_or_else(|| Failure::new(Code::Unavailable, "The system has no random numbers."))
    }
}

async fn in_time(request: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let timed_out = |_| Err(Failure::new(Code::Unavailable, "The exporter did not accept the request in time."));
    tokio::time::timeout(TRIGGER_TIMEOUT, request).await.unwrap_or_else(timed_out)
}

impl<B: Backend> HasTokenVerifier for App<B> {
    fn token_verifier(&self) -> Option<&TokenVerifier> {
        self.0.token_verifier.as_ref()
    }

    fn now(&self) -> DateTime<Utc> {
        self.time()
    }
}
