//! Audit: who asked what, what was decided and answered, written down as upstream's `audit.k8s.io/v1` events, one JSON
//! object each.
//!
//! [`Audit`] is what a server is built with: a [`Policy`] that says which requests are written down and how much of them,
//! and the places that events go to, a file (`file`) or a webhook (`webhook`). `event` makes the events of one request
//! out of its [`Trail`]. Requests of this process's own components are written down like any other.

mod event;
mod figures;
mod file;
mod policy;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Error;
use base::{Clock, Supervisor};
use bytes::Bytes;
use tokio::sync::mpsc;

pub use file::{FileSettings, Rotation};
pub use policy::Policy;
pub use webhook::{Batches, WebhookSettings};

pub(crate) use event::{Head, ID_HEADER, Recording, id};

pub use crate::request::notes::Level;

use crate::fairness::Class;
use crate::request::{Notes, User};
use figures::Figures;

/// What an audit is made of. Without a policy everything is written at level `Metadata`, once it is answered.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub policy: Option<Policy>,
    pub file: Option<FileSettings>,
    pub webhook: Option<WebhookSettings>,
}

/// Why nothing can be written down.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("opening the audit log {path}")]
    File { path: String, source: std::io::Error },
    #[error("the audit webhook of {path}: {why}")]
    Webhook { path: String, why: String },
}

/// Where requests are written down, and which. Clones are one.
#[derive(Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

struct Inner {
    policy: Policy,
    sinks: Vec<Sink>,
    figures: Figures,
    clock: Arc<dyn Clock>,
}

/// Events on their way to one place, whose task writes them.
struct Sink {
    name: &'static str,
    events: mpsc::Sender<Bytes>,
}

impl Audit {
    /// Opens the file and reads the webhook's kubeconfig; tasks of the supervisor write from then on.
    ///
    /// # Errors
    /// When the file cannot be opened or the kubeconfig cannot be used.
    pub async fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> Result<Self, AuditError> {
        let policy = settings.policy.unwrap_or_else(Policy::metadata_of_everything);
        let (figures, mut sinks) = (Figures::default(), Vec::new());
        if let Some(settings) = settings.file {
            sinks.push(file::open(settings, &clock, &figures, supervisor).await?);
        }
        if let Some(settings) = settings.webhook {
            sinks.push(webhook::open(settings, &figures, supervisor).await?);
        }
        Ok(Self { inner: Arc::new(Inner { policy, sinks, figures, clock }) })
    }

    /// Begins to write about a request whose user is known, or is nobody.
    pub(crate) fn begin(&self, user: Option<&User>, head: &Head<'_>, notes: &Notes) -> Option<Recording> {
        Recording::begin(self, user, head, notes)
    }

    /// Shows on `/metrics` what is written.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.inner.figures.register(registry);
    }

    fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    fn figures(&self) -> &Figures {
        &self.inner.figures
    }

    fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    fn record(&self, event: Bytes) {
        self.inner.figures.event();
        for sink in &self.inner.sinks {
            if sink.events.try_send(event.clone()).is_err() {
                let lost = self.inner.figures.lost(sink.name, 1);
                // Not a line for each: they come in floods.
                if lost.is_power_of_two() {
                    tracing::warn!(
                        sink = sink.name,
                        lost,
                        "audit events are lost: too many wait to be written"
                    );
                }
            }
        }
    }
}

/// What was found out about a request on its way.
#[derive(Default)]
pub(crate) struct Trail {
    /// What events and answer name the request by.
    pub id: Option<String>,
    pub impersonated: Option<Arc<User>>,
    /// The constrained right by which.
    pub constraint: Option<String>,
    /// What authorization said, and why; `None` when it did not come to that.
    pub decision: Option<(bool, String)>,
    pub error: Option<Error>,
    /// The server ended the request to protect itself.
    pub in_self_defence: bool,
    pub panicked: bool,
    /// What admission notes.
    pub notes: Notes,
    pub recording: Option<Recording>,
    /// What priority and fairness took the request for.
    pub class: Option<Arc<Class>>,
}

impl Trail {
    fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = self.notes.annotations();
        if let Some((allowed, reason)) = &self.decision {
            let decision = if *allowed { "allow" } else { "forbid" };
            annotations.insert("authorization.k8s.io/decision".to_owned(), decision.to_owned());
            annotations.insert("authorization.k8s.io/reason".to_owned(), reason.clone());
        }
        annotations
    }
}
