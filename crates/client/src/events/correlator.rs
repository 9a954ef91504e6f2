//! Keeps a flood of events small, as upstream's correlator does (`client-go/tools/record/events_cache.go`): many
//! that differ only in their message become one, and events of an object that has very many are recorded more and
//! more rarely.
//!
//! Start at [`Correlator::judge`]. Pure: the time is an argument, and nothing is written. What is remembered of
//! thousands of events are digests, not their texts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use super::Sameness;

/// So many messages of one reason are told apart; what follows is combined.
const MESSAGES_APART: usize = 9;
/// A reason not heard of for this long starts anew.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_secs(600);
/// Events about one object that are written at once.
const BURST: f64 = 25.0;
/// How long it takes until one more may be written.
const REFILL_S: f64 = 300.0;
/// How many objects and reasons are remembered.
const MEMORY_LIMIT: usize = 4096;

/// Stands for a value among a few thousand others: that two of these have the same one is not to be expected.
pub(super) type Digest = u64;

pub(super) fn digest(value: &impl Hash) -> Digest {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

struct Reason {
    messages: Vec<Digest>,
    last: Timestamp,
}

struct Budget {
    left: f64,
    at: Timestamp,
}

/// The state of one component's earlier events.
#[derive(Default)]
pub struct Correlator {
    /// By object, type and reason.
    reasons: HashMap<Digest, Reason>,
    /// By object.
    budgets: HashMap<Digest, Budget>,
}

/// The decision about one occurrence.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The event it counts for.
    pub same: Sameness,
    /// Whether it is worth a write; else it is only counted.
    pub write: bool,
}

impl Correlator {
    /// Decides about one occurrence at `now`.
    pub fn judge(&mut self, same: Sameness, now: Timestamp) -> Verdict {
        let about = digest(&(&same.uid, &same.namespace, &same.name));
        let write = self.spend(about, now);
        let combined = self.is_one_too_many(about, &same, now);
        let same = if combined {
            Sameness { combined, message: String::new(), field_path: String::new(), ..same }
        } else {
            same
        };
        Verdict { same, write }
    }

    fn is_one_too_many(&mut self, about: Digest, same: &Sameness, now: Timestamp) -> bool {
        let key = digest(&(about, same.event_type, &same.reason));
        if self.reasons.len() >= MEMORY_LIMIT && !self.reasons.contains_key(&key) {
            self.reasons.retain(|_, reason| now.duration_since(reason.last) <= FORGOTTEN_AFTER);
            if self.reasons.len() >= MEMORY_LIMIT {
                self.reasons.clear();
            }
        }
        let reason = self.reasons.entry(key).or_insert(Reason { messages: Vec::new(), last: now });
        if now.duration_since(reason.last) > FORGOTTEN_AFTER {
            reason.messages.clear();
        }
        reason.last = now;
        let message = digest(&same.message);
        if reason.messages.contains(&message) {
            return false;
        }
        let full = reason.messages.len() >= MESSAGES_APART;
        if !full {
            reason.messages.reserve_exact(1);
            reason.messages.push(message);
        }
        full
    }

    /// Takes one event from the object's budget; false where none is left.
    fn spend(&mut self, about: Digest, now: Timestamp) -> bool {
        if self.budgets.len() >= MEMORY_LIMIT && !self.budgets.contains_key(&about) {
            self.budgets.retain(|_, budget| refilled(budget, now) < BURST);
            if self.budgets.len() >= MEMORY_LIMIT {
                self.budgets.clear();
            }
        }
        let budget = self.budgets.entry(about).or_insert(Budget { left: BURST, at: now });
        let left = refilled(budget, now);
        let enough = left >= 1.0;
        *budget = Budget { left: if enough { left - 1.0 } else { left }, at: now };
        enough
    }
}

fn refilled(budget: &Budget, now: Timestamp) -> f64 {
    let passed_s = now.duration_since(budget.at).as_secs_f64().max(0.0);
    (budget.left + passed_s / REFILL_S).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::super::EventType;
    use super::*;

    fn event(reason: &str, message: &str) -> Sameness {
        Sameness {
            uid: "u".into(),
            namespace: "ns".into(),
            name: "p".into(),
            field_path: "spec.containers{c}".into(),
            event_type: EventType::Warning,
            reason: reason.into(),
            message: message.into(),
            combined: false,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    #[test]
    fn many_messages_of_one_reason_become_one_event() {
        let mut correlator = Correlator::default();
        for n in 0..9 {
            let one = event("Unhealthy", &n.to_string());
            assert_eq!(correlator.judge(one.clone(), at(n)).same, one);
        }
        let ninth = correlator.judge(event("Unhealthy", "9"), at(9)).same;
        let tenth = correlator.judge(event("Unhealthy", "10"), at(10)).same;
        assert!(ninth.combined && ninth == tenth, "{ninth:?} {tenth:?}");
        assert!(!correlator.judge(event("Unhealthy", "3"), at(11)).same.combined, "one known by itself");
        assert!(!correlator.judge(event("BackOff", "x"), at(11)).same.combined, "another reason");
        assert!(!correlator.judge(event("Unhealthy", "11"), at(700)).same.combined, "after a long rest");
    }

    #[test]
    fn an_object_that_never_rests_is_heard_of_rarely() {
        let mut correlator = Correlator::default();
        let mut written = |range: std::ops::Range<i64>| {
            range.filter(|s| correlator.judge(event("BackOff", "b"), at(*s)).write).count()
        };
        assert_eq!(written(0..100), 25);
        assert_eq!(written(100..700), 2, "one in five minutes");
        let mut other = event("BackOff", "b");
        other.uid = "v".into();
        assert!(correlator.judge(other, at(700)).write, "another object has its own budget");
    }

    #[test]
    fn memory_is_bounded() {
        let mut correlator = Correlator::default();
        for n in 0..10_000 {
            let one = Sameness { uid: n.to_string(), ..event("BackOff", "b") };
            correlator.judge(one, at(0));
        }
        assert!(correlator.reasons.len() <= MEMORY_LIMIT && correlator.budgets.len() <= MEMORY_LIMIT);
    }
}
