//! What each pod of a set needs, and whether the next pod may be looked at (`stateful_set_control.go`).
//!
//! A set keeps order unless its pods are managed in parallel: a pod is made once all before it are available, and
//! deleted once all after it are gone; one that waits halts the others.

use client::EventType;
use informer::{Action, DeletePolicy};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::claims;
use super::lineup::{Lineup, Slot, is_available, is_unavailable};
use super::names::{self, Claims};
use super::status::{Names, is_rolling};
use super::words::{self, Deed};
use super::{identity, retention};
use crate::replicas::pod::{Phase, Replica};
use crate::target::{dynamic, target, update};

/// What steps are decided from.
pub(super) struct View<'a> {
    pub set: &'a StatefulSet,
    pub spec: &'a StatefulSetSpec,
    pub owner: &'a OwnerReference,
    pub names: Names<'a>,
    pub current: &'a PodTemplateSpec,
    pub update: &'a PodTemplateSpec,
    pub claims: &'a Claims,
    /// The pods of the current revision, as last reported.
    pub current_replicas: i32,
    pub now: Timestamp,
}

/// The writes of a round.
#[derive(Default)]
pub(super) struct Steps {
    pub actions: Vec<Action>,
    /// Pods of the current revision that are deleted to be updated.
    pub outdated: i32,
}

/// What one pod needs, and whether those after it have to wait.
struct Step {
    actions: Vec<Action>,
    halt: bool,
}

impl Step {
    fn go(actions: Vec<Action>) -> Self {
        Self { actions, halt: false }
    }

    fn halt(actions: Vec<Action>) -> Self {
        Self { actions, halt: true }
    }
}

/// The steps of a round.
pub(super) fn take(view: &View<'_>, lineup: &Lineup<'_>) -> Steps {
    let mut steps = Steps::default();
    let ordered = view.spec.pod_management_policy.as_deref() != Some("Parallel");
    let slots = lineup.slots.iter().map(|slot| view.slot(slot, ordered));
    if all(&mut steps, slots, ordered) {
        return steps;
    }
    for (ordinal, pod) in &lineup.condemned {
        steps.actions.extend(retention::corrections(view.set, view.spec, view.claims, (*ordinal, &pod.uid)));
    }
    let condemned = lineup.condemned.iter().map(|(ordinal, pod)| {
        let is_first = lineup.first_unavailable == Some(*ordinal);
        view.condemned(pod, is_first, ordered)
    });
    if all(&mut steps, condemned, ordered) {
        return steps;
    }
    if is_rolling(view.spec) {
        view.update(lineup, &mut steps);
    }
    steps
}

/// Adds the steps, in order until one halts, or all at once; returns whether one halted.
fn all(steps: &mut Steps, each: impl Iterator<Item = Step>, ordered: bool) -> bool {
    if !ordered {
        let batch: Vec<Action> = each
            .filter(|step| !step.actions.is_empty())
            .map(|mut step| match step.actions.len() {
                1 => step.actions.remove(0),
                _ => Action::Series(step.actions),
            })
            .collect();
        if !batch.is_empty() {
            steps.actions.push(Action::Batch(batch));
        }
        return false;
    }
    for step in each {
        steps.actions.extend(step.actions);
        if step.halt {
            return true;
        }
    }
    false
}

