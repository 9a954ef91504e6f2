//! [`Health`]: whether a name server is asked. One that has not answered is left alone, for longer each time; after that
//! one question at a time tries it again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base::backoff::Policy;
use tokio::time::Instant;

/// How long a silent server is left alone.
const BACKOFF: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(30));

#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// Time-outs since the last answer.
    failures: u32,
    /// When it is tried again, if it is silent.
    silent_until: Option<Instant>,
    is_tried: bool,
    has_ended: bool,
}

/// The right to ask a server once.
pub(super) struct Turn<'a> {
    health: &'a Health,
    tries: bool,
}

impl Health {
    /// The right to ask the server, if it is to be asked.
    pub fn admit(&self, now: Instant) -> Option<Turn<'_>> {
        let mut state = self.state();
        if state.has_ended {
            return None;
        }
        let Some(until) = state.silent_until else { return Some(Turn { health: self, tries: false }) };
        if now < until || state.is_tried {
            return None;
        }
        state.is_tried = true;
        Some(Turn { health: self, tries: true })
    }

    /// Has the server never be asked again.
    pub fn end(&self) {
        self.state().has_ended = true;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    pub fn answered(self) {
        let mut state = self.health.state();
        (state.failures, state.silent_until) = (0, None);
    }

    /// Leaves the server alone for a while; returns whether that is news.
    pub fn failed(self, now: Instant) -> bool {
        let mut state = self.health.state();
        let is_news = state.silent_until.is_none();
        // Of many questions that wait at the same time, the first that fails counts.
        if is_news || self.tries {
            state.failures = state.failures.saturating_add(1);
            state.silent_until = Some(now + BACKOFF.delay(state.failures));
        }
        is_news
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Also when the question was given up.
        if self.tries {
            self.health.state().is_tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_tried_by_one_question_at_a_time() {
        let (health, start) = (Health::default(), Instant::now());
        let admit = |after: Duration| health.admit(start + after);
        let (first, second) = (admit(Duration::ZERO), admit(Duration::ZERO));
        assert!(first.expect("asked").failed(start), "it was thought to answer");
        assert!(!second.expect("asked").failed(start), "known by now");
        assert!(admit(Duration::from_millis(500)).is_none());
        let later = Duration::from_secs(60);
        let trial = admit(later).expect("tried again");
        assert!(admit(later).is_none(), "by one only");
        drop(trial);
        admit(later).expect("the next tries, since that one was given up").failed(start + later);
        assert!(admit(later).is_none());
        admit(later * 2).expect("tried again").answered();
        assert!(admit(later * 2).is_some() && admit(later * 2).is_some());
        health.end();
        assert!(admit(later * 9).is_none());
    }
}
