//! [`Remembered`]: answers that count for a while, no more than a number of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many answers are kept.
const CAPACITY: usize = 8192;

/// Answers by what was asked, each with the time until which it counts.
pub(crate) struct Remembered<K, V> {
    answers: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { answers: Mutex::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    pub(crate) fn get(&self, asked: &K) -> Option<V> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(asked).filter(|(until, _)| *until > Instant::now()).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer for a while. When there are too many, those that no longer count go, or else all.
    pub(crate) fn insert(&self, asked: K, answer: V, counts: Duration) {
        if counts.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= CAPACITY {
            answers.retain(|_, (until, _)| *until > now);
        }
        if answers.len() >= CAPACITY {
            answers.clear();
        }
        answers.insert(asked, (now + counts, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_count_for_a_while_and_are_never_too_many() {
        let remembered = Remembered::default();
        remembered.insert(0, "yes", Duration::from_secs(10));
        remembered.insert(1, "never", Duration::ZERO);
        assert_eq!((remembered.get(&0), remembered.get(&1)), (Some("yes"), None));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(remembered.get(&0), None);
        for asked in 0..20_000 {
            remembered.insert(asked, "yes", Duration::from_secs(10));
        }
        assert!(remembered.answers.lock().expect("kept").len() <= CAPACITY);
        assert_eq!(remembered.get(&19_999), Some("yes"));
    }
}
