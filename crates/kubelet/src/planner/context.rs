//! The state one planning round carries from concern to concern.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::action::{Action, Notice, Plan};
use super::action_key::ActionKey;
use super::desired::{Desired, Member, Rejection, Role};
use super::observed::{Observed, ProbeKind, Verdict};
use super::rounds;
use crate::cri_view::{Record, Sandbox};

/// Why a container is not running: a waiting state's reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

/// One planning round.
pub struct Context<'a> {
    pub want: &'a Desired,
    pub seen: &'a Observed,
    pub now: Timestamp,
    pub plan: Plan,
    /// By container name; overrides the default waiting reason in the status.
    pub waiting: BTreeMap<String, Waiting>,
    /// Why the node refuses or ends the pod.
    pub rejection: Option<Rejection>,
    /// The round of the pod that its containers are in, or come into.
    pub round: u32,
}

impl<'a> Context<'a> {
    pub fn new(want: &'a Desired, seen: &'a Observed, now: Timestamp) -> Self {
        let round = rounds::current(want, seen);
        Self { want, seen, now, plan: Plan::default(), waiting: BTreeMap::new(), rejection: None, round }
    }

    /// Whether a container is of an earlier round: another takes its place, however this one ends or has ended.
    pub fn is_spent(&self, record: &Record) -> bool {
        let is_ephemeral = || self.want.member(&record.name).is_some_and(|m| m.role == Role::Ephemeral);
        record.round < self.round && !is_ephemeral()
    }

    /// The newest attempt of a container in this sandbox and round.
    pub fn latest_in(&self, name: &str, sandbox: &Sandbox) -> Option<&'a Record> {
        self.seen.runtime.latest_in(name, &sandbox.id).filter(|record| !self.is_spent(record))
    }

    pub fn in_flight(&self, key: &ActionKey) -> bool {
        self.seen.in_flight.contains(key)
    }

    pub fn is_starting(&self, container: &str) -> bool {
        self.in_flight(&ActionKey::Start(container.to_owned()))
    }

    /// Whether a running container is past its start: hooks done, startup probe successful.
    pub fn is_started(&self, member: &Member, record: &Record) -> bool {
        record.is_running()
            && !self.is_starting(&member.spec.name)
            && (member.spec.startup_probe.is_none()
                || self.seen.verdict(&record.id, ProbeKind::Startup) == Some(Verdict::Success))
    }

    /// Whether an earlier failure forbids the action for now; if so, looks again when it may run.
    pub fn held_back(&mut self, key: &ActionKey) -> bool {
        match self.seen.setbacks.get(key) {
            Some(setback) if setback.retry_at > self.now => {
                self.plan.wake_at(setback.retry_at);
                true
            }
            _ => false,
        }
    }

    /// Plans the action unless it is running already or held back by a failure.
    pub fn act(&mut self, action: Action) {
        let key = action.key();
        if self.in_flight(&key) || self.held_back(&key) {
            return;
        }
        self.plan.actions.push(action);
    }

    /// The newest sandbox, if containers can run in it.
    pub fn usable_sandbox(&self) -> Option<&'a Sandbox> {
        let newest = self.seen.runtime.sandboxes.first()?;
        (newest.ready && (self.want.host_network || !newest.ips.is_empty())).then_some(newest)
    }

    pub fn notice(&mut self, notice: Notice) {
        self.plan.notices.push(notice);
    }

    /// The pod as back-off messages name it: `NAME_NAMESPACE(UID)`.
    pub fn pod_title(&self) -> String {
        format!("{}_{}({})", self.want.name(), self.want.namespace(), self.want.uid())
    }
}
