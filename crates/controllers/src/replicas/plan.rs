//! The decision: claim pods, write the status, make missing pods or delete surplus ones.

use std::collections::HashMap;
use std::time::Duration;

use informer::{Action, DeletePolicy, EventWords, FailedWrite, Failure, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pod::{Availability, Replica};
use super::rank;
use super::report::{self, Trouble};
use super::workload::Workload;
use crate::claim::Claim;
use crate::target::{dynamic, target};
use crate::template;

/// Upstream's limit of creates or deletes in one round; the pods' own events bring the next one.
const BURST: usize = 500;

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub workload: Workload,
    /// Pods the workload owns, and orphans it may adopt.
    pub(super) pods: Vec<Replica>,
    /// Active related pods (of all revisions) by node; needed only if there are too many pods.
    pub neighbours: HashMap<String, usize>,
    /// The failure of the last plan.
    pub failure: Option<Failure>,
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let workload = &observed.workload;
    let mut plan = Plan {
        on_success: Some(successes(workload)),
        on_failure: Some(failures(workload)),
        ..Plan::default()
    };
    let mut active: Vec<&Replica> = Vec::new();
    let mut terminating = 0;
    let mut claims = Vec::new();
    for candidate in &observed.pods {
        match workload.relation(candidate) {
            Claim::Foreign => continue,
            Claim::Release => {
                claims.push(workload.claimant().release::<Pod>(candidate));
                continue;
            }
            Claim::Adopt if candidate.is_active() => {
                claims.push(workload.claimant().adoption::<Pod>(candidate));
            }
            Claim::Adopt => continue,
            Claim::Owned => {}
        }
        if candidate.is_active() {
            active.push(candidate);
        } else if candidate.is_terminating() {
            terminating += 1;
        }
    }
    if !claims.is_empty() {
        plan.then(Action::Batch(claims));
    }
    let wanted = usize::try_from(workload.replicas).unwrap_or(0);
    let enough = workload.deleting || active.len() == wanted;
    let trouble = observed.failure.as_ref().filter(|_| !enough).and_then(trouble);
    let status = report::of(workload, &active, terminating, trouble, now);
    if workload.status != status {
        plan.then(workload.status_update(&status));
    }
    look_again_for_availability(&mut plan, workload, &active, now);
    if workload.deleting {
        return plan;
    }
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        plan.then(Action::Batch(vec![creation(workload); missing]));
        return plan.because(format!("{} of {wanted} pods: making {missing}", active.len()));
    }
    if active.len() > wanted {
        let had = active.len();
        let surplus = (had - wanted).min(BURST);
        rank::sort(&mut active, &observed.neighbours, now);
        plan.then(Action::Batch(active.into_iter().take(surplus).map(deletion).collect()));
        return plan.because(format!("{had} of {wanted} pods: deleting {surplus}"));
    }
    plan
}

fn trouble(failure: &Failure) -> Option<Trouble> {
    match failure.write {
        FailedWrite::Create => Some(("FailedCreate", failure.message.clone())),
        FailedWrite::Delete => Some(("FailedDelete", failure.message.clone())),
        FailedWrite::Other => None,
    }
}

fn look_again_for_availability(plan: &mut Plan, workload: &Workload, active: &[&Replica], now: Timestamp) {
    let next = active.iter().filter_map(|p| match p.availability(workload.min_ready_s, now) {
        Availability::In(left) => Some(left),
        _ => None,
    });
    if let Some(left) = next.min() {
        plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
    }
}

fn successes(workload: &Workload) -> EventWords {
    EventWords {
        about: workload.about.clone(),
        create: ("SuccessfulCreate", "Created pod: "),
        delete: ("SuccessfulDelete", "Deleted pod: "),
    }
}

fn failures(workload: &Workload) -> EventWords {
    EventWords {
        about: workload.about.clone(),
        create: ("FailedCreate", "Error creating: "),
        delete: ("FailedDelete", "Error deleting: "),
    }
}

fn creation(workload: &Workload) -> Action {
    let made = template::pod(&workload.template, &workload.target.namespace, &workload.owner);
    Action::Create { target: target::<Pod>(&workload.target.namespace, ""), object: dynamic(&made) }
}

fn deletion(doomed: &Replica) -> Action {
    Action::Delete {
        target: target::<Pod>(doomed.namespace(), doomed.name()),
        policy: DeletePolicy { uid: Some(doomed.uid.to_string()), ..DeletePolicy::default() },
    }
}
