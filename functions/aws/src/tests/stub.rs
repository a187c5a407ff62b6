//! A stub of AWS below the SDK: it sees each request and answers by a script.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
    shared::IntoShared,
};
use aws_smithy_types::body::SdkBody;

use crate::clients;

/// What no failure's message may hold: credentials and AWS's error texts.
pub(super) const SECRETS: &[&str] = &[
    "AKIAPLATFORM",
    "platform-secret",
    "ASIATENANT",
    "tenant-secret",
    "tenant-token",
    AWS_TEXT,
    "arn:aws:sts::",
    "x-amz-request-id",
    "4442587FB7D0A2F9",
    "SdkError",
    "service error",
    "dispatch failure",
];

/// In the message of every error that the stub answers with.
pub(super) const AWS_TEXT: &str = "by AWS's error text";

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// By its name in the API.
    pub(super) operation: String,
    pub(super) line: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Sent {
    fn from_request(request: &HttpRequest) -> Self {
        let headers: BTreeMap<_, _> =
            request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let (method, uri) = (request.method(), request.uri());
        let query = uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let operation = match (headers.get("x-amz-target"), method) {
            (Some(target), _) => target.rsplit('.').next().unwrap_or_default(),
            (None, "PUT") if has("partNumber") => "UploadPart",
            (None, "PUT") => "PutObject",
            (None, "DELETE") if has("uploadId") => "AbortMultipartUpload",
            (None, "DELETE") => "DeleteObject",
            (None, "GET") if has("list-type") => "ListObjectsV2",
            (None, "GET") => "GetObject",
            (None, "POST") if uri.ends_with("/invocations") => "Invoke",
            (None, "POST") if has("uploads") => "CreateMultipartUpload",
            (None, "POST") if has("uploadId") => "CompleteMultipartUpload",
            _ => "AssumeRole",
        };
        Self { operation: operation.to_owned(), line: format!("{method} {uri}"), headers, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The headers without those that the SDK adds to every request.
    pub(super) fn chosen_headers(&self) -> Vec<(&str, &str)> {
        const OF_EVERY_REQUEST: &[&str] = &[
            "authorization",
            "user-agent",
            "amz-sdk-invocation-id",
            "amz-sdk-request",
            "x-amz-date",
            "x-amz-content-sha256",
            "x-amz-security-token",
            "x-amz-user-agent",
        ];
        let chosen = self.headers.iter().filter(|(name, _)| !OF_EVERY_REQUEST.contains(&name.as_str()));
        chosen.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    Response {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: String,
    },
    /// The connection breaks before the response.
    Lost,
    /// There is never a response.
    Silence,
}

impl Reply {
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::Response { status: 200, headers: Vec::new(), body: body.into() }
    }

    /// An error in S3's format.
    pub(super) fn s3(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message} {AWS_TEXT}</Message>\
             <RequestId>4442587FB7D0A2F9</RequestId><HostId>host</HostId></Error>"
        );
        let headers = vec![("x-amz-request-id", "4442587FB7D0A2F9"), ("content-type", "application/xml")];
        Self::Response { status, headers, body }
    }

    /// An error in STS's format.
    pub(super) fn sts(status: u16, code: &str) -> Self {
        Self::sts_saying(status, code, "User: arn:aws:sts::111111111111:assumed-role/audit-log-exporter/x is refused")
    }

    pub(super) fn sts_saying(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message} {AWS_TEXT}</Message>\
             </Error><RequestId>4442587FB7D0A2F9</RequestId></ErrorResponse>"
        );
        Self::Response { status, headers: vec![("content-type", "text/xml")], body }
    }

    /// An error in DynamoDB's format; `more` is added to the body.
    pub(super) fn dynamodb(status: u16, code: &str, more: &str) -> Self {
        let body = format!(
            "{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"Refused {AWS_TEXT}\"{more}}}"
        );
        let headers = vec![("content-type", "application/x-amz-json-1.0"), ("x-amzn-requestid", "4442587FB7D0A2F9")];
        Self::Response { status, headers, body }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Self::Response { headers, .. } = &mut self {
            headers.push((name, value));
        }
        self
    }
}

/// The response of STS to an AssumeRole that is allowed.
pub(super) fn role_credentials() -> Reply {
    Reply::ok(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIATENANT</AccessKeyId><SecretAccessKey>tenant-secret</SecretAccessKey>\
         <SessionToken>tenant-token</SessionToken><Expiration>2099-11-21T11:15:00Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>",
    )
}

type Script = Box<dyn Fn(&Sent, usize) -> Reply + Send + Sync>;

/// The stub. It allows AssumeRole, and panics at an operation that is not in its script.
#[derive(Clone, Default)]
pub(super) struct Aws {
    scripts: Arc<Mutex<HashMap<&'static str, Script>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Aws {
    pub(super) fn new() -> Self {
        Self::default().on("AssumeRole", [role_credentials()])
    }

    /// Answers an operation with one reply after the other, and repeats the last one.
    pub(super) fn on<const N: usize>(self, operation: &'static str, replies: [Reply; N]) -> Self {
        self.answering(operation, move |_, nth| replies[nth.min(N - 1)].clone())
    }

    /// Answers an operation by the request and the number of earlier ones.
    pub(super) fn answering(
        self,
        operation: &'static str,
        answer: impl Fn(&Sent, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.scripts.lock().unwrap().insert(operation, Box::new(answer));
        self
    }

    /// The requests of an operation, in order.
    pub(super) fn sent(&self, operation: &str) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().filter(|sent| sent.operation == operation).cloned().collect()
    }

    /// The names of all requests but AssumeRole, in order.
    pub(super) fn operations(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|sent| sent.operation.clone()).filter(|operation| operation != "AssumeRole").collect()
    }

    /// The configuration of production, with its retries and timeouts, on this stub.
    pub(super) fn sdk_config(&self) -> SdkConfig {
        let platform = Credentials::new("AKIAPLATFORM", "platform-secret", None, None, "tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(platform))
            .http_client(self.clone())
            .retry_config(clients::retries())
            .timeout_config(clients::timeouts())
            .stalled_stream_protection(clients::stalled_streams())
            .build()
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").finish_non_exhaustive()
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sent = Sent::from_request(&request);
        let before = self.sent(&sent.operation).len();
        let reply = match self.scripts.lock().unwrap().get(sent.operation.as_str()) {
            Some(script) => script(&sent, before),
            None => panic!("unexpected: {sent:?}"),
        };
        self.sent.lock().unwrap().push(sent);
        match reply {
            Reply::Response { status, headers, body } => {
                let mut answer = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
                for (name, value) in headers {
                    answer.headers_mut().insert(name, value);
                }
                HttpConnectorFuture::ready(Ok(answer))
            }
            Reply::Lost => HttpConnectorFuture::ready(Err(ConnectorError::io("the connection was reset".into()))),
            Reply::Silence => HttpConnectorFuture::new(std::future::pending()),
        }
    }
}

impl HttpClient for Aws {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.clone().into_shared()
    }
}
