//! The audit webhook: events go to a server that a kubeconfig names, many at a time, as an `audit.k8s.io/v1` EventList.

use std::path::PathBuf;
use std::time::Duration;

use base::{Shutdown, Supervisor, TaskKind};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::figures::Figures;
use super::file::last_words;
use super::{AuditError, Sink};
use crate::webhook::Remote;

/// How long one exchange may take, as upstream.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a batch is sent before it is lost, as upstream (`apiserver/pkg/util/webhook`: 5 steps).
const ATTEMPTS: u32 = 5;

/// The webhook and how events are put together for it.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// A kubeconfig that names the webhook.
    pub kubeconfig: PathBuf,
    pub batches: Batches,
}

/// How many events are sent at a time. Upstream's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// Events that may wait; what comes beyond is lost, and that is counted and said in the server's log.
    pub buffer: usize,
    /// Events of a batch.
    pub max_events: usize,
    /// How long a batch that is not full waits for more.
    pub max_wait: Duration,
    /// How long to wait before a batch is sent again; each time half as long again.
    pub initial_backoff: Duration,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            buffer: 10_000,
            max_events: 400,
            max_wait: Duration::from_secs(30),
            initial_backoff: Duration::from_secs(10),
        }
    }
}

pub(super) async fn open(
    settings: WebhookSettings,
    figures: &Figures,
    supervisor: &Supervisor,
) -> Result<Sink, AuditError> {
    let path = settings.kubeconfig.display().to_string();
    let remote = Remote::open(&settings.kubeconfig).await;
    let remote = remote.map_err(|why| AuditError::Webhook { path, why })?;
    let (sender, events) = mpsc::channel(settings.batches.buffer.max(1));
    let sender_of = Sending { remote, batches: settings.batches, figures: figures.clone() };
    let shutdown = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Background, "audit webhook", sender_of.run(events, shutdown));
    Ok(Sink { name: "webhook", events: sender })
}

struct Sending {
    remote: Remote,
    batches: Batches,
    figures: Figures,
}

impl Sending {
    async fn run(self, mut events: mpsc::Receiver<Bytes>, shutdown: Shutdown) {
        while let Some(batch) = self.batch(&mut events, &shutdown).await {
            self.send(&batch, &shutdown).await;
        }
    }

    /// The next events; none once the stop has begun and nothing comes any more.
    async fn batch(&self, events: &mut mpsc::Receiver<Bytes>, shutdown: &Shutdown) -> Option<Vec<Bytes>> {
        let first = tokio::select! {
            biased;
            first = events.recv() => first?,
            () = last_words(shutdown) => return None,
        };
        let until = Instant::now() + self.batches.max_wait;
        let mut batch = vec![first];
        while batch.len() < self.batches.max_events.max(1) {
            let next = tokio::select! {
                biased;
                next = events.recv() => next,
                () = tokio::time::sleep_until(until) => None,
                () = last_words(shutdown) => None,
            };
            match next {
                Some(event) => batch.push(event),
                None => break,
            }
        }
        Some(batch)
    }

    /// Sends a batch, again and again for a while when that fails.
    async fn send(&self, batch: &[Bytes], shutdown: &Shutdown) {
        let body = list(batch);
        let mut wait = self.batches.initial_backoff;
        for attempt in 1..=ATTEMPTS {
            let failure = match self.remote.post(body.clone(), TIMEOUT).await {
                Ok(_) => return,
                Err(failure) => failure,
            };
            let hopeless = matches!(failure.code, 400..=499) && failure.code != 429;
            if attempt == ATTEMPTS || hopeless || shutdown.is_started() {
                self.figures.lost("webhook", batch.len() as u64);
                tracing::error!(events = batch.len(), why = failure.why, "audit events are lost");
                return;
            }
            tracing::warn!(events = batch.len(), why = failure.why, "audit events are sent again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.started() => {}
            }
            wait = wait * 3 / 2;
        }
    }
}

fn list(batch: &[Bytes]) -> Vec<u8> {
    let mut out = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
    for (place, event) in batch.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(event);
    }
    out.extend_from_slice(b"]}");
    out
}
