//! Volumes that their driver wants published again and again, as long as their pods have them (`requiresRepublish`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::Shutdown;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Csi;
use super::mounter::Job;

/// As often as upstream's node agent looks at each pod.
const PERIOD: Duration = Duration::from_secs(60);
/// How many volumes are published at a time: a driver that hangs must not hold up those of others.
const AT_ONCE: usize = 16;

/// One volume, and when it is published next.
pub(super) struct Due {
    at: Instant,
    job: Job,
}

/// All of them, by pod and volume; rung when there is news.
#[derive(Default)]
pub(super) struct Agenda {
    waiting: Mutex<BTreeMap<(String, String), Due>>,
    news: Notify,
}

impl Csi {
    /// Publishes again what is due, until `shutdown`. No work where no driver wants it.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut running = FuturesUnordered::new();
        loop {
            let news = self.agenda.news.notified();
            let is_free = running.len() < AT_ONCE;
            let next = self.waiting().values().map(|due| due.at).min().filter(|_| is_free);
            let time = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = news => {}
                () = time => {}
                Some(()) = running.next() => {}
            }
            running.extend(self.due(AT_ONCE - running.len()).into_iter().map(|job| self.again(job)));
        }
    }

    async fn again(&self, job: Job) {
        let (pod, volume) = (job.pod.metadata.name.clone(), job.asked.name.clone());
        if let Err(error) = self.set_up(job.clone()).await {
            tracing::warn!(pod, volume, %error, "a volume could not be published again");
            if !*job.leaving.borrow() {
                self.publish_later(job);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(String, String), Due>> {
        self.agenda.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes out what is due now, at most so many.
    fn due(&self, at_most: usize) -> Vec<Job> {
        let now = Instant::now();
        self.waiting().extract_if(.., |_, due| due.at <= now).take(at_most).map(|(_, due)| due.job).collect()
    }

    pub(super) fn publish_later(&self, job: Job) {
        let key = (job.pod.metadata.uid.clone().unwrap_or_default(), job.asked.name.clone());
        self.waiting().insert(key, Due { at: Instant::now() + PERIOD, job });
        self.agenda.news.notify_one();
    }

    pub(super) fn publish_no_more(&self, pod_uid: &str) {
        self.waiting().retain(|(uid, _), _| uid != pod_uid);
    }
}
