//! The payloads of exporter and recorder, with their messages and events: each part is accepted or named as refused, or the
//! whole payload is refused.

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use audit_log_core::{
    batch::Batch,
    event::{Body, StoredEvent},
    fakes::{FakeState, Fakes},
    ingestion::{Catalogue, EventValidator},
    new_event::{Stamp, Submitter},
    tenant::{EventShards, TenantId},
};
use audit_log_recorder::{
    config, http, invocation,
    store::{Counts, Store, World},
};
use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, value::RawValue};
use tokio::runtime::{Builder, Runtime};

use self::{
    batches::Messages,
    input::{Input, decode},
};

// The exporter is a binary, and no other crate can depend on it.
#[path = "../../../functions/exporter/src/batches.rs"]
mod batches;
#[path = "../../../functions/exporter/src/input.rs"]
mod input;

static VALIDATOR: LazyLock<EventValidator> = LazyLock::new(validator);

/// A recorder with its storage and its reported counts.
struct Recorder {
    runtime: Runtime,
    fakes: Fakes,
    observed: Arc<Mutex<Vec<Counts>>>,
    store: Arc<Store<Fakes>>,
    router: Router,
}

static RECORDER: LazyLock<Mutex<Recorder>> = LazyLock::new(|| {
    let (fakes, observed) = (Fakes::default(), Arc::<Mutex<Vec<Counts>>>::default());
    let clock = AtomicI64::new(0);
    let world = World {
        // It goes on, since two submitters' events with one id can't be stored at the same time.
        now: Box::new(move || start() + TimeDelta::milliseconds(clock.fetch_add(1, Relaxed))),
        random: Box::new(|| Ok([7; 10])),
        observe: Box::new({
            let observed = Arc::clone(&observed);
            move |counts| observed.lock().expect("no other panic").push(counts)
        }),
    };
    let store = Arc::new(Store::new(fakes.clone(), validator(), None, world));
    let router = http::router(Arc::clone(&store), None);
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    Mutex::new(Recorder { runtime, fakes, observed, store, router })
});

fn validator() -> EventValidator {
    EventValidator::new(Catalogue::parse(config::CATALOGUE).expect("a catalogue"))
}

fn start() -> DateTime<Utc> {
    "2026-11-21T10:03:12.345Z".parse().expect("an instant")
}

/// Takes a payload of either function, the body of a message of the export queue, or an event as the platform sends it.
pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    [check_batch(text), check_event(text), check_exporter(text), check_recorder(text)].contains(&true)
}

fn check_batch(text: &str) -> bool {
    let Ok(batch) = Batch::parse(text) else { return false };
    assert_eq!(Batch::parse(&batch.to_body()).as_ref(), Ok(&batch), "a batch changes when it is sent again");
    true
}

fn check_event(text: &str) -> bool {
    let Ok(event) = VALIDATOR.check(text) else { return false };
    let stamp = Stamp { at: start(), retention: None };
    let acme = TenantId::parse("acme").expect("a tenant");
    let new = event.stamped(&acme, &Submitter::from_token("fuzz"), EventShards::ONE, stamp, "01K");
    let stored = check_document(&new.recorded_at_id(), &new.document);
    let Ok(sent) = serde_json::from_str::<Value>(text) else {
        assert!(event.replaced_characters > 0, "accepted, although it is not JSON");
        assert_eq!(stored["additionalInfo"]["_replacedCharacters"], event.replaced_characters, "no mark");
        return true;
    };
    assert_eq!(event.replaced_characters, 0, "a character was replaced, although it is whole");
    for name in ["logType", "action", "user"] {
        assert_eq!(stored[name], sent[name], "recording changed the event");
    }
    assert_eq!(stored["additionalInfo"], sent.get("additionalInfo").cloned().unwrap_or_else(|| serde_json::json!({})));
    assert!(!["System", "Audit Log Export"].contains(&new.log_type.as_str()), "a log type of the system");
    true
}

