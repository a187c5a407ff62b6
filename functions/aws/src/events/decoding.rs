//! Replaces the SDK's decoding of responses to Query.
//!
//! The SDK makes a map of attribute values from each item, which costs more than all the rest of an export without
//! compression. An export needs two texts of an item. So a response with status 200 is decoded in [`super::page`]; the SDK
//! still decodes any other, and finds the endpoint, signs, sends, times out and retries.
//!
//! This runs where the SDK decodes, within an attempt. So a damaged response is a failed attempt: the SDK waits and tries
//! again, up to [`crate::clients::MAX_ATTEMPTS`] times. After that the failure is
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

use super::page::{self, Damage};
use crate::errors::AwsError;

pub(crate) async fn page_of(query: QueryFluentBuilder, retries: ConfigBuilder) -> Result<Page, Failure> {
    let decoded = DecodedPage::default();
    let query = query.customize().config_override(retries).interceptor(DeserializerOverride(decoded.clone()));
    let sent = query.send().await;
    sent.map_err(|error| AwsError::from_sdk(&error).events_failure())?;
    // A response that the SDK decoded has no page, which is not the same as a page without events.
    decoded.replace(None).ok_or_else(|| AwsError::invalid_response("ResponseError").events_failure())
}

/// The page of the last attempt's response.
#[derive(Debug, Clone, Default)]
struct DecodedPage(Arc<Mutex<Option<Page>>>);

impl DecodedPage {
    fn replace(&self, page: Option<Page>) -> Option<Page> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), page)
    }
}

/// Makes the SDK use [`PageDeserializer`] for one operation.
#[derive(Debug)]
struct DeserializerOverride(DecodedPage);

#[dyn_dispatch_hint]
impl Intercept for DeserializerOverride {
    fn name(&self) -> &'static str {
        "DeserializerOverride"
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
struct PageDeserializer(DecodedPage);

impl DeserializeResponse for PageDeserializer {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        self.0.replace(None);
        if response.status().as_u16() != 200 {
            return deserialize_with_sdk(response, config);
        }
        match decode(response) {
            Ok(page) => {
                self.0.replace(Some(page));
                Ok(Output::erase(QueryOutput::builder().build()))
            }
            Err(damage) => {
                tracing::warn!(%damage, "a response of DynamoDB is damaged");
                Err(OrchestratorError::response(damage.into()))
            }
        }
    }
}

fn deserialize_with_sdk(response: &HttpResponse, config: &ConfigBag) -> Result<Output, OrchestratorError<Error>> {
    let plugin = Query::new().config();
    match plugin.as_ref().and_then(|layer| layer.load::<SharedResponseDeserializer>()) {
        Some(deserializer) => deserializer.deserialize_nonstreaming_with_config(response, config),
        None => Err(OrchestratorError::other("the SDK has no deserializer")),
    }
}

fn decode(response: &HttpResponse) -> Result<Page, Damage> {
    let body = response.body().bytes().ok_or(Damage("it was not read"))?;
    // DynamoDB sends the CRC-32 of the body ("DynamoDB low-level API" in the developer guide). A proxy or an emulator may not.
    if let Some(checksum) = response.headers().get("x-amz-crc32")
        && checksum.parse() != Ok(crc32fast::hash(body))
    {
        return Err(Damage("it has another checksum"));
    }
    page::decode(body)
}