impl View<'_> {
    fn slot(&self, slot: &Slot<'_>, ordered: bool) -> Step {
        let Some(pod) = slot.pod else { return self.create(slot.ordinal) };
        if pod.facts.is_terminal() {
            // Its successor comes once it is gone.
            let actions = if pod.is_being_deleted() { Vec::new() } else { vec![self.deletion(pod)] };
            return Step::halt(actions);
        }
        let mut actions = Vec::new();
        let own = (slot.ordinal, &*pod.uid);
        if pod.facts.phase == Phase::Pending {
            actions = claims::missing(self.set, self.spec, self.claims, slot.ordinal);
            actions.extend(retention::corrections(self.set, self.spec, self.claims, own));
            if claims::ending(self.set, self.spec, self.claims, slot.ordinal).is_some() {
                return Step::halt(actions);
            }
        }
        let min_ready_s = self.spec.min_ready_seconds.unwrap_or(0);
        if ordered && is_unavailable(pod, min_ready_s, self.now) {
            return Step::halt(actions);
        }
        if pod.facts.phase != Phase::Pending {
            actions.extend(retention::corrections(self.set, self.spec, self.claims, own));
        }
        actions.extend(self.restored(pod, slot.ordinal));
        Step::go(actions)
    }

    /// Makes the pod of an ordinal, after its claims.
    fn create(&self, ordinal: i32) -> Step {
        if retention::is_stale(self.set, self.spec, self.claims, ordinal) {
            return Step::halt(Vec::new());
        }
        let name = names::pod_name(names::set_name(self.set), ordinal);
        let words = words::pod(self.set, Deed::Create, &name);
        let mut actions = claims::missing(self.set, self.spec, self.claims, ordinal);
        if let Some(ending) = claims::ending(self.set, self.spec, self.claims, ordinal) {
            let (reason, prefix) = &words.failed[0];
            actions.push(Action::Event {
                about: words.about.clone(),
                event_type: EventType::Warning,
                reason,
                message: format!("{prefix}pvc {ending} is being deleted"),
            });
            return Step::halt(actions);
        }
        let made = identity::pod(self.set, self.spec, self.owner, self.revision_of(ordinal), ordinal);
        let namespace = self.set.metadata.namespace.as_deref().unwrap_or("");
        let create = Action::Create { target: target::<Pod>(namespace, ""), object: dynamic(&made) };
        actions.push(create.told(words));
        actions.extend(retention::corrections(self.set, self.spec, self.claims, (ordinal, "")));
        Step::halt(actions)
    }

    /// The revision that a new pod of an ordinal is made from.
    fn revision_of(&self, ordinal: i32) -> (&str, &PodTemplateSpec) {
        let rolling = self.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let below = match rolling {
            Some(rolling) => rolling.partition.unwrap_or(0),
            None if is_rolling(self.spec) => self.current_replicas,
            None => 0,
        };
        if ordinal < names::start(self.spec).saturating_add(below) {
            (self.names.current, self.current)
        } else {
            (self.names.update, self.update)
        }
    }

    /// Gives a pod its labels and volumes again.
    fn restored(&self, pod: &Replica, ordinal: i32) -> Option<Action> {
        let name = names::set_name(self.set);
        let labelled = pod.label(names::POD_NAME) == Some(pod.name());
        let has_claims = self.spec.volume_claim_templates.as_ref().is_some_and(|all| !all.is_empty());
        if labelled && !has_claims {
            return None;
        }
        let typed = pod.object.typed()?;
        if labelled && identity::has_volumes(typed, name, self.spec, ordinal) {
            return None;
        }
        let mut restored = Pod::clone(typed);
        identity::set_labels(&mut restored, ordinal);
        identity::set_volumes(&mut restored, name, self.spec, ordinal);
        Some(update(&restored).told(words::pod(self.set, Deed::Update, pod.name())))
    }

    fn condemned(&self, pod: &Replica, is_first_unavailable: bool, ordered: bool) -> Step {
        if pod.is_being_deleted() {
            return Step::halt(Vec::new());
        }
        let min_ready_s = self.spec.min_ready_seconds.unwrap_or(0);
        // Upstream waits for a pod that has ended, too, which never becomes available: its set is stuck where two have.
        let waits = ordered && !pod.facts.is_terminal() && !is_available(pod, min_ready_s, self.now);
        if waits && !is_first_unavailable {
            return Step::halt(Vec::new());
        }
        Step::halt(vec![self.deletion(pod)])
    }

    /// Deletes the pod of the highest ordinal that is of another revision, once those after it are available.
    fn update(&self, lineup: &Lineup<'_>, steps: &mut Steps) {
        let rolling = self.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let partition = usize::try_from(rolling.and_then(|r| r.partition).unwrap_or(0)).unwrap_or(0);
        let min_ready_s = self.spec.min_ready_seconds.unwrap_or(0);
        for slot in lineup.slots.iter().skip(partition).rev() {
            let Some(pod) = slot.pod else { return };
            let revision = names::revision(pod);
            if revision != self.names.update && !pod.is_being_deleted() {
                if !pod.facts.is_terminal() {
                    steps.actions.push(self.deletion(pod));
                    steps.outdated += i32::from(revision == self.names.current);
                }
                return;
            }
            if is_unavailable(pod, min_ready_s, self.now) {
                return;
            }
        }
    }

    fn deletion(&self, pod: &Replica) -> Action {
        let delete = Action::Delete {
            target: target::<Pod>(pod.namespace(), pod.name()),
            policy: DeletePolicy { uid: Some(pod.uid.to_string()), ..DeletePolicy::default() },
        };
        delete.told(words::pod(self.set, Deed::Delete, pod.name()))
    }
}
