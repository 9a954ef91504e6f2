//! Rounds: their echoes, their panics, their spans.

use std::io;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;
use crate::Target;

fn map(version: &str) -> serde_json::Value {
    json!({"metadata": {"name": "a", "namespace": "ns", "uid": "1", "resourceVersion": version}})
}

fn held(version: &str) -> ConfigMap {
    serde_json::from_value(map(version)).expect("a config map")
}

#[tokio::test(start_paused = true)]
async fn a_write_is_seen_also_where_the_object_went_right_after() {
    let object = api::Object::from_value(map("5")).expect("an object");
    let wrote = Effect::Wrote { target: Target::new("", "v1", "configmaps", "ns", "a"), object };
    let cache = Cache::<ConfigMap>::new();
    let seen = async |cache: &Cache<ConfigMap>| {
        let waiting = echo(cache.clone(), &wrote).expect("the cache's kind");
        tokio::time::timeout(Duration::from_secs(1), waiting).await.is_ok()
    };
    assert!(!seen(&cache).await, "it has not come yet");
    cache.apply(held("4"));
    assert!(!seen(&cache).await, "that was before");
    cache.apply(held("5"));
    assert!(seen(&cache).await);
    let last = serde_json::to_vec(&map("6")).expect("JSON");
    cache.objects().deleted(&crate::Item::read(last.into()).expect("an object"));
    assert!(seen(&cache).await, "it came and went");
}

/// Panics over the key `poison`, tells of the others.
struct Tripping(tokio::sync::mpsc::UnboundedSender<String>);

impl Controller for Tripping {
    const NAME: &'static str = "tripping";
    const WORKERS: usize = 1;
    type Config = tokio::sync::mpsc::UnboundedSender<String>;
    type Observed = String;

    fn sources(sources: &mut Sources<'_>, told: Self::Config) -> Self {
        for name in ["poison", "good"] {
            sources.queue().add(Key::new("ns", name));
        }
        Self(told)
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<String>, kube::Error> {
        let name = round.key.name.to_string();
        tracing::debug!("observed");
        self.0.send(name.clone()).expect("the test listens");
        Ok(Some(name))
    }

    fn reconcile(observed: &String, _: jiff::Timestamp) -> Plan {
        assert_ne!(observed, "poison");
        Plan::default()
    }
}

/// One whose API server is out of reach.
fn manager() -> (Manager, Supervisor) {
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().expect("a URI"));
    manager_at(Client::try_from(nowhere).expect("a client"))
}

fn manager_at(client: Client) -> (Manager, Supervisor) {
    let supervisor = Supervisor::new(base::Shutdown::new());
    let manager = Manager::new(Context {
        client_of: Arc::new({
            let client = client.clone();
            move |_| client.clone()
        }),
        informers: Informers::new(client, supervisor.clone()),
        clock: Arc::new(base::SystemClock),
        supervisor: supervisor.clone(),
        metrics: Metrics::default(),
    });
    (manager, supervisor)
}

#[tokio::test]
async fn a_round_that_panics_is_tried_again_and_stops_no_other() {
    // Where no subscriber is set, the loop's spans could be switched off for the tests beside this one.
    let (_, _guard) = collect();
    let (mut manager, supervisor) = manager();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    manager.start::<Tripping>(told);
    for expected in ["poison", "good", "poison"] {
        assert_eq!(hears.recv().await.as_deref(), Some(expected));
    }
    assert!(!supervisor.shutdown().is_started());
    supervisor.shutdown().start();
    supervisor.drain(Duration::from_secs(10)).await;
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).lines().map(str::to_owned).collect()
    }
}

/// Collects what this thread logs, with the beginnings of spans, until the guard is dropped.
fn collect() -> (Logged, DefaultGuard) {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_span_events(FmtSpan::NEW)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (logged, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_round_is_a_span_that_names_controller_and_object() {
    let (logged, _guard) = collect();
    let (mut manager, supervisor) = manager();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    manager.start::<Tripping>(told);
    for _ in ["poison", "good"] {
        hears.recv().await.expect("a round");
    }
    supervisor.shutdown().start();
    supervisor.drain(Duration::from_secs(10)).await;
    let lines = logged.lines();
    for name in ["poison", "good"] {
        let span = format!(r#"DEBUG round{{controller="tripping" key=ns/{name}}}: "#);
        for expect in ["new", "observed"] {
            assert!(lines.contains(&format!("{span}{expect}")), "{name} {expect}: {lines:#?}");
        }
    }
}

/// Changes its key's object in each round.
struct Touching;

impl Controller for Touching {
    const NAME: &'static str = "touching";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = ();

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        sources.queue().add(Key::new("ns", "a"));
        Self
    }

    async fn observe(&self, _: &Round<'_>) -> Result<Option<()>, kube::Error> {
        Ok(Some(()))
    }

    fn reconcile((): &(), _: jiff::Timestamp) -> Plan {
        let target = Target::new("apps", "v1", "replicasets", "ns", "a").subresource("status");
        let mut plan = Plan::nothing();
        plan.then(crate::Action::MergePatch { target, patch: json!({}) });
        plan
    }
}

/// A failed request's answer.
fn status(code: u16, reason: &str, kind: &str, message: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        "details": {"name": "a", "group": "apps", "kind": kind},
    })
}

/// The levels and words of what one controller logs about its rounds while the API answers so, request after request.
async fn told_of(answers: Vec<serde_json::Value>) -> Vec<String> {
    let (logged, _guard) = collect();
    let (over, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let answer = answers.lock().expect("no panic").next();
        let over = over.clone();
        async move {
            let Some(answer) = answer else {
                over.send(()).expect("the test listens");
                return std::future::pending().await;
            };
            let code =
                answer["code"].as_u64().map_or(200, |code| u16::try_from(code).expect("a status code"));
            let body = http_body_util::Full::new(bytes::Bytes::from(answer.to_string()));
            let response = http::Response::builder().status(code).body(body).expect("a response");
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let (mut manager, supervisor) = manager_at(client::in_process(service));
    manager.start::<Touching>(());
    ended.recv().await.expect("all answers were asked for");
    supervisor.shutdown().start();
    supervisor.drain(Duration::from_secs(10)).await;
    let words = ["a plan failed and will be tried again", "what the plan was for is gone"];
    let lines = logged.lines();
    let about = |line: &String| {
        let level = line.split_whitespace().next().unwrap_or("");
        words.iter().find(|words| line.contains(*words)).map(|words| format!("{level} {words}"))
    };
    lines.iter().filter_map(about).collect()
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_warned_about_once_while_it_lasts() {
    let forbidden = || status(403, "Forbidden", "replicasets", "no account");
    let answers = vec![
        forbidden(),
        forbidden(),
        status(403, "Forbidden", "replicasets", "no quota"),
        forbidden(),
        forbidden(),
    ];
    let [warned, repeated] =
        ["WARN", "DEBUG"].map(|level| format!("{level} a plan failed and will be tried again"));
    let expect = [&warned, &repeated, &warned, &warned, &repeated];
    assert_eq!(told_of(answers).await.iter().collect::<Vec<_>>(), expect);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_went_meanwhile_is_worth_no_warning() {
    let answers = vec![
        status(404, "NotFound", "replicasets", "replicasets.apps \"a\" not found"),
        status(404, "NotFound", "pods", "pods \"a\" not found"),
    ];
    let expect = ["DEBUG what the plan was for is gone", "WARN a plan failed and will be tried again"];
    assert_eq!(told_of(answers).await, expect, "another's absence is no ordinary course");
}
