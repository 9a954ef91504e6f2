//! The news for a worker, merged: only the newest version of the pod is kept, and only whether the
//! runtime's state changed, not how often.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

use crate::allocation::PendingResize;
use crate::planner::Eviction;

/// The newest that is known of a pod.
#[derive(Debug, Clone)]
pub enum PodNews {
    Current(Arc<Pod>),
    /// The object is gone from the API; this is what was last known of it.
    Gone(Arc<Pod>),
}

impl PodNews {
    /// The pod, and whether it is gone.
    pub fn into_parts(self) -> (Arc<Pod>, bool) {
        match self {
            Self::Current(pod) => (pod, false),
            Self::Gone(pod) => (pod, true),
        }
    }
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub struct Mail {
    pub news: Option<PodNews>,
    pub runtime_changed: bool,
    /// The node wants to be rid of the pod.
    pub eviction: Option<Eviction>,
    /// Whether the pod waits for other resources than it was granted; `None` where that is as before.
    pub resize: Option<Option<PendingResize>>,
    /// The object by which the API shows a static pod.
    pub mirror: Option<Arc<Pod>>,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.news.is_none()
            && !self.runtime_changed
            && self.eviction.is_none()
            && self.resize.is_none()
            && self.mirror.is_none()
    }
}

/// A worker's letter box. Putting something in never waits.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    bell: Notify,
}

impl Mailbox {
    pub fn put(&self, news: PodNews) {
        self.with(|mail| match (&mail.news, &news) {
            // Once gone, gone: an older update that comes late changes nothing.
            (Some(PodNews::Gone(_)), PodNews::Current(_)) => {}
            _ => mail.news = Some(news),
        });
        self.bell.notify_one();
    }

    pub fn runtime_changed(&self) {
        self.with(|mail| mail.runtime_changed = true);
        self.bell.notify_one();
    }

    /// Asks for the pod's end; evictions that were not looked at yet are merged ([`Eviction::hurry`]).
    pub fn evict(&self, why: Eviction) {
        self.with(|mail| match &mut mail.eviction {
            Some(first) => {
                first.hurry(&why);
            }
            None => mail.eviction = Some(why),
        });
        self.bell.notify_one();
    }

    /// Says whether the pod waits for other resources than it was granted.
    pub fn resize(&self, pending: Option<PendingResize>) {
        self.with(|mail| mail.resize = Some(pending));
        self.bell.notify_one();
    }

    /// Brings the newest version of the object by which the API shows a static pod.
    pub fn mirror(&self, mirror: Arc<Pod>) {
        self.with(|mail| mail.mirror = Some(mirror));
        self.bell.notify_one();
    }

    pub fn take(&self) -> Mail {
        self.with(std::mem::take)
    }

    pub fn is_empty(&self) -> bool {
        self.with(|mail| mail.is_empty())
    }

    /// Waits until there is mail. Cancellation safe.
    pub async fn wait(&self) {
        while self.is_empty() {
            self.bell.notified().await;
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Mail) -> T) -> T {
        f(&mut self.mail.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::Rejection;

    #[test]
    fn a_preemption_is_not_lost_behind_another_eviction() {
        let mailbox = Mailbox::default();
        let why = Rejection { reason: "Evicted".to_owned(), message: String::new() };
        mailbox.evict(Eviction { grace_s: Some(5), ..Eviction::from(why.clone()) });
        mailbox.evict(Eviction::preemption());
        mailbox.evict(Eviction { grace_s: Some(9), ..Eviction::from(why) });
        let merged = mailbox.take().eviction.expect("one");
        assert_eq!(merged, Eviction { grace_s: Some(5), ..Eviction::preemption() });
    }
}
