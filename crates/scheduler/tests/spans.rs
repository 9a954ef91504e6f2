//! The spans of the scheduler, in a process of their own: whether a span is made is decided once for all threads.

use std::sync::{Arc, Mutex};

use informer::Cached;
use k8s_openapi::api::core::v1::Pod;
use scheduler::Metrics;
use scheduler::state::{Round, State};
use tokio::time::Instant;

/// Keeps the spans that are made, each as its name and fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("scheduler")
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut text = Text(span.metadata().name().to_owned());
        span.record(&mut text);
        self.0.lock().expect("no panic").push(text.0);
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_round_has_its_span() {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).expect("no other test sets one");
    let mut state = State::new(&scheduler::Configuration::default(), &Metrics::default());
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "traced", "namespace": "ns", "uid": "u"},
        "spec": {"schedulerName": "default-scheduler", "containers": []},
    }))
    .expect("a pod");
    let now = Instant::now();
    state.pod_changed(&Cached::of(&pod), now);
    assert!(matches!(state.round(0, now), Some(Round::Unschedulable(..))), "there is no node");
    assert_eq!(*spans.0.lock().expect("no panic"), ["round scheduler=default-scheduler pod=ns/traced"]);
}
