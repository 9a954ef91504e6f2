//! [`Rounds`]: what the mutating plugins of one request know of one another. When a webhook or policy has changed the
//! object, all plugins are asked once more, and of the webhooks and policies those that want it
//! (`reinvocationPolicy: IfNeeded`). Upstream: `k8s.io/apiserver/pkg/admission/reinvocation.go`.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::Object;

/// The state of a request's mutating admission. Empty as long as nothing from outside takes part.
#[derive(Debug, Default)]
pub struct Rounds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    second: bool,
    wanted: bool,
    /// By plugin.
    turns: HashMap<&'static str, Turn>,
}

/// What one plugin knows of those it asks: webhooks, or policies.
#[derive(Debug, Default)]
struct Turn {
    /// Who was asked, wants to be asked again, and has not seen the last change.
    asked: HashSet<String>,
    /// Who is to be asked in the second round.
    due: HashSet<String>,
    /// The object as the plugin left it, where somebody may have to be asked again.
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

    /// Begins a plugin's turn: in the second round, whoever it asks has to see what other plugins have changed since.
    pub(super) fn enter(&self, plugin: &'static str, object: Option<&Object>) {
        let mut state = self.state();
        let second = state.second;
        let turn = state.turns.entry(plugin).or_default();
        if second && turn.left.as_ref() != object {
            turn.require();
        }
    }

    /// Ends the turn.
    pub(super) fn leave(&self, plugin: &'static str, object: Option<&Object>) {
        let mut state = self.state();
        let turn = state.turns.entry(plugin).or_default();
        let matters = !turn.asked.is_empty() || !turn.due.is_empty();
        turn.left = if matters { object.cloned() } else { None };
    }

    /// The round, for audit annotations.
    pub(super) fn number(&self) -> u8 {
        u8::from(self.state().second)
    }

    /// Whether a webhook or policy takes part in this round.
    pub(super) fn includes(&self, plugin: &'static str, who: &str) -> bool {
        let state = self.state();
        !state.second || state.turns.get(plugin).is_some_and(|turn| turn.due.contains(who))
    }

    /// Notes that a webhook or policy was asked, and whether it changed the object and wants to see later changes.
    pub(super) fn asked(&self, plugin: &'static str, who: &str, changed: bool, again: bool) {
        if changed {
            self.changed(plugin);
        }
        if again {
            let mut state = self.state();
            state.turns.entry(plugin).or_default().asked.insert(who.to_owned());
        }
    }

    /// Notes that the object was changed: all that the plugin has asked so far have to see it.
    pub(super) fn changed(&self, plugin: &'static str) {
        let mut state = self.state();
        state.wanted = true;
        state.turns.entry(plugin).or_default().require();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
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
        rounds.enter("p", None);
        rounds.asked("p", "a", false, true);
        rounds.asked("p", "b", true, true);
        rounds.asked("p", "c", false, false);
        rounds.leave("p", None);
        assert!(rounds.begin_second() && !rounds.begin_second());
        rounds.enter("p", None);
        assert_eq!(["a", "b", "c"].map(|hook| rounds.includes("p", hook)), [true, false, false]);
    }

    #[test]
    fn a_change_of_another_plugin_is_seen_by_all_who_want() {
        let rounds = Rounds::default();
        let [before, after] = ["x", "y"].map(|kind| Object::new("v1", kind));
        rounds.enter("p", Some(&before));
        rounds.asked("p", "a", true, true);
        rounds.leave("p", Some(&before));
        rounds.enter("q", Some(&before));
        rounds.asked("q", "a", true, false);
        rounds.leave("q", Some(&after));
        assert!(rounds.begin_second());
        assert!(!rounds.includes("p", "a"));
        rounds.enter("p", Some(&after));
        assert!(rounds.includes("p", "a") && !rounds.includes("q", "a"));
    }
}
