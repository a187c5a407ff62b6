//! S3: PutObject and multipart uploads.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::{Reply, reply, unknown};
use crate::world::World;

const XML: &str = "application/xml";

pub(super) async fn answer(world: &World, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let query: HashMap<&str, &str> = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let upload = query.get("uploadId").map(|id| (*id).to_owned());
    match (request.method().clone(), upload) {
        (Method::PUT, None) => {
            world.count("PutObject");
            let headers = request.headers().clone();
            let Some(object) = read_body(world, request).await else { return incomplete_body() };
            world.observed().objects.extend(object.map(|object| (path, object)));
            stored(&headers)
        }
        (Method::PUT, Some(upload)) => {
            world.count("UploadPart");
            let headers = request.headers().clone();
            let number = query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
            let Some(part) = read_body(world, request).await else { return incomplete_body() };
            world.observed().parts.extend(part.map(|part| ((upload, number), part)));
            stored(&headers)
        }
        (Method::POST, None) if query.contains_key("uploads") => {
            let number = world.count("CreateMultipartUpload");
            let (bucket, key) = path.split_once('/').unwrap_or_default();
            reply(
                StatusCode::OK,
                XML,
                format!(
                    "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>upload-{number}</UploadId></InitiateMultipartUploadResult>"
                ),
            )
        }
        (Method::POST, Some(upload)) => {
            world.count("CompleteMultipartUpload");
            complete(world, &path, &upload);
            let (bucket, key) = path.split_once('/').unwrap_or_default();
            reply(
                StatusCode::OK,
                XML,
                format!(
                    r#"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>"0123456789abcdef0123456789abcdef-2"</ETag></CompleteMultipartUploadResult>"#
                ),
            )
        }
        (Method::DELETE, Some(_)) => {
            world.count("AbortMultipartUpload");
            reply(StatusCode::NO_CONTENT, XML, "")
        }
        (method, _) => unknown(world, format!("{method} {path}")),
    }
}

/// Joins an upload's parts.
fn complete(world: &World, path: &str, upload: &str) {
    if !world.behavior.keep_objects {
        return;
    }
    let mut observed = world.observed();
    let parts = observed.parts.iter().filter(|((id, _), _)| id == upload);
    let object: Vec<u8> = parts.flat_map(|(_, part)| part.iter().copied()).collect();
    observed.parts.retain(|(id, _), _| id != upload);
    observed.objects.insert(path.to_owned(), object);
}

/// Reads a body; none if it is incomplete. The inner option holds the bytes, with `keep_objects`.
async fn read_body(world: &World, request: Request<Incoming>) -> Option<Option<Vec<u8>>> {
    let mut body = request.into_body();
    let (mut bytes, mut kept) = (0, world.behavior.keep_objects.then(Vec::new));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        bytes += data.len() as u64;
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&data);
        }
    }
    world.observed().stored_bytes += bytes;
    Some(kept)
}

/// Returns the client's checksums, as S3 does.
fn stored(sent: &HeaderMap) -> Reply {
    let mut answer = Response::builder().status(StatusCode::OK).header("etag", "\"0123456789abcdef0123456789abcdef\"");
    for (name, value) in sent {
        if name.as_str().starts_with("x-amz-checksum-") {
            answer = answer.header(name, value);
        }
    }
    answer.body(Full::new(Bytes::new())).unwrap_or_default()
}

fn incomplete_body() -> Reply {
    reply(StatusCode::BAD_REQUEST, XML, "<Error><Code>IncompleteBody</Code></Error>")
}
