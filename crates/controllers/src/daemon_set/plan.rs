//! The decision: claim pods and revisions, report, have every node run its pod, then replace pods of old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::selector::LabelSelector;
use client::EventType;
use informer::{Action, Cached, DeletePolicy, EventWords, Plan};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::daemons::{self, Current};
use super::manage::{self, Changes, View};
use super::placement::{Fit, Placement};
use super::rolling::{self, Limits};
use super::status;
use crate::claim::{Claim, Claimant};
use crate::history;
use crate::replicas::pod::{Availability, Replica};
use crate::target::{controller_reference, dynamic, target, update_status};

/// Upstream's limit of creates and of deletes in one round; the pods' own events bring the next one.
const BURST: usize = 250;

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub set: Arc<DaemonSet>,
    /// `None` for a set that selects everything, which nothing is done for.
    pub selector: Option<LabelSelector>,
    /// The set is gone already: it claims nothing any more.
    pub gone: bool,
    /// Pods the set owns, and orphans it may adopt.
    pub(super) pods: Vec<Replica>,
    pub nodes: Vec<Cached<Node>>,
    /// Revisions the set owns, and orphans it is to adopt.
    pub revisions: Vec<Cached<ControllerRevision>>,
    /// Others' revisions whose names begin like this set's.
    pub namesakes: Vec<Cached<ControllerRevision>>,
    /// Until when the failed pods of nodes have to stay.
    pub held_back: BTreeMap<String, Timestamp>,
    pub now: Timestamp,
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    decide(observed, now).0
}

/// The plan, and the nodes whose failed pod it deletes.
pub(super) fn decide(observed: &Observed, now: Timestamp) -> (Plan, Vec<String>) {
    let set = &*observed.set;
    let Some(spec) = &set.spec else { return Default::default() };
    let Some(selector) = &observed.selector else { return (selecting_all(set), Vec::new()) };
    let owner = controller_reference(set);
    let mut plan = reporting(set);
    let claimant = Claimant { owner: &owner, deleting: observed.gone };
    let pods = claim(&mut plan, observed, selector, claimant);
    let (revisions, namesakes) = (typed(&observed.revisions), typed(&observed.namesakes));
    let present = history::present(&history::Workload {
        owner: &owner,
        namespace: set.metadata.namespace.as_deref().unwrap_or(""),
        annotations: set.metadata.annotations.as_ref(),
        template: &spec.template,
        hash_label: daemons::HASH,
        collisions: set.status.as_ref().and_then(|status| status.collision_count),
        revisions: &revisions,
        namesakes: &namesakes,
    });
    let hash = history::hash_of(&present.revision, daemons::HASH).to_owned();
    let equal = history::equal(&revisions, &spec.template);
    let mut hashes: Vec<String> =
        equal.map(|revision| history::hash_of(revision, daemons::HASH).to_owned()).collect();
    hashes.push(hash.clone());
    let current = Current::new(set, hash, hashes);
    plan.actions.extend(present.write);

    let placement = Placement::of(spec.template.spec.as_ref().unwrap_or(&Default::default()));
    let fits = observed.nodes.iter().map(|node| (node.name().to_owned(), placement.fit(node))).collect();
    let by_node = daemons::by_node(&pods);
    let desired = BTreeMap::values(&fits).filter(|fit| **fit == Fit::Run).count();
    let view = View {
        set,
        current: &current,
        fits: &fits,
        pods: &by_node,
        held_back: &observed.held_back,
        surges: Limits::of(set, 1).surge > 0,
        min_ready_s: spec.min_ready_seconds.unwrap_or(0),
        now,
    };
    let status = status::stored(status::of(set, &view, present.collisions));
    if status::stored(set.status.clone().unwrap_or_default()) != status {
        plan.then(update_status(&DaemonSet { status: Some(status), ..set.clone() }));
    }
    let mut changes = manage::decide(&view);
    if changes.is_empty() && rolling::is_rolling(set) {
        let limits = Limits::of(set, desired);
        let rolled = match limits.surge {
            0 => rolling::replace(&view, limits),
            _ => rolling::surge(&view, limits, desired),
        };
        changes = Changes { create: rolled.create, delete: rolled.delete, ..changes };
    }
    look_again(&mut plan, &view, &pods, changes.again_at);
    let failed = std::mem::take(&mut changes.failed);
    write(&mut plan, (set, spec), &owner, &current, changes);
    plan.actions.extend(truncation(&revisions, &present.revision, &pods, spec));
    (plan, failed)
}

