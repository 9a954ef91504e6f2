//! [`Rounds`]: what the mutating plugins of one request know of one another. When a webhook has changed the object, all
//! plugins are asked once more, and of the webhooks those that want it (`reinvocationPolicy: IfNeeded`). Upstream:
//! `k8s.io/apiserver/pkg/admission/reinvocation.go`.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::Object;

/// The state of a request's mutating admission. Empty as long as nothing from outside takes part.
#[derive(Debug, Default)]
pub struct Rounds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    second: bool,
    wanted: bool,
    /// Who was asked, wants to be asked again, and has not seen the last change.
    asked: HashSet<String>,
    /// Who is to be asked in the second round.
    due: HashSet<String>,
    /// The object as the first round left it, where somebody may have to be asked again.
    left: Option<Object>,
}

impl Rounds {
    /// Begins the second round, if one is wanted and has not been.
    pub(super) fn begin_second(&self) -> bool {
        let mut state = self.state();
        let begins = state.wanted && !state.second;
        state.second |= begins;
        begins
    }

    /// Begins a plugin's turn: in the second round, whoever is asked has to see what the plugins of the house have
    /// changed since.
    pub(super) fn enter(&self, object: Option<&Object>) {
        let mut state = self.state();
        if state.second && state.left.as_ref() != object {
            state.require();
        }
    }

    /// Ends the turn.
    pub(super) fn leave(&self, object: Option<&Object>) {
        let mut state = self.state();
        let matters = !state.asked.is_empty() || !state.due.is_empty();
        state.left = if matters { object.cloned() } else { None };
    }

    /// The round, for audit annotations.
    pub(super) fn number(&self) -> u8 {
        u8::from(self.state().second)
    }

    /// Whether a webhook takes part in this round.
    pub(super) fn includes(&self, webhook: &str) -> bool {
        let state = self.state();
        !state.second || state.due.contains(webhook)
    }

    /// Notes that a webhook was asked, and whether it changed the object and wants to see later changes.
    pub(super) fn asked(&self, webhook: &str, changed: bool, again: bool) {
        let mut state = self.state();
        if changed {
            state.require();
            state.wanted = true;
        }
        if again {
            state.asked.insert(webhook.to_owned());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn require(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.due.extend(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_seen_a_change_is_asked_again() {
        let rounds = Rounds::default();
        rounds.enter(None);
        rounds.asked("a", false, true);
        rounds.asked("b", true, true);
        rounds.asked("c", false, false);
        rounds.leave(None);
        assert!(rounds.begin_second() && !rounds.begin_second());
        rounds.enter(None);
        assert_eq!(["a", "b", "c"].map(|hook| rounds.includes(hook)), [true, false, false]);
    }

    #[test]
    fn a_change_of_the_house_is_seen_by_all_who_want() {
        let rounds = Rounds::default();
        let [before, after] = ["x", "y"].map(|kind| Object::new("v1", kind));
        rounds.enter(Some(&before));
        rounds.asked("a", true, true);
        rounds.leave(Some(&before));
        assert!(rounds.begin_second());
        assert!(!rounds.includes("a"));
        rounds.enter(Some(&after));
        assert!(rounds.includes("a"));
    }
}
