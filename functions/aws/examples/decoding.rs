//! Measures how many MB of events a second one CPU core decodes from responses to Query, and encodes into objects.
//!
//! ```sh
//! cargo run --release --workspace --locked --example decoding
//! cargo run --release --workspace --locked --example decoding --features audit-log-aws/stock-decoding
//! ```
//!
//! The SDK takes part without a network: the response, a page of 1 MB, is in memory.

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use audit_log_aws::events::EventsTable;
use audit_log_core::{
    object::Encoder,
    ports::{EventRange, Events, Page},
    schedule::Window,
    tenant::{Compression, Format, TenantId},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
    shared::IntoShared,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

/// Answers every request with the same page.
#[derive(Debug, Clone)]
struct PageServer {
    status: StatusCode,
    checksum: String,
    body: Bytes,
}

impl HttpConnector for PageServer {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let mut answer = HttpResponse::new(self.status, SdkBody::from(self.body.clone()));
        answer.headers_mut().insert("x-amz-crc32", self.checksum.clone());
        HttpConnectorFuture::ready(Ok(answer))
    }
}

impl HttpClient for PageServer {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.clone().into_shared()
    }
}

/// A page of DynamoDB's size, and the size of its events in bytes.
fn page() -> (String, usize) {
    let (mut items, mut bytes, mut number) = (String::new(), 0, 0_u64);
    while items.len() < 1_300_000 {
        // Random enough to compress about as well as real events.
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (id, at) =
            (format!("01a1f899-{random:016x}"), format!("2026-11-20T10:{:02}:00.{:03}Z", number / 1000, number % 1000));
        let (person, ip) = (["Priya Raman", "Zoë Müller", "山田 花子"][(random % 3) as usize], random >> 8 & 0xff);
        let event = format!(
            r#"{{\"id\":\"{id}\",\"date\":\"{at}\",\"logType\":\"Authentication\",\"action\":\"Login\",\"user\":{{\"id\":\"usr_{:02}\",\"name\":\"{person}\",\"email\":\"someone@acme.example\"}},\"additionalInfo\":{{\"ip\":\"192.0.2.{ip}\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\",\"mfa\":true,\"role\":\"Owner\"}}}}"#,
            random % 12
        );
        bytes += event.replace('\\', "").len();
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            items,
            r#"{comma}{{"log_type":{{"S":"Authentication"}},"expires_at":{{"N":"1795257793"}},"recorded_at_id":{{"S":"{at}#{id}"}},"event":{{"S":"{event}"}},"tenant_shard":{{"S":"acme#0"}},"action":{{"S":"Login"}},"user_email":{{"S":"someone@acme.example"}}}}"#
        );
        number += 1;
    }
    (format!(r#"{{"Count":{number},"Items":[{items}],"ScannedCount":{number}}}"#), bytes)
}

async fn measure<F: Future>(what: &str, bytes: usize, mut work: impl FnMut() -> F) {
    let (mut best, start_time) = (Duration::MAX, Instant::now());
    while start_time.elapsed() < Duration::from_secs(3) {
        let started = Instant::now();
        black_box(work().await);
        best = best.min(started.elapsed());
    }
    println!("{what:24} {:6.0} MB/s", bytes as f64 / 1e6 / best.as_secs_f64());
}

fn encode(page: &Page, compression: Compression) -> usize {
    let mut encoder = Encoder::new(Format::Ndjson, compression);
    let mut stored = 0;
    for event in &page.events {
        let (line, _) = event.line();
        let _ = encoder.push(&line);
        stored += encoder.take_ready(256 * 1024).map_or(0, |bytes| bytes.len());
    }
    stored + encoder.finish().map_or(0, |finished| finished.bytes.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (body, bytes) = page();
    let (checksum, body) = (crc32fast::hash(body.as_bytes()).to_string(), Bytes::from(body));
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "example")))
        .http_client(PageServer { status: StatusCode::try_from(200)?, checksum, body })
        .build();
    let table = &EventsTable::new(aws_sdk_dynamodb::Client::new(&config), "events");
    let tenant = &TenantId::parse("acme")?;
    let window = Window { from: "2026-11-20T10:00:00Z".parse()?, to: "2026-11-20T11:00:00Z".parse()? };
    let page = || table.page(EventRange { tenant, shard: 0, window, after: None });
    let read = page().await?;
    println!("{} events of {} bytes", read.events.len(), bytes / read.events.len());
    measure("decode", bytes, page).await;
    for (what, compression) in [("encode", Compression::None), ("encode with gzip", Compression::Gzip)] {
        measure(what, bytes, || std::future::ready(encode(&read, compression))).await;
        let both = async || page().await.map(|page| encode(&page, compression));
        measure(&format!("decode and {what}"), bytes, both).await;
    }
    Ok(())
}
