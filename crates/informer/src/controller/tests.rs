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
    let client = Client::try_from(nowhere).expect("a client");
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
