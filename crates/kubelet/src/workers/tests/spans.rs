//! The span of a pod's sync.

use std::io;
use std::sync::Mutex;

use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;

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

/// Collects what this thread logs, with the beginnings of spans, until the guard is dropped. While there is one collector
/// only, each place that logs asks that of the thread which comes there first, for good: that may be another test's, which
/// collects nothing. With a second one all are asked.
fn collect() -> (Logged, (DefaultGuard, Dispatch)) {
    let second = Dispatch::new(NoSubscriber::new());
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
    (logged, (tracing::subscriber::set_default(subscriber), second))
}

#[tokio::test(start_paused = true)]
async fn a_sync_is_a_span_that_names_the_pod() {
    let (logged, _guard) = collect();
    let node = node();
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_millis(10)).await;
    let span = r#"DEBUG sync{pod="web" namespace="ns"}: "#;
    let lines = logged.lines();
    let syncs = lines.iter().filter(|line| **line == format!("{span}new")).count();
    assert!(syncs >= 2, "one before the container starts and one after: {lines:#?}");
    let planned = lines.iter().find(|line| line.contains("planned"));
    let planned = planned.expect("a sync logs what it plans");
    assert!(planned.starts_with(&format!("{span}planned")), "the plan is logged in the span: {planned}");
}
