//! Whether the node takes a pod on: of its system, harmless sysctls, enough resources left, labels that it selects, host
//! ports free, taints that it tolerates. Pure.
//!
//! Start at [`admit`]. The scheduler has decided already; this guards against pods bound by hand and against
//! two schedulers' views of one node (upstream `pkg/kubelet/lifecycle/predicate.go`). Whom a critical pod has to give
//! way decides [`preemption`].

mod preemption;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use pods::{Amounts, NodeRequirements};

use crate::allocation::{Allocation, PendingResize};
use crate::node_facts::OwnNode;
use crate::origin::is_static;
use crate::planner::Rejection;
use crate::pressure::is_critical;
use crate::sandbox_config;

pub use preemption::Preemption;

const OS: &str = "linux";
const OS_LABEL: &str = "kubernetes.io/os";

/// The pods that hold room on the node.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// Those the API counts for this node.
    pub staying: Vec<Arc<Pod>>,
    /// Those that have not ended and whose room is given away: the API no longer has them (deleted by force), or they
    /// give way to a critical pod.
    pub leaving: Vec<Arc<Pod>>,
}

/// The node that pods are measured against.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub node: &'a OwnNode,
    pub allocatable: &'a BTreeMap<String, Wire>,
}

/// The node's answer to a new pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    TakenOn,
    /// The room is the pod's as soon as those that are leaving have left.
    Waits,
    /// The pod is critical: these have to leave first.
    Preempts(Preemption),
    /// The node's labels are others than the pod asks for, unless they have just changed.
    Misplaced(Rejection),
    Refused(Rejection),
}

/// Decides whether the node takes `pod` on beside those that are here.
pub fn admit(pod: &Pod, holders: &Holders, place: Place<'_>) -> Admission {
    let refused = other_system(pod).or_else(|| with_strict_groups(pod, place.node));
    if let Some(why) = refused.or_else(|| forbidden_sysctl(pod)).or_else(|| confined(pod)) {
        return Admission::Refused(why);
    }
    let mut others: Vec<&Pod> = holders.staying.iter().map(Arc::as_ref).collect();
    let found = failures(pod, &others, place);
    if !found.is_empty() {
        return failed(pod, found, &holders.staying);
    }
    others.extend(holders.leaving.iter().map(Arc::as_ref));
    if failures(pod, &others, place).is_empty() { Admission::TakenOn } else { Admission::Waits }
}

/// A reason for which the node does not take a pod on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    Lacks(Lack),
    Predicate { name: &'static str, text: &'static str },
}

/// A resource of which too little is left; CPU is in thousandths of a core.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lack {
    resource: String,
    requested: i64,
    used: i64,
    capacity: i64,
}

const NODE_AFFINITY: &str = "NodeAffinity";

/// All that stands against the pod, in upstream's order.
fn failures(pod: &Pod, others: &[&Pod], place: Place<'_>) -> Vec<Failure> {
    let mut found: Vec<Failure> =
        lacks(pod, others, place.allocatable).into_iter().map(Failure::Lacks).collect();
    let mut fails = |name, text| found.push(Failure::Predicate { name, text });
    if !is_selected(pod, place.node) {
        fails(NODE_AFFINITY, "node(s) didn't match Pod's node affinity/selector");
    }
    if has_port_clash(pod, others) {
        fails("NodePorts", "node(s) didn't have free ports for the requested pod ports");
    }
    if !is_static(pod) && !tolerates_execution(pod, place.node) {
        fails("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    found
}

/// What follows from failures: the first is told, but want of room is no reason against a critical pod.
fn failed(pod: &Pod, found: Vec<Failure>, others: &[Arc<Pod>]) -> Admission {
    if is_critical(pod) {
        let lacks: Vec<Lack> = found.iter().filter_map(Failure::lack).cloned().collect();
        if lacks.len() == found.len() {
            return match preemption::plan(pod, others, &lacks) {
                Ok(preemption) => Admission::Preempts(preemption),
                Err(message) => Admission::Refused(Rejection {
                    reason: "UnexpectedAdmissionError".to_owned(),
                    message: format!(
                        "Unexpected error while attempting to recover from admission failure: {message}"
                    ),
                }),
            };
        }
    }
    let told = found.iter().find(|failure| !is_critical(pod) || failure.lack().is_none());
    match told {
        Some(Failure::Predicate { name, text }) => {
            let message = format!("Predicate {name} failed: {text}");
            let why = Rejection { reason: (*name).to_owned(), message };
            // Where something else stands against the pod too, other labels would not help.
            let is_alone = *name == NODE_AFFINITY && found.len() == 1;
            if is_alone { Admission::Misplaced(why) } else { Admission::Refused(why) }
        }
        Some(Failure::Lacks(lack)) => Admission::Refused(lack.rejection()),
        None => Admission::TakenOn,
    }
}

impl Failure {
    fn lack(&self) -> Option<&Lack> {
        match self {
            Self::Lacks(lack) => Some(lack),
            Self::Predicate { .. } => None,
        }
    }
}

impl Lack {
    fn message(&self) -> String {
        let Self { resource, requested, used, capacity } = self;
        format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        )
    }

    fn rejection(&self) -> Rejection {
        Rejection { reason: format!("OutOf{}", self.resource), message: self.message() }
    }

    /// How much has to become free.
    fn missing(&self) -> i64 {
        self.requested.saturating_sub(self.capacity.saturating_sub(self.used))
    }
}

/// A pod of another system, as its label or its specification says.
fn other_system(pod: &Pod) -> Option<Rejection> {
    let refused = |reason: &str, message: &str| {
        Some(Rejection { reason: reason.to_owned(), message: message.to_owned() })
    };
    if pod.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL)).is_some_and(|os| os != OS) {
        return refused(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        );
    }
    let os = pod.spec.as_ref().and_then(|spec| spec.os.as_ref());
    if os.is_some_and(|os| os.name != OS) {
        return refused("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
    }
    None
}