fn check_document(recorded_at_id: &str, document: &str) -> Value {
    let event = StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body: Body::Text(document.to_owned()) };
    assert_eq!(event.line(), (document.into(), false), "export changes a stored event");
    serde_json::from_str(document).expect("a document is JSON")
}

fn check_exporter(text: &str) -> bool {
    let Ok(payload) = serde_json::from_str::<Value>(text) else { return false };
    match decode(payload.clone()) {
        Ok(Input::Tick { time }) => {
            assert_eq!(payload["source"], "aws.events", "not a tick of the schedule");
            assert_eq!(payload["time"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok()), Some(time));
        }
        Ok(Input::Batches(messages)) => {
            let sent = payload["Records"].as_array().map(Vec::len);
            assert_eq!(sent, Some(messages.len()), "a message was lost");
            assert!(messages.iter().all(|message| message.event_source.as_deref() == Some("aws:sqs")));
            let messages = Messages::read(messages);
            let count_retries = |failed: &[usize]| messages.answer(failed).batch_item_failures.len();
            let all: Vec<usize> = (0..messages.batches.len()).collect();
            assert_eq!(sent, Some(count_retries(&[]) + all.len()), "a message is neither read nor retried");
            assert_eq!(sent, Some(count_retries(&all)), "a failed message is not retried");
        }
        Ok(Input::Check { time }) => {
            let time_sent = payload["check"]["time"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
            assert_eq!(time_sent, Some(time), "another time");
        }
        Ok(Input::Publish { tenant }) => {
            assert_eq!(payload["publish"]["tenantId"], tenant.as_str(), "another tenant");
        }
        Ok(Input::Export { tenant }) => {
            let name = if payload.get("export").is_some() { "export" } else { "replay" };
            assert_eq!(payload[name]["tenantId"], tenant.as_str(), "another tenant");
        }
        Ok(Input::Verify(request)) => {
            let verify = &payload["verify"];
            assert_eq!(verify["tenantId"], request.tenant_id.as_str(), "another tenant");
            assert_eq!(verify["roleArn"].as_str(), request.draft.role_arn.as_deref());
        }
        Err(refusal) => {
            let secret = payload.pointer("/verify/externalId").and_then(Value::as_str).filter(|id| id.len() > 11);
            assert!(secret.is_none_or(|id| !refusal.to_string().contains(id)), "the refusal shows the external ID");
            return false;
        }
    }
    true
}

fn check_recorder(text: &str) -> bool {
    let Ok(payload) = RawValue::from_string(text.to_owned()) else { return false };
    let Recorder { runtime, fakes, observed, store, router } = &*RECORDER.lock().expect("no other panic");
    *fakes.state() = FakeState::default();
    observed.lock().expect("no other panic").clear();
    let event = LambdaEvent::new(payload, Context::default());
    let Ok(answer) = runtime.block_on(invocation::handle(store, router, event)) else { return false };
    let answer: Value = serde_json::from_str(answer.get()).expect("an answer is JSON");
    let state = fakes.state();
    let stored: Vec<_> = state.events.iter().flat_map(|(of, events)| events.iter().map(move |it| (of, it))).collect();
    if let Some(failures) = answer.get("batchItemFailures").and_then(Value::as_array) {
        let Counts { recorded, duplicate, refused, failed } = observed.lock().expect("no other panic")[0];
        let sent: Value = serde_json::from_str(text).expect("an accepted payload is JSON");
        let messages = sent["Records"].as_array().map(|messages| messages.len() as u64);
        assert_eq!(messages, Some(recorded + duplicate + refused + failed), "a message is not counted");
        assert_eq!(failures.len() as u64, refused + failed, "a message that is not stored is not retried");
        assert_eq!((stored.len() as u64, failed), (recorded, 0), "the counts differ from what is stored");
    } else {
        assert!(stored.is_empty(), "an event was stored without a token");
    }
    for ((tenant, _), (recorded_at_id, body)) in stored {
        TenantId::parse(tenant).expect("a tenant");
        let Body::Text(document) = body else { panic!("the recorder stores strings") };
        check_document(recorded_at_id, document);
    }
    true
}
