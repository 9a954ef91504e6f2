//! Events about pods, with upstream's reasons, under the source `kubelet`.
//!
//! [`EventSink`] is what the rest of the crate records to. Recording never waits and never fails
//! the caller: an event is a report, not part of the work.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};

/// Whether an event is routine or something to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    /// The `type` field of an Event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Takes events; must return at once.
pub trait EventSink: Send + Sync {
    /// Records an event about `regarding`. Equal events in a row may be folded into one with a count.
    fn record(&self, regarding: ObjectReference, severity: Severity, reason: &str, message: String);
}

/// Which part of a pod an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    Pod,
    Container(&'a str),
    InitContainer(&'a str),
    EphemeralContainer(&'a str),
}

/// A reference to a pod or one of its containers, as upstream fills it in.
pub fn reference(pod: &Pod, part: Part<'_>) -> ObjectReference {
    let field_path = match part {
        Part::Pod => None,
        Part::Container(name) => Some(format!("spec.containers{{{name}}}")),
        Part::InitContainer(name) => Some(format!("spec.initContainers{{{name}}}")),
        Part::EphemeralContainer(name) => Some(format!("spec.ephemeralContainers{{{name}}}")),
    };
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}

/// A sink that only traces; for roles without an API connection.
#[derive(Debug, Default, Clone, Copy)]
pub struct TraceEvents;

impl EventSink for TraceEvents {
    fn record(&self, regarding: ObjectReference, severity: Severity, reason: &str, message: String) {
        tracing::info!(
            pod = regarding.name.as_deref().unwrap_or_default(),
            namespace = regarding.namespace.as_deref().unwrap_or_default(),
            severity = severity.as_str(),
            reason,
            "{message}"
        );
    }
}

/// A shared sink.
pub type Events = Arc<dyn EventSink>;

impl EventSink for client::Recorder {
    fn record(&self, regarding: ObjectReference, severity: Severity, reason: &str, message: String) {
        let kind = match severity {
            Severity::Normal => client::EventType::Normal,
            Severity::Warning => client::EventType::Warning,
        };
        self.event(&regarding, kind, reason, message);
    }
}
