//! The pods to make and to delete so that every node has the one pod it should have (`podsShouldBeOnNode` in
//! `daemon_controller.go`).

use std::collections::BTreeMap;

use client::EventType;
use informer::Action;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;

use super::daemons::{ByNode, Current, by_age, is_available};
use super::placement::Fit;
use crate::replicas::pod::{Phase, Replica};

/// What is decided from.
pub(super) struct View<'a> {
    pub set: &'a DaemonSet,
    pub current: &'a Current,
    /// What the set wants of each node there is.
    pub fits: &'a BTreeMap<String, Fit>,
    pub pods: &'a ByNode<'a>,
    /// Until when the failed pods of nodes have to stay.
    pub held_back: &'a BTreeMap<String, Timestamp>,
    /// Whether a node may have a new pod beside the old one.
    pub surges: bool,
    pub min_ready_s: i32,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Default)]
pub(super) struct Changes<'a> {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    pub delete: Vec<&'a Replica>,
    pub events: Vec<Action>,
    /// Nodes whose failed pod is deleted, which counts for their back-off.
    pub failed: Vec<String>,
    /// When the first failed pod may be deleted that has to stay until then.
    pub again_at: Option<Timestamp>,
}

impl Changes<'_> {
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }
}

pub(super) fn decide<'a>(view: &View<'a>) -> Changes<'a> {
    let mut changes = Changes::default();
    for (node, fit) in view.fits {
        let pods = view.pods.get(node).map_or(&[][..], Vec::as_slice);
        match fit {
            Fit::Run if pods.is_empty() => changes.create.push(node.clone()),
            Fit::Run | Fit::Stay => keep_one(view, (node, *fit), pods, &mut changes),
            Fit::No => changes.delete.extend(pods.iter().filter(|pod| !pod.is_being_deleted())),
        }
    }
    // Pods that wait for a node that is gone: nobody else deletes them.
    for (_, pods) in view.pods.iter().filter(|(node, _)| !view.fits.contains_key(*node)) {
        let waiting = pods.iter().filter(|pod| pod.facts.node_name.is_empty() && !pod.is_being_deleted());
        changes.delete.extend(waiting);
    }
    changes
}

/// Keeps one pod of those that run on a node; of a set that surges, an old one beside the new one that is to replace
/// it.
fn keep_one<'a>(view: &View<'a>, (node, fit): (&str, Fit), pods: &[&'a Replica], changes: &mut Changes<'a>) {
    let mut running: Vec<&'a Replica> = Vec::new();
    for pod in pods.iter().copied().filter(|pod| !pod.is_being_deleted()) {
        match pod.facts.phase {
            Phase::Failed => failed(view, node, pod, changes),
            Phase::Succeeded => {
                changes.events.push(told(view, EventType::Normal, "SucceededDaemonPod", node, pod));
                changes.delete.push(pod);
            }
            _ => running.push(pod),
        }
    }
    running.sort_by(|a, b| by_age(a, b));
    if !view.surges {
        changes.delete.extend(running.into_iter().skip(1));
        return;
    }
    if running.is_empty() && fit == Fit::Run {
        changes.create.push(node.to_owned());
    }
    if running.len() <= 1 {
        return;
    }
    let (new, old): (Vec<&Replica>, Vec<&Replica>) =
        running.into_iter().partition(|pod| pod.label(super::daemons::HASH) == Some(&*view.current.hash));
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!old.facts.ready || is_available(new, view.min_ready_s, view.now))
    {
        changes.delete.push(old);
    }
    changes.delete.extend(new.into_iter().skip(1).chain(old.into_iter().skip(1)));
}

fn failed<'a>(view: &View<'a>, node: &str, pod: &'a Replica, changes: &mut Changes<'a>) {
    if let Some(until) = view.held_back.get(node) {
        changes.again_at = Some(changes.again_at.map_or(*until, |first| first.min(*until)));
        return;
    }
    changes.events.push(told(view, EventType::Warning, "FailedDaemonPod", node, pod));
    changes.failed.push(node.to_owned());
    changes.delete.push(pod);
}

fn told(view: &View<'_>, event_type: EventType, reason: &'static str, node: &str, pod: &Replica) -> Action {
    let (state, deed) = match event_type {
        EventType::Warning => ("failed", "kill"),
        EventType::Normal => ("succeeded", "delete"),
    };
    let (namespace, name) = (pod.namespace(), pod.name());
    Action::Event {
        about: client::reference(view.set),
        event_type,
        reason,
        message: format!("Found {state} daemon pod {namespace}/{name} on node {node}, will try to {deed} it"),
    }
}
