//! [`Notes`]: what the steps of a request say about it beside the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Texts for `Warning` headers, whatever the answer is, and annotations of the audit event. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
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

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