/// A pod whose processes must have no group that it does not name, where the runtime cannot do so.
fn with_strict_groups(pod: &Pod, node: &OwnNode) -> Option<Rejection> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref())?;
    let is_strict = context.supplemental_groups_policy.as_deref() == Some("Strict");
    (is_strict && node.has_strict_groups == Some(false)).then(|| Rejection {
        reason: "SupplementalGroupsPolicyNotSupported".to_owned(),
        message: "SupplementalGroupsPolicy=Strict is not supported in this node".to_owned(),
    })
}

fn is_selected(pod: &Pod, node: &OwnNode) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let label = |key: &str| node.labels.get(key).map(String::as_str);
    NodeRequirements::of(spec).matches(&node.name, label)
}

/// Whether nothing of the node would end the pod at once.
fn tolerates_execution(pod: &Pod, node: &OwnNode) -> bool {
    let tolerations = || pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let mut taints = node.taints.iter().filter(|taint| taint.effect == "NoExecute");
    taints.all(|taint| tolerations().any(|toleration| pods::tolerates_taint(toleration, taint)))
}

/// Decides whether the node can grant what `pod` asks for now, beside the others.
///
/// # Errors
/// Why not, in upstream's words.
pub fn resize(
    pod: &Pod,
    holders: &Holders,
    allocatable: &BTreeMap<String, Wire>,
) -> Result<(), PendingResize> {
    // What the pod has counts for nothing: it asks for something else instead.
    let asking = Pod { status: None, ..pod.clone() };
    let (asked, capacity) = (pods::requests(&asking), Amounts::from_list(allocatable));
    let too_much =
        [("memory", asked.memory_bytes, capacity.memory_bytes), ("cpu", asked.cpu_milli, capacity.cpu_milli)];
    if let Some((resource, requested, capacity)) =
        too_much.into_iter().find(|(_, asked, there)| asked > there)
    {
        let message = format!(
            "Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
        );
        return Err(PendingResize { infeasible: true, message, asked: Allocation::asked(pod) });
    }
    let others: Vec<&Pod> = holders.staying.iter().chain(&holders.leaving).map(Arc::as_ref).collect();
    match lacks(&asking, &others, allocatable).into_iter().next() {
        None => Ok(()),
        Some(lack) => {
            Err(PendingResize { infeasible: false, message: lack.message(), asked: Allocation::asked(pod) })
        }
    }
}

/// Nothing here loads AppArmor profiles: a pod that asks to be confined must not run as if it were.
fn confined(pod: &Pod) -> Option<Rejection> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|c| c.app_armor_profile.as_ref());
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let of_containers = containers.filter_map(|c| c.security_context.as_ref()?.app_armor_profile.as_ref());
    let asked = of_pod.into_iter().chain(of_containers).any(|profile| profile.type_ != "Unconfined");
    asked.then(|| Rejection {
        reason: "AppArmor".to_owned(),
        message: "Cannot enforce AppArmor: not implemented on this node".to_owned(),
    })
}

/// A sysctl that is not known to stay within the pod is nothing that waiting would cure.
fn forbidden_sysctl(pod: &Pod) -> Option<Rejection> {
    let error = sandbox_config::sysctls(pod).err()?;
    Some(Rejection { reason: error.reason.to_owned(), message: error.message })
}

fn lacks(pod: &Pod, others: &[&Pod], allocatable: &BTreeMap<String, Wire>) -> Vec<Lack> {
    let mut found = Vec::new();
    // The API server has refused what is no quantity; anything else counts as nothing.
    let places = allocatable.get("pods").map(|q| q.0.parse().unwrap_or(Quantity::ZERO).value());
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if let Some(places) = places
        && count >= places
    {
        found.push(Lack { resource: "pods".to_owned(), requested: 1, used: count, capacity: places });
    }
    let mut used = Amounts::default();
    for other in others {
        used.add(&pods::requests(other));
    }
    let (mut asked, capacity) = (pods::requests(pod), Amounts::from_list(allocatable));
    // What somebody else counts on the node's object is the scheduler's matter, as upstream.
    asked.scalar.retain(|name, _| !name.contains('/') || allocatable.contains_key(name));
    found.extend(pods::shortages(&asked, &capacity, &used).map(|short| Lack {
        resource: short.resource.to_owned(),
        requested: short.requested,
        used: short.used,
        capacity: short.capacity,
    }));
    found
}

fn has_port_clash(pod: &Pod, others: &[&Pod]) -> bool {
    let wanted = pods::host_ports(pod);
    if wanted.is_empty() {
        return false;
    }
    let taken: Vec<_> = others.iter().flat_map(|other| pods::host_ports(other)).collect();
    wanted.iter().any(|port| taken.iter().any(|held| held.clashes(port)))
}

#[cfg(test)]
mod tests;
