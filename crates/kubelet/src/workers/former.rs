//! Static pods that have just gone: where the manifest of one is put back, its containers count as started again.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// How long what has gone counts. Upstream finds its containers in the runtime until they are collected, within a minute.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(1);
/// How many pods are remembered, the newest ones.
const MOST: usize = 64;

/// The newest attempt of each container.
pub type Attempts = BTreeMap<String, u32>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Former {
    pods: VecDeque<(String, Timestamp, Attempts)>,
}

impl Former {
    /// Nothing is left of the pod.
    pub fn gone(&mut self, uid: &str, attempts: Attempts, now: Timestamp) {
        self.pods.retain(|(known, at, _)| known != uid && now.duration_since(*at) < KEPT_FOR);
        if self.pods.len() >= MOST {
            self.pods.pop_front();
        }
        self.pods.push_back((uid.to_owned(), now, attempts));
    }

    /// The pod is here again.
    pub fn take(&mut self, uid: &str, now: Timestamp) -> Attempts {
        let at = self.pods.iter().position(|(known, ..)| known == uid);
        let found = at.and_then(|at| self.pods.remove(at));
        found.filter(|(_, at, _)| now.duration_since(*at) < KEPT_FOR).map(|(.., it)| it).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_counts_for_a_minute_and_once() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let attempts = |attempt| Attempts::from([("c".to_owned(), attempt)]);
        let mut former = Former::default();
        former.gone("u", attempts(0), start);
        assert_eq!(former.take("v", at(1)), Attempts::new());
        assert_eq!(former.take("u", at(59)), attempts(0));
        assert_eq!(former.take("u", at(59)), Attempts::new());
        former.gone("u", attempts(1), at(60));
        assert_eq!(former.take("u", at(120)), Attempts::new());
        (0..100).for_each(|n| former.gone(&format!("u{n}"), attempts(n), at(200)));
        assert_eq!((former.pods.len(), former.take("u99", at(201))), (MOST, attempts(99)));
    }
}
