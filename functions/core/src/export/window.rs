//! One window of one tenant: read, encode, store.

use chrono::{DateTime, Utc};

use super::{Export, Options, Run, reader::Reader, tenant::TenantExport};
use crate::{
    event,
    failure::{Code, Failure},
    object::{Encoder, ObjectSpec},
    ports::{Bucket, Buckets, Events, Tenants, Upload},
    records::{Receipt, StoredObject},
    schedule::Window,
    settings::TenantConfig,
};

/// How many encoded bytes are handed on at a time.
const CHUNK: usize = 256 * 1024;

/// Why a window was given up; nothing of its unfinished object is left behind.
pub(super) enum GivenUp {
    /// The run's time is over.
    OutOfTime,
    Failed(Failure),
}

impl From<Failure> for GivenUp {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl<T: Tenants, E: Events, B: Buckets> Export<T, E, B> {
    /// Stores all objects of a window and tells what was stored. Moves nothing.
    pub(super) async fn store_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
    ) -> Result<Receipt, GivenUp> {
        let started = (run.now)();
        let gap = self.options.retention.is_some_and(|retention| window.from < started - retention);
        let mut writer = Writer::new(&self.buckets, &self.options, &tenant.config, window, &mut tenant.bucket);
        match self.copy_events(run, &tenant.config, window, gap, &mut writer).await {
            Ok(()) => Ok(writer.into_receipt(gap, started, (run.now)())),
            Err(given_up) => {
                writer.abort().await;
                Err(given_up)
            }
        }
    }

    async fn copy_events(
        &self,
        run: Run<'_>,
        config: &TenantConfig,
        window: Window,
        gap: bool,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), GivenUp> {
        if gap {
            writer.push_systems_own(&event::retention_notice(&config.tenant, window)).await?;
        }
        let mut reader = Reader::new(&self.events, config, window);
        while let Some(event) = reader.next().await? {
            if (run.should_stop)() {
                return Err(GivenUp::OutOfTime);
            }
            let (line, malformed) = event.line();
            writer.push(&line, 1).await?;
            writer.malformed += u64::from(malformed);
        }
        if writer.is_empty() {
            writer.push_systems_own(&event::heartbeat(&config.tenant, window)).await?;
        }
        Ok(writer.finish_object().await?)
    }
}

/// Spreads a window's lines over as many objects as they need.
struct Writer<'a, B: Buckets> {
    buckets: &'a B,
    config: &'a TenantConfig,
    window: Window,
    limit: u64,
    bucket: &'a mut Option<B::Bucket>,
    open: Option<OpenObject<<B::Bucket as Bucket>::Upload>>,
    stored: Vec<StoredObject>,
    malformed: u64,
}

struct OpenObject<U> {
    key: String,
    encoder: Encoder,
    upload: U,
    events: u64,
}

impl<'a, B: Buckets> Writer<'a, B> {
    fn new(
        buckets: &'a B,
        options: &Options,
        config: &'a TenantConfig,
        window: Window,
        bucket: &'a mut Option<B::Bucket>,
    ) -> Self {
        let limit = options.max_object_bytes;
        Self { buckets, config, window, limit, bucket, open: None, stored: Vec::new(), malformed: 0 }
    }

    fn is_empty(&self) -> bool {
        self.open.is_none() && self.stored.is_empty()
    }

    async fn push_systems_own(&mut self, line: &str) -> Result<(), Failure> {
        self.push(line, 0).await
    }

    async fn push(&mut self, line: &str, events: u64) -> Result<(), Failure> {
        if self.open.as_ref().is_some_and(|open| !open.encoder.has_room(line.len(), self.limit)) {
            self.finish_object().await?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.next_object().await?,
        };
        let encoded = open.encoder.push(line).map_err(not_encoded);
        let ready = open.encoder.take_ready(CHUNK);
        open.events += events;
        let open = self.open.insert(open);
        encoded?;
        match ready {
            Some(bytes) => open.upload.write(bytes).await,
            None => Ok(()),
        }
    }

    async fn next_object(&mut self) -> Result<OpenObject<<B::Bucket as Bucket>::Upload>, Failure> {
        let bucket = match self.bucket.take() {
            Some(bucket) => bucket,
            None => self.buckets.open(self.config, self.window).await?,
        };
        let bucket = self.bucket.insert(bucket);
        let file = u32::try_from(self.stored.len() + 1).unwrap_or(u32::MAX);
        let spec = ObjectSpec::new(self.config, self.window, file);
        let encoder = Encoder::new(self.config.format, self.config.compression);
        Ok(OpenObject { key: spec.key.clone(), encoder, upload: bucket.upload(spec), events: 0 })
    }

    async fn finish_object(&mut self) -> Result<(), Failure> {
        let Some(OpenObject { key, encoder, mut upload, events }) = self.open.take() else { return Ok(()) };
        let finished = match encoder.finish() {
            Ok(finished) => finished,
            Err(error) => {
                upload.abort().await;
                return Err(not_encoded(error));
            }
        };
        if let Err(failure) = upload.write(finished.bytes).await {
            upload.abort().await;
            return Err(failure);
        }
        upload.finish().await?;
        self.stored.push(StoredObject { key, bytes: finished.stored, events, sha256: finished.sha256 });
        Ok(())
    }

    async fn abort(self) {
        if let Some(open) = self.open {
            open.upload.abort().await;
        }
    }

    fn into_receipt(self, gap: bool, started: DateTime<Utc>, ended: DateTime<Utc>) -> Receipt {
        Receipt {
            window: self.window,
            bucket: self.config.bucket.to_string(),
            objects: self.stored,
            malformed: self.malformed,
            gap,
            exported_at: ended,
            duration: ended - started,
        }
    }
}

fn not_encoded(error: std::io::Error) -> Failure {
    Failure::new(Code::Rejected, format!("An object could not be encoded: {error}."))
}
