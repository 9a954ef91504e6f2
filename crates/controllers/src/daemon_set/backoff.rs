//! How long a pod that failed on a node stays before another is tried there: a second at first, doubled each time.
//!
//! As upstream's, this is forgotten when the process ends: the first failure after that is replaced at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base::backoff::Policy;
use jiff::{SignedDuration, Timestamp};

const POLICY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(15 * 60));
/// A node without a failure for so long starts anew.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// The node of a set, in one generation of the set.
pub(super) type Place = (String, i64, String);

struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.last) > FORGOTTEN_AFTER
    }
}

/// The failures of all sets.
#[derive(Default)]
pub(super) struct Backoffs(Mutex<HashMap<Place, Failures>>);

impl Backoffs {
    /// Until when a failed pod has to stay; `None` if it may be replaced.
    pub fn until(&self, place: &Place, now: Timestamp) -> Option<Timestamp> {
        let held = self.lock();
        let failures = held.get(place).filter(|failures| !failures.is_over(now))?;
        let wait = SignedDuration::try_from(POLICY.delay(failures.count)).unwrap_or(SignedDuration::MAX);
        failures.last.checked_add(wait).ok().filter(|until| now < *until)
    }

    /// A failed pod is being replaced.
    pub fn note(&self, place: Place, now: Timestamp) {
        let mut held = self.lock();
        held.retain(|_, failures| !failures.is_over(now));
        let failures = held.entry(place).or_insert(Failures { count: 0, last: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_forgotten() {
        let backoffs = Backoffs::default();
        let place = || ("uid".to_owned(), 1, "n1".to_owned());
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a valid time");
        let after = |s: i64| start + SignedDuration::from_secs(s);
        assert_eq!(backoffs.until(&place(), start), None);
        backoffs.note(place(), start);
        assert_eq!(backoffs.until(&place(), start), Some(after(1)));
        assert_eq!(backoffs.until(&place(), after(1)), None);
        backoffs.note(place(), after(1));
        assert_eq!(backoffs.until(&place(), after(1)), Some(after(3)));
        assert_eq!(backoffs.until(&("uid".to_owned(), 2, "n1".to_owned()), after(1)), None);
        backoffs.note(place(), after(2000));
        assert_eq!(backoffs.until(&place(), after(2000)), Some(after(2001)), "it starts anew");
    }
}
