//! What the functions are invoked with, and the messages and events in it: all of it is taken, named as refused, or
//! refused as a whole, and nothing is taken that wasn't meant.

use std::sync::{Arc, LazyLock, Mutex};

use audit_log_core::{
    batch::Batch,
    event::{Body, StoredEvent},
    fakes::{FakeState, Fakes},
    ingestion::{Catalogue, EventValidator},
    new_event::Stamp,
    tenant::{EventShards, TenantId},
};
use audit_log_recorder::{
    http, invocation, schema,
    store::{Counts, Store, World},
};
use axum::Router;
use chrono::{DateTime, Utc};
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

/// A recorder, what it stores, and what it says that it did.
struct Recorder {
    runtime: Runtime,
    fakes: Fakes,
    observed: Arc<Mutex<Vec<Counts>>>,
    store: Arc<Store<Fakes>>,
    router: Router,
}

static RECORDER: LazyLock<Mutex<Recorder>> = LazyLock::new(|| {
    let (fakes, observed) = (Fakes::default(), Arc::<Mutex<Vec<Counts>>>::default());
    let world = World {
        now: Box::new(start),
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
    EventValidator::new(schema::AUDIT_EVENT, Catalogue::parse(schema::CATALOGUE).expect("a catalogue"))
        .expect("a schema")
}

fn start() -> DateTime<Utc> {
    "2026-11-21T10:03:12.345Z".parse().expect("an instant")
}

/// Takes a payload of either function, the body of a message of the export's queue, or an event as the platform sends it.
pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    [is_batch(text), is_event(text), is_exporters(text), is_recorders(text)].contains(&true)
}

fn is_batch(text: &str) -> bool {
    let Ok(batch) = Batch::parse(text) else { return false };
    assert_eq!(Batch::parse(&batch.to_body()).as_ref(), Ok(&batch), "a batch is another one when handed on");
    true
}

fn is_event(text: &str) -> bool {
    let Ok(event) = VALIDATOR.check(text) else { return false };
    let sent: Value = serde_json::from_str(text).expect("what was checked is JSON");
    let stamp = Stamp { at: start(), retention: None };
    let acme = TenantId::parse("acme").expect("a tenant");
    let new = event.stamped(&acme, EventShards::ONE, stamp, "01K");
    let said = is_good_document(&new.recorded_at_id(), &new.document);
    for name in ["logType", "action", "user"] {
        assert_eq!(said[name], sent[name], "an event was changed on its way in");
    }
    assert_eq!(said["additionalInfo"], sent.get("additionalInfo").cloned().unwrap_or_else(|| serde_json::json!({})));
    assert!(!["System", "Audit Log Export"].contains(&new.log_type.as_str()), "only the system itself may say that");
    true
}

fn is_good_document(recorded_at_id: &str, document: &str) -> Value {
    let event = StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body: Body::Text(document.to_owned()) };
    assert_eq!(event.line(), (document.into(), false), "what was stored is not exported as it is");
    serde_json::from_str(document).expect("a document is JSON")
}

fn is_exporters(text: &str) -> bool {
    let Ok(payload) = serde_json::from_str::<Value>(text) else { return false };
    match decode(payload.clone()) {
        Ok(Input::Tick { time }) => {
            assert_eq!(payload["source"], "aws.events", "a tick of someone else");
            assert_eq!(payload["time"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok()), Some(time));
        }
        Ok(Input::Batches(messages)) => {
            let sent = payload["Records"].as_array().map(Vec::len);
            assert_eq!(sent, Some(messages.len()), "messages were lost");
            assert!(messages.iter().all(|message| message.event_source.as_deref() == Some("aws:sqs")));
            let messages = Messages::read(messages);
            let again = |failed: &[usize]| messages.answer(failed).batch_item_failures.len();
            let all: Vec<usize> = (0..messages.batches.len()).collect();
            assert_eq!(sent, Some(again(&[]) + all.len()), "a message is neither read nor sent again");
            assert_eq!(sent, Some(again(&all)), "a message that failed is not sent again");
        }
        Ok(Input::Check { time }) => {
            let said = payload["check"]["time"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
            assert_eq!(said, Some(time), "a check at another time");
        }
        Ok(Input::Publish { tenant }) => {
            assert_eq!(payload["publish"]["tenantId"], tenant.as_str(), "another tenant's notifications");
        }
        Ok(Input::Verify(request)) => {
            let verify = &payload["verify"];
            assert_eq!(verify["tenantId"], request.tenant_id.as_str(), "another tenant's connection");
            assert_eq!(verify["roleArn"].as_str(), request.draft.role_arn.as_deref());
        }
        Err(refusal) => {
            let secret = payload.pointer("/verify/externalId").and_then(Value::as_str).filter(|id| id.len() > 11);
            assert!(secret.is_none_or(|id| !refusal.to_string().contains(id)), "a refusal tells the external ID");
            return false;
        }
    }
    true
}

fn is_recorders(text: &str) -> bool {
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
        let sent: Value = serde_json::from_str(text).expect("what was taken is JSON");
        let messages = sent["Records"].as_array().map(|messages| messages.len() as u64);
        assert_eq!(messages, Some(recorded + duplicate + refused + failed), "a message is not accounted for");
        assert_eq!(failures.len() as u64, refused + failed, "a message that is not stored is not sent again");
        assert_eq!((stored.len() as u64, failed), (recorded, 0), "what is stored is not what was said");
    } else {
        assert!(stored.is_empty(), "nobody has a token here");
    }
    for ((tenant, _), (recorded_at_id, body)) in stored {
        TenantId::parse(tenant).expect("a tenant");
        let Body::Text(document) = body else { panic!("the recorder stores texts") };
        is_good_document(recorded_at_id, document);
    }
    true
}
