//! [`Notes`]: what the steps of a request say about it beside the answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::Object;
use serde::Deserialize;
use serde_json::Value;

/// How much of a request the audit writes down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// User, time, resource, verb, answer's code; no bodies.
    Metadata,
    /// The request's object too.
    Request,
    /// And the answer's.
    RequestResponse,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Texts for `Warning` headers, whatever the answer is, and annotations of the audit event. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
    audit: Level,
    received: Received,
}

/// What the audit event tells of the object that a request brings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// The object itself, or the patch, where bodies are written down.
    pub object: Option<Value>,
}

impl Notes {
    /// Adds a `Warning` header to the answer. A text is sent once, however often a step says it.
    pub fn warn(&self, text: impl Into<String>) {
        self.noted().warnings.push(text.into());
    }

    /// Adds an annotation to the request's audit event. The first of a key stays, as upstream's does.
    pub fn annotate(&self, key: &str, value: impl Into<String>) {
        self.noted().annotations.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    /// The texts so far.
    pub fn warnings(&self) -> Vec<String> {
        self.noted().warnings.clone()
    }

    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.noted().annotations.clone()
    }

    /// How much the audit event is to tell: from then on it is noted what the request brings.
    pub(crate) fn audit(&self, level: Level) {
        self.noted().audit = level;
    }

    /// Notes the object that the request brings, if an audit event wants it.
    pub(crate) fn received(&self, object: &Object) {
        let mut noted = self.noted();
        if noted.audit == Level::None {
            return;
        }
        let metadata = |field: &str| object.str_at(&["metadata", field]).unwrap_or_default().to_owned();
        noted.received = Received {
            namespace: metadata("namespace"),
            name: metadata("name"),
            uid: metadata("uid"),
            resource_version: metadata("resourceVersion"),
            object: (noted.audit >= Level::Request).then(|| Value::Object(object.0.clone())),
        };
    }

    /// Notes the patch that the request brings, if an audit event wants it.
    pub(crate) fn received_patch(&self, patch: &[u8]) {
        let mut noted = self.noted();
        if noted.audit < Level::Request {
            return;
        }
        let read = serde_json::from_slice(patch).ok();
        let text = || std::str::from_utf8(patch).ok().and_then(|text| serde_saphyr::from_str(text).ok());
        noted.received.object = read.or_else(text);
    }

    pub(crate) fn received_object(&self) -> Received {
        self.noted().received.clone()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
