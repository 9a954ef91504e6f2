//! What the pods with limits of `ephemeral-storage` have written, measured one after the other.
//!
//! The runtime alone knows where containers write and reports no writes, so that the pods that have such a limit, and no
//! others, are measured again and again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{EvictorDeps, LOOK_EVERY, local_storage, usage};
use crate::pressure::ranking::Usage;

/// What was measured longer ago says nothing of a pod.
const STALE_AFTER: Duration = Duration::from_mins(1);
/// How long one pod may take, the runtime's answer included.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module's documentation.
#[derive(Default)]
pub struct Measured(Mutex<HashMap<String, (Instant, Usage)>>);

impl Measured {
    /// Measures, for ever.
    pub async fn keep(&self, deps: &EvictorDeps) {
        loop {
            let active = deps.workers.active();
            let limited = || active.iter().filter(|pod| local_storage::is_limited(pod));
            let uids: HashSet<&String> = limited().filter_map(|pod| pod.metadata.uid.as_ref()).collect();
            self.lock().retain(|uid, _| uids.contains(uid));
            for pod in limited() {
                let began = Instant::now();
                let measured = tokio::time::timeout(PATIENCE, usage::of_pod(deps, pod)).await;
                let late = || Err(tonic::Status::deadline_exceeded("it takes too long"));
                match measured.unwrap_or_else(|_| late()) {
                    Ok(usage) => self.add(pod.metadata.uid.clone().unwrap_or_default(), began, usage),
                    Err(error) => tracing::warn!(
                        error = error.message(),
                        pod = pod.metadata.name,
                        namespace = pod.metadata.namespace,
                        "what a pod has written is not known"
                    ),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a pod used a short while ago.
    pub fn of(&self, uid: &str, now: Instant) -> Option<Usage> {
        let known = self.lock();
        let (at, usage) = known.get(uid)?;
        (now.duration_since(*at) < STALE_AFTER).then(|| usage.clone())
    }

    fn add(&self, uid: String, at: Instant, usage: Usage) {
        self.lock().insert(uid, (at, usage));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Usage)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_long_ago_counts_for_nothing() {
        let (measured, now) = (Measured::default(), Instant::now());
        measured.add("u".to_owned(), now, Usage { disk_bytes: 7, ..Usage::default() });
        assert_eq!(measured.of("u", now).map(|usage| usage.disk_bytes), Some(7));
        assert!(measured.of("other", now).is_none());
        assert!(measured.of("u", now + STALE_AFTER).is_none());
    }
}
