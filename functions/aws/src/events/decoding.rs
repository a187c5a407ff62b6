//! Our decoding of Query's answers, in the place of the SDK's own.
//!
//! The SDK makes a map of attribute values out of each item, which costs more than all the rest of an export without
//! compression. Of an item, an export needs two texts. So the SDK goes on finding the endpoint, signing, sending, timing
//! out and trying again, but an answer with status 200 is decoded in [`super::page`]; any other is still the SDK's.
//!
//! It is done where the SDK decodes, within an attempt. So an answer that is damaged counts as an attempt that failed: the
//! SDK waits and asks again, [`crate::clients::MAX_ATTEMPTS`] times in all, and what comes of it then is
//! [`audit_log_core::failure::Code::Unavailable`].

use std::sync::{Arc, Mutex, PoisonError};

use audit_log_core::{failure::Failure, ports::Page};
use aws_sdk_dynamodb::{
    config::Builder as ConfigBuilder,
    operation::query::{Query, QueryOutput, builders::QueryFluentBuilder},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeSerializationInterceptorContextRef, Error, Output},
            dyn_dispatch_hint,
        },
        orchestrator::{HttpResponse, OrchestratorError},
        runtime_plugin::RuntimePlugin,
        ser_de::{DeserializeResponse, SharedResponseDeserializer},
    },
};
use aws_smithy_types::config_bag::ConfigBag;

use super::{page, scanner::Damage};
use crate::errors::AwsError;

/// Sends a query and decodes its answer.
pub(crate) async fn page_of(query: QueryFluentBuilder, retries: ConfigBuilder) -> Result<Page, Failure> {
    let decoded = Decoded::default();
    let query = query.customize().config_override(retries).interceptor(Decoding(decoded.clone()));
    let sent = query.send().await;
    sent.map_err(|error| AwsError::of(&error).from_events())?;
    // An answer that was decoded by anyone else has no page, which is not the same as a page without events.
    decoded.put(None).ok_or_else(|| AwsError::nonsense("ResponseError").from_events())
}

/// What the last attempt's answer was decoded to.
#[derive(Debug, Clone, Default)]
struct Decoded(Arc<Mutex<Option<Page>>>);

impl Decoded {
    /// Replaces it and returns what was there.
    fn put(&self, page: Option<Page>) -> Option<Page> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), page)
    }
}

/// Puts our decoding in the place of the SDK's, for one operation.
#[derive(Debug)]
struct Decoding(Decoded);

#[dyn_dispatch_hint]
impl Intercept for Decoding {
    fn name(&self) -> &'static str {
        "Decoding"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(SharedResponseDeserializer::new(PageDeserializer(self.0.clone())));
        Ok(())
    }
}

#[derive(Debug)]
struct PageDeserializer(Decoded);

impl DeserializeResponse for PageDeserializer {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        self.0.put(None);
        if response.status().as_u16() != 200 {
            return by_the_sdk(response, config);
        }
        match decode(response) {
            Ok(page) => {
                self.0.put(Some(page));
                Ok(Output::erase(QueryOutput::builder().build()))
            }
            Err(damage) => {
                tracing::warn!(%damage, "DynamoDB's answer is damaged");
                Err(OrchestratorError::response(damage.into()))
            }
        }
    }
}

/// What the SDK would make of an answer.
fn by_the_sdk(response: &HttpResponse, config: &ConfigBag) -> Result<Output, OrchestratorError<Error>> {
    let sdks_own = Query::new().config();
    match sdks_own.as_ref().and_then(|layer| layer.load::<SharedResponseDeserializer>()) {
        Some(sdks_own) => sdks_own.deserialize_nonstreaming_with_config(response, config),
        None => Err(OrchestratorError::other("the SDK has no deserializer")),
    }
}

fn decode(response: &HttpResponse) -> Result<Page, Damage> {
    let body = response.body().bytes().ok_or(Damage("it was not read"))?;
    // DynamoDB sends the CRC-32 of what it sends ("DynamoDB low-level API" in the developer guide); a proxy or an
    // emulator may not.
    if let Some(checksum) = response.headers().get("x-amz-crc32")
        && checksum.parse() != Ok(crc32fast::hash(body))
    {
        return Err(Damage("it has another checksum"));
    }
    page::decode(body)
}
