//! Tests of requests and the outcomes of their events.

use audit_log_core::fakes::{Fault, Op};

use super::*;

#[tokio::test]
async fn events_are_stored_for_the_tenant_of_the_token_with_the_time_of_the_write() {
    let bench = Bench::new();
    let (status, answer) = bench.post("acme", &json!({ "events": [login("l-1"), scan()] })).await;
    let scan_id = "01a1fd8f-585a-7000-8000-000000000000";
    let expected = json!({
        "recorded": 2, "duplicate": 0,
        "results": [
            { "index": 0, "id": "l-1", "status": "recorded" }, { "index": 1, "id": scan_id, "status": "recorded" },
        ],
    });
    assert_eq!((status, answer), (StatusCode::OK, expected));
    let stored = bench.stored("acme");
    assert_eq!(stored.iter().map(|event| &event["id"]).collect::<Vec<_>>(), ["l-1", scan_id]);
    let started = bench.recorder.started.lock().unwrap();
    for (event, stored) in started.iter().zip(&stored) {
        assert_eq!(event.stamp.retention, Some(TimeDelta::days(90)));
        assert_eq!(stored["date"], event.stamp.at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        assert!(event.stamp.at > start());
    }
    assert_eq!(started[1].user_email.as_deref(), Some("ada@acme.example"));
}

#[tokio::test]
async fn without_a_token_that_may_write_events_nothing_is_read_or_stored() {
    let bench = Bench::new();
    let body = || Body::from(json!({ "events": [login("l-1")] }).to_string());
    let request = || Request::post("/v1/events").header("content-type", "application/json");
    let (status, headers, _) = bench.send(request().body(body()).unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    for permissions in [&[][..], &["audit-logs:read", "audit-logs:admin"]] {
        let token = bench.issuer.token_for("acme", permissions);
        let (status, _, answer) =
            bench.send(request().header("authorization", format!("Bearer {token}")).body(body()).unwrap()).await;
        assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!("permission_denied")));
    }
    let closed = crate::http::router(Arc::clone(&bench.store), None);
    let token = bench.token("acme");
    let request = request().header("authorization", format!("Bearer {token}")).body(body()).unwrap();
    assert_eq!(closed.oneshot(request).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(bench.recorder.started.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_taken_for_nothing_else() {
    let bench = Bench::new();
    let authorization = format!("Bearer {}", bench.token("acme"));
    let body = json!({ "events": [login("l-1")] }).to_string();
    for (method, path, authorization, expected) in [
        ("POST", "/v1/events", authorization.as_str(), 200),
        ("POST", "/v1/events", "", 401),
        ("GET", "/v1/events", "", 405),
        ("GET", "/v1/events/schema.json", "", 200),
        ("GET", "/v1/nothing", "", 404),
    ] {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", authorization).body(Body::from(body.clone())).unwrap();
        let (status, headers, _) = bench.send(request).await;
        assert_eq!(status, expected, "{method} {path}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(headers[name], value, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn no_request_can_name_a_tenant() {
    let bench = Bench::new();
    let of_globex = json!({ "events": [login("l-1")], "tenantId": "globex" });
    let (status, answer) = bench.post("acme", &of_globex).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("tenantId")));

    let mut event = login("l-1");
    event["tenantId"] = json!("globex");
    let (status, answer) = bench.post("acme", &json!({ "events": [event] })).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["refused"]));

    let request = Request::post("/v1/events?tenantId=globex&tenant_id=globex")
        .header("authorization", format!("Bearer {}", bench.token("acme")))
        .header("x-tenant-id", "globex")
        .header("content-type", "application/json")
        .body(json!({ "events": [login("l-1")] }).to_string().into());
    assert_eq!(bench.send(request.unwrap()).await.0, StatusCode::OK);
    assert_eq!((bench.ids("acme"), bench.ids("globex")), (vec!["l-1".to_owned()], vec![]));
}

#[tokio::test]
async fn an_invalid_request_stores_nothing() {
    let bench = Bench::new();
    let request = |body: Vec<u8>| {
        Request::post("/v1/events")
            .header("authorization", format!("Bearer {}", bench.token("acme")))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    let events = |count: usize| json!({ "events": vec![scan(); count] }).to_string().into_bytes();
    let mut large = json!({ "events": [login("l-1")] }).to_string();
    large.push_str(&" ".repeat(crate::http::MAX_BODY_BYTES + 1 - large.len()));
    for (body, expected, code) in [
        (large.clone().into_bytes(), StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        (events(0), StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields"),
        (events(501), StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields"),
        (b"{\"events\": [{}".to_vec(), StatusCode::BAD_REQUEST, "malformed_body"),
        (b"[]".to_vec(), StatusCode::BAD_REQUEST, "malformed_body"),
        (b"{}".to_vec(), StatusCode::BAD_REQUEST, "malformed_body"),
        (b"{\"events\": [\"\xff\"]}".to_vec(), StatusCode::BAD_REQUEST, "malformed_body"),
        (b"{\"events\": [1], \"events\": [2]}".to_vec(), StatusCode::BAD_REQUEST, "malformed_body"),
    ] {
        let (status, headers, answer) = bench.send(request(body)).await;
        assert_eq!((status, &answer["code"]), (expected, &json!(code)));
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    assert_eq!(bench.recorder.started.lock().unwrap().len(), 0);

    large.pop();
    assert_eq!(bench.send(request(large.into_bytes())).await.0, StatusCode::OK, "4 MiB are not too much");
    assert_eq!(bench.send(request(events(500))).await.0, StatusCode::OK, "500 events are not too many");
    assert_eq!(bench.stored("acme").len(), 501);
}

#[tokio::test]
async fn a_refused_event_does_not_fail_the_others() {
    let bench = Bench::new();
    let (mut dated, mut unknown) = (login("l-2"), login("l-3"));
    dated["date"] = json!("2020-01-01T00:00:00.000Z");
    unknown["action"] = json!("Lgoin");
    let events = json!([login("l-1"), dated, unknown, 7, null, login("l-1\\ud83e"), login("l-4")]);
    let body: Value = json!({ "events": events });
    let request = Request::post("/v1/events")
        .header("authorization", format!("Bearer {}", bench.token("acme")))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string().replace("\\\\ud83e", "\\ud83e")));
    let (status, headers, answer) = bench.send(request.unwrap()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(answer["type"], "urn:audit-log-export:problem:invalid_fields");
    assert!(answer["detail"].as_str().unwrap().contains("The other 2 are stored"), "{answer}");
    let refused = "refused";
    assert_eq!(statuses(&answer), ["recorded", refused, refused, refused, refused, refused, "recorded"]);
    for (index, words) in [
        (1, "/date is stamped"),
        (2, "did you mean \"Login\"?"),
        (3, "type object"),
        (4, "type object"),
        (5, "/id has 1 to 128"),
    ] {
        let reason = answer["results"][index]["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(bench.ids("acme"), ["l-1", "l-4"]);
    let counts = Counts { recorded: 2, duplicate: 0, refused: 5, failed: 0 };
    assert_eq!(*bench.observed.lock().unwrap(), [counts]);
}

#[tokio::test]
async fn an_event_on_which_query_engines_fail_for_a_repeated_name_is_refused_with_the_place() {
    let bench = Bench::new();
    let with_info = |info| {
        let mut event = scan();
        event["additionalInfo"] = info;
        event
    };
    let events = [
        with_info(json!({ "request": [{ "URL": "a", "Url": "b" }] })),
        with_info(json!({ "ip": "192.0.2.7", "OTHER": 1 })),
        with_info(json!({ "_replacedCharacters": "HALF" })),
        scan(),
    ];
    let body = json!({ "events": events }).to_string().replace("OTHER", "\\u0069p").replace("HALF", "\\ud83d");
    let request = Request::post("/v1/events")
        .header("authorization", format!("Bearer {}", bench.token("acme")))
        .header("content-type", "application/json")
        .body(Body::from(body));
    let (status, _, answer) = bench.send(request.unwrap()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(statuses(&answer), ["refused", "refused", "refused", "recorded"]);
    let places = [
        "/additionalInfo/request/0/Url occurs twice in the same object",
        "/additionalInfo/ip occurs twice in the same object",
        "/additionalInfo/_replacedCharacters is the recorder's own",
    ];
    for (index, place) in places.into_iter().enumerate() {
        let reason = answer["results"][index]["reason"].as_str().unwrap();
        assert!(reason.starts_with(place), "{reason}");
    }
    assert_eq!(bench.stored("acme").len(), 1);
}

#[tokio::test]
async fn two_events_with_one_id_are_one_event_in_a_request_and_after_it() {
    let bench = Bench::new();
    let (status, answer) = bench.post("acme", &json!({ "events": [login("l-1"), login("l-2"), login("l-1")] })).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::OK, vec!["recorded", "recorded", "duplicate"]));
    let (status, answer) = bench.post("acme", &json!({ "events": [login("l-1"), login("l-3")] })).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::OK, vec!["duplicate", "recorded"]));
    assert_eq!((&answer["recorded"], &answer["duplicate"]), (&json!(1), &json!(1)));
    assert_eq!(bench.ids("acme").len(), 3);
    bench.post("globex", &json!({ "events": [login("l-1")] })).await;
    assert_eq!(bench.ids("globex"), ["l-1"], "another tenant's ids are its own");
}

#[tokio::test]
async fn an_id_is_its_submitters_own() {
    let bench = Bench::new();
    let mut first = login("scan_5f1c2a-completed");
    first["action"] = json!("Logout");
    let truth = json!({ "events": [login("scan_5f1c2a-completed"), scan()] });
    let key = [("idempotency-key", "k")];
    assert_eq!(bench.post_as("mallory", &key, &json!({ "events": [first, scan()] })).await.0, StatusCode::OK);
    let (status, answer) = bench.post_as("scanner", &key, &truth).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::OK, vec!["recorded"; 2]), "{answer}");
    let (_, answer) = bench.post_as("scanner", &key, &truth).await;
    assert_eq!(statuses(&answer), ["duplicate"; 2]);
    let started = bench.recorder.started.lock().unwrap();
    let submitters: Vec<_> = started.iter().map(|event| event.submitted_by.as_str()).collect();
    assert_eq!(submitters[..4], ["token:mallory", "token:mallory", "token:scanner", "token:scanner"]);
    assert_ne!(started[1].id, started[3].id, "ids from a key differ by the submitter");
}

#[tokio::test]
async fn half_a_character_is_replaced_and_the_answer_says_so() {
    let bench = Bench::new();
    let mut half = scan();
    half["user"]["name"] = json!("Ada HALF");
    let body = json!({ "events": [half, scan()] }).to_string().replace("HALF", "\\ud83d");
    let request = Request::post("/v1/events")
        .header("authorization", format!("Bearer {}", bench.token("acme")))
        .header("content-type", "application/json")
        .body(Body::from(body));
    let (status, _, answer) = bench.send(request.unwrap()).await;
    assert_eq!((status, &answer["results"][0]["replacedCharacters"]), (StatusCode::OK, &json!(1)));
    assert_eq!(answer["results"][1].get("replacedCharacters"), None);
    assert_eq!(bench.stored("acme")[0]["additionalInfo"], json!({ "_replacedCharacters": 1 }));
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_key_stores_nothing_twice() {
    let bench = Bench::new();
    let key = [("idempotency-key", "batch:7")];
    let body = json!({ "events": [scan(), scan(), login("l-1")] });
    let (_, first) = bench.post_with("acme", &key, &body).await;
    let (status, second) = bench.post_with("acme", &key, &body).await;
    assert_eq!((status, statuses(&second)), (StatusCode::OK, vec!["duplicate"; 3]));
    let ids = |answer: &Value| {
        let id = |index: usize| answer["results"][index]["id"].as_str().unwrap().to_owned();
        [id(0), id(1), id(2)]
    };
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(bench.stored("acme").len(), 3);
    for (tenant, key) in [("acme", "batch:8"), ("globex", "batch:7")] {
        let (_, other) = bench.post_with(tenant, &[("idempotency-key", key)], &json!({ "events": [scan()] })).await;
        assert_eq!(statuses(&other), ["recorded"]);
    }
    for bad in [&[("idempotency-key", "")][..], &[("idempotency-key", "a/b")], &[key[0], key[0]]] {
        let (status, answer) = bench.post_with("acme", bad, &body).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("Idempotency-Key")));
    }
}

#[tokio::test]
async fn the_answer_names_failed_events_and_a_repeated_request_stores_them() {
    let bench = Bench::new();
    let key = [("idempotency-key", "k")];
    bench.post("acme", &json!({ "events": [login("l-0")] })).await;
    let denied = Failure::new(Code::PlatformDenied, "The table audit-events refused it.");
    bench.fakes().once(Op::Record, Some("acme"), Fault::Fail(denied));
    let body = json!({ "events": [login("l-1"), scan(), { "logType": 7 }] });
    let request = Request::post("/v1/events")
        .header("authorization", format!("Bearer {}", bench.token("acme")))
        .header("content-type", "application/json")
        .header("idempotency-key", "k")
        .body(Body::from(body.to_string()));
    let (status, headers, answer) = bench.send(request.unwrap()).await;
    assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &::http::HeaderValue::from(5)));
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(statuses(&answer), ["failed", "recorded", "refused"]);
    assert!(!answer.to_string().contains("audit-events"), "{answer}");

    let (status, answer) = bench.post_with("acme", &key, &body).await;
    assert_eq!(
        (status, statuses(&answer)),
        (StatusCode::UNPROCESSABLE_ENTITY, vec!["recorded", "duplicate", "refused"])
    );
    assert_eq!(bench.stored("acme").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_before_its_api_times_out() {
    let bench = Bench::new();
    *bench.recorder.hangs.lock().unwrap() = true;
    let start_time = tokio::time::Instant::now();
    let (status, answer) = bench.post("acme", &json!({ "events": vec![scan(); 100] })).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::SERVICE_UNAVAILABLE, vec!["failed"; 100]));
    assert!(start_time.elapsed() < std::time::Duration::from_secs(29), "{:?}", start_time.elapsed());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_and_the_documents_are_public() {
    let bench = Bench::new();
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let (status, _, answer) = bench.send(get("/v1/event")).await;
    assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    let (status, headers, answer) = bench.send(get("/v1/events")).await;
    assert_eq!((status, &answer["code"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed")));
    assert_eq!(headers["allow"], "POST");

    let (status, _, published) = bench.send(get("/v1/events/schema.json")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(published["x-catalogue"], serde_json::from_str::<Value>(config::CATALOGUE).unwrap().sorted());
    let validator = jsonschema::draft202012::new(&published).unwrap();
    assert!(validator.is_valid(&login("l-1")));
    let mut unknown = login("l-1");
    unknown["action"] = json!("Scan Now");
    assert!(!validator.is_valid(&unknown));
    let (status, _, document) = bench.send(get("/v1/events/openapi.json")).await;
    assert_eq!((status, document), (StatusCode::OK, crate::openapi::document()));
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for Value {
    /// With each list of actions in order.
    fn sorted(mut self) -> Self {
        for actions in self.as_object_mut().unwrap().values_mut() {
            actions.as_array_mut().unwrap().sort_by_key(|action| action.as_str().unwrap().to_owned());
        }
        self
    }
}

#[tokio::test]
async fn an_event_with_the_id_of_another_is_refused_and_not_dropped() {
    let bench = Bench::new();
    let mut logout = login("l-1");
    logout["action"] = json!("Logout");
    let (_, answer) = bench.post("acme", &json!({ "events": [login("l-1"), logout] })).await;
    assert_eq!(statuses(&answer), ["recorded", "refused"], "in one request");
    let (status, answer) = bench.post("acme", &json!({ "events": [logout] })).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["refused"]));
    assert!(answer["results"][0]["reason"].as_str().unwrap().contains("that of another event"), "{answer}");

    // The second of these is corrected and sent again alone, under the key of the first request.
    let key = [("idempotency-key", "once")];
    let (_, answer) = bench.post_with("acme", &key, &json!({ "events": [scan(), { "logType": "x" }] })).await;
    assert_eq!(statuses(&answer), ["recorded", "refused"]);
    let mut corrected = scan();
    corrected["action"] = json!("Scan Completed");
    let (status, answer) = bench.post_with("acme", &key, &json!({ "events": [corrected] })).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["refused"]));
    let (status, _) = bench.post_with("acme", &[("idempotency-key", "twice")], &json!({ "events": [corrected] })).await;
    assert_eq!((status, bench.ids("acme").len()), (StatusCode::OK, 3));
}