/// A plan of nothing, whose creates and deletes are reported in upstream's words.
fn reporting(set: &DaemonSet) -> Plan {
    let about = client::reference(set);
    Plan {
        on_success: Some(EventWords {
            about: about.clone(),
            create: ("SuccessfulCreate", "Created pod: "),
            delete: ("SuccessfulDelete", "Deleted pod: "),
        }),
        on_failure: Some(EventWords {
            about,
            create: ("FailedCreate", "Error creating: "),
            delete: ("FailedDelete", "Error deleting: "),
        }),
        ..Plan::default()
    }
}

fn selecting_all(set: &DaemonSet) -> Plan {
    let mut plan = Plan::nothing();
    plan.then(Action::Event {
        about: client::reference(set),
        event_type: EventType::Warning,
        reason: "SelectingAll",
        message: "This daemon set is selecting all pods. A non-empty selector is required.".to_owned(),
    });
    plan.because("the selector is empty")
}

fn typed(revisions: &[Cached<ControllerRevision>]) -> Vec<Arc<ControllerRevision>> {
    revisions.iter().filter_map(|revision| revision.typed().cloned()).collect()
}

/// Adopts and releases; returns the set's pods.
fn claim<'a>(
    plan: &mut Plan,
    observed: &'a Observed,
    selector: &LabelSelector,
    claimant: Claimant<'_>,
) -> Vec<&'a Replica> {
    let mut pods = Vec::new();
    let mut claims = Vec::new();
    for revision in &observed.revisions {
        match claimant.relation(selector.matches(|key| revision.label(key)), revision) {
            Claim::Adopt => claims.push(claimant.adoption::<ControllerRevision>(revision)),
            Claim::Release => claims.push(claimant.release::<ControllerRevision>(revision)),
            Claim::Owned | Claim::Foreign => {}
        }
    }
    for pod in &observed.pods {
        match claimant.relation(selector.matches(|key| pod.label(key)), pod) {
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

fn write(
    plan: &mut Plan,
    (set, spec): (&DaemonSet, &DaemonSetSpec),
    owner: &OwnerReference,
    current: &Current,
    changes: Changes<'_>,
) {
    let namespace = set.metadata.namespace.as_deref().unwrap_or("");
    plan.actions.extend(changes.events);
    let creates = changes.create.iter().take(BURST).map(|node| Action::Create {
        target: target::<Pod>(namespace, ""),
        object: dynamic(&current.pod(&spec.template, namespace, owner, node)),
    });
    let deletes = changes.delete.iter().take(BURST).map(|pod| Action::Delete {
        target: target::<Pod>(pod.namespace(), pod.name()),
        policy: DeletePolicy { uid: Some(pod.uid.to_string()), ..DeletePolicy::default() },
    });
    // Pods that cannot be made are no reason to keep those that are to go.
    for batch in [deletes.collect::<Vec<_>>(), creates.collect()] {
        if !batch.is_empty() {
            plan.then(Action::Batch(batch));
        }
    }
}

/// Deletes the oldest revisions that no pod is of, beyond the limit.
fn truncation(
    revisions: &[Arc<ControllerRevision>],
    present: &ControllerRevision,
    pods: &[&Replica],
    spec: &DaemonSetSpec,
) -> Vec<Action> {
    let is_live = |revision: &ControllerRevision| {
        let hash = history::hash_of(revision, daemons::HASH);
        revision.metadata.name == present.metadata.name
            || pods.iter().any(|pod| pod.label(daemons::HASH) == Some(hash))
    };
    history::truncation(revisions, is_live, spec.revision_history_limit)
}

fn look_again(plan: &mut Plan, view: &View<'_>, pods: &[&Replica], at: Option<Timestamp>) {
    let ready = pods.iter().filter_map(|pod| match pod.availability(view.min_ready_s, view.now) {
        Availability::In(left) => Some(left),
        _ => None,
    });
    let waits = ready.chain(at.map(|at| at.duration_since(view.now)));
    if let Some(left) = waits.min() {
        plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
    }
}
