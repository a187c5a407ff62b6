//! A fake AWS on the loopback interface: the operations of DynamoDB, STS, S3 and KMS that an export needs.

pub(crate) mod dynamodb;
pub(crate) mod kms;
mod s3;

use std::sync::Arc;

use anyhow::Result;
pub(crate) use audit_log_tests::server::{Reply, reply};
use audit_log_tests::server::{Server, body};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::world::World;

pub(crate) async fn start(world: &Arc<World>) -> Result<Server> {
    let world = Arc::clone(world);
    let answer = move |request| {
        let world = Arc::clone(&world);
        async move { Ok(aws(world, request).await) }
    };
    Server::start(answer).await
}

async fn aws(world: Arc<World>, request: Request<Incoming>) -> Reply {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some((service, operation)) = target.and_then(|target| target.rsplit_once('.')) {
        let (is_kms, operation) = (service == "TrentService", operation.to_owned());
        let body = body(request).await;
        return if is_kms {
            kms::answer(&world, &operation, &body)
        } else {
            dynamodb::answer(&world, &operation, &body).await
        };
    }
    if request.uri().path() == "/" {
        return sts(&world, &body(request).await);
    }
    s3::answer(&world, request).await
}

/// Records a request that isn't supported, which fails the trial.
fn unknown(world: &World, what: String) -> Reply {
    let refusal =
        format!(r#"{{"__type":"com.amazon.coral.validate#ValidationException","message":"unknown: {what}"}}"#);
    world.observed().unknown.push(what);
    reply(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", refusal)
}

fn sts(world: &World, body: &[u8]) -> Reply {
    let body = String::from_utf8_lossy(body);
    if !body.contains("Action=AssumeRole") {
        return unknown(world, "a request to STS other than AssumeRole".to_owned());
    }
    world.count("AssumeRole");
    reply(StatusCode::OK, "text/xml", ASSUMED)
}

/// By "AssumeRole" in the STS API reference. It expires long after any run.
const ASSUMED: &str = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLEEXAMPLEXMP:tenant</AssumedRoleId>
      <Arn>arn:aws:sts::222222222222:assumed-role/audit/tenant</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAEXAMPLEEXAMPLEXM</AccessKeyId>
      <SecretAccessKey>not-a-secret-not-a-secret-not-a-secret-n</SecretAccessKey>
      <SessionToken>not-a-token</SessionToken>
      <Expiration>2099-01-01T00:00:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>"#;
