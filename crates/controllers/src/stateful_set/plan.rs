//! The decision: claim pods and revisions, report, then take the steps that the pods need.

use std::sync::Arc;
use std::time::Duration;

use api::selector::LabelSelector;
use informer::{Action, Cached, Plan};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use super::lineup::Lineup;
use super::names::{self, Claims};
use super::status::{self, Names};
use super::steps::{self, View};
use crate::claim::{Claim, Claimant};
use crate::history::{self, Present};
use crate::replicas::pod::{Availability, Replica};
use crate::target::{controller_reference, update_status};

/// The label of a revision that holds its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub set: Arc<StatefulSet>,
    pub selector: LabelSelector,
    /// The set is being deleted: it neither makes nor claims anything any more.
    pub deleting: bool,
    /// Pods the set owns, and orphans it may adopt.
    pub(super) pods: Vec<Replica>,
    /// Revisions the set owns, and orphans it is to adopt.
    pub revisions: Vec<Cached<ControllerRevision>>,
    /// Others' revisions whose names begin like this set's.
    pub namesakes: Vec<Cached<ControllerRevision>>,
    /// The volume claims of its pods that exist.
    pub claims: Claims,
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let set = &*observed.set;
    let Some(spec) = &set.spec else { return Plan::nothing() };
    let owner = controller_reference(set);
    let mut plan = Plan::nothing();
    let pods = claim(&mut plan, observed, Claimant { owner: &owner, deleting: observed.deleting });
    let (revisions, namesakes) = (typed(&observed.revisions), typed(&observed.namesakes));
    let before = set.status.clone().unwrap_or_default();
    let present = history::present(&history::Workload {
        owner: &owner,
        namespace: set.metadata.namespace.as_deref().unwrap_or(""),
        annotations: set.metadata.annotations.as_ref(),
        template: &spec.template,
        hash_label: HASH_LABEL,
        collisions: before.collision_count,
        revisions: &revisions,
        namesakes: &namesakes,
    });
    plan.actions.extend(present.write.clone().filter(|_| !observed.deleting));
    let (current, template) = current(&before, &revisions, &present, &spec.template);
    let names = Names { current: &current, update: present.name() };
    let lineup = Lineup::new(set, spec, &pods, now);
    let mut status = status::of(&before, spec, names, lineup.pods(), now);
    status.observed_generation = set.metadata.generation;
    status.collision_count = Some(present.collisions);
    let view = View {
        set,
        spec,
        owner: &owner,
        names,
        current: &template,
        update: &spec.template,
        claims: &observed.claims,
        current_replicas: before.current_replicas.unwrap_or(0),
        now,
    };
    let steps = if observed.deleting { steps::Steps::default() } else { steps::take(&view, &lineup) };
    status.current_replicas = status.current_replicas.map(|count| count - steps.outdated);
    status::complete(&mut status, spec);
    let status = status::stored(status);
    if status != status::stored(before) {
        plan.then(update_status(&StatefulSet { status: Some(status), ..set.clone() }));
    }
    plan.actions.extend(steps.actions);
    if !observed.deleting {
        plan.actions.extend(truncation(&revisions, names, &pods, spec));
    }
    look_again(&mut plan, spec, &lineup, now);
    plan
}

fn typed(revisions: &[Cached<ControllerRevision>]) -> Vec<Arc<ControllerRevision>> {
    revisions.iter().filter_map(|revision| revision.typed().cloned()).collect()
}

/// Adopts and releases; returns the set's pods.
fn claim<'a>(plan: &mut Plan, observed: &'a Observed, claimant: Claimant<'_>) -> Vec<&'a Replica> {
    let mut pods = Vec::new();
    let mut claims = Vec::new();
    for revision in observed.revisions.iter().filter(|revision| revision.controller().is_none()) {
        claims.push(claimant.adoption::<ControllerRevision>(revision));
    }
    for pod in &observed.pods {
        let selected = observed.selector.matches(|key| pod.label(key))
            && names::ordinal(&observed.set, pod.name()).is_some();
        match claimant.relation(selected, pod) {
            Claim::Foreign => continue,
            Claim::Release => {
                claims.push(claimant.release::<Pod>(pod));
                continue;
            }
            Claim::Adopt => claims.push(claimant.adoption::<Pod>(pod)),
            Claim::Owned => {}
        }
        pods.push(pod);
    }
    if !claims.is_empty() {
        plan.then(Action::Batch(claims));
    }
    pods
}

/// The revision that pods are updated from, with its template: the one last reported, or where that is gone, the
/// present one.
fn current(
    before: &StatefulSetStatus,
    revisions: &[Arc<ControllerRevision>],
    present: &Present,
    template: &PodTemplateSpec,
) -> (String, PodTemplateSpec) {
    let reported = before.current_revision.as_deref().unwrap_or("");
    let found = revisions.iter().find(|revision| history::name_of(revision) == reported);
    let kept = found.and_then(|revision| history::template_of(revision));
    match kept {
        Some(kept) => (reported.to_owned(), kept),
        None => (present.name().to_owned(), template.clone()),
    }
}

fn truncation(
    revisions: &[Arc<ControllerRevision>],
    names: Names<'_>,
    pods: &[&Replica],
    spec: &StatefulSetSpec,
) -> Vec<Action> {
    let is_live = |revision: &ControllerRevision| {
        let name = history::name_of(revision);
        name == names.current || name == names.update || pods.iter().any(|pod| names::revision(pod) == name)
    };
    history::truncation(revisions, is_live, spec.revision_history_limit)
}

fn look_again(plan: &mut Plan, spec: &StatefulSetSpec, lineup: &Lineup<'_>, now: Timestamp) {
    let min_ready_s = spec.min_ready_seconds.unwrap_or(0);
    let next = lineup.pods().filter_map(|pod| match pod.availability(min_ready_s, now) {
        Availability::In(left) => Some(left),
        _ => None,
    });
    if let Some(left) = next.min() {
        plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
    }
}
