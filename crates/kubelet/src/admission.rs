//! Whether the node takes a pod on: harmless sysctls, enough resources left, host ports free. Pure.
//!
//! Start at [`admit`]. The scheduler has decided already; this guards against pods bound by hand and against
//! two schedulers' views of one node (upstream `pkg/kubelet/lifecycle/predicate.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use pods::Amounts;

use crate::allocation::{Allocation, PendingResize};
use crate::planner::Rejection;
use crate::sandbox_config;

/// The pods that hold room on the node.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// Those the API counts for this node.
    pub staying: Vec<Arc<Pod>>,
    /// Those the API no longer has (deleted by force) and that have not ended: the scheduler gives their room away.
    pub leaving: Vec<Arc<Pod>>,
}

/// The node's answer to a new pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    TakenOn,
    /// The room is the pod's as soon as those that are leaving have left.
    Waits,
    Refused(Rejection),
}

/// Decides whether the node takes `pod` on beside those that are here.
pub fn admit(pod: &Pod, holders: &Holders, allocatable: &BTreeMap<String, Wire>) -> Admission {
    let beside = |others: &[&Pod]| lacking(pod, others, allocatable).or_else(|| port_clash(pod, others));
    let mut others: Vec<&Pod> = holders.staying.iter().map(Arc::as_ref).collect();
    let refusal = forbidden_sysctl(pod).or_else(|| confined(pod)).or_else(|| beside(&others));
    if let Some(why) = refusal {
        return Admission::Refused(why);
    }
    others.extend(holders.leaving.iter().map(Arc::as_ref));
    if beside(&others).is_some() { Admission::Waits } else { Admission::TakenOn }
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
    match lacking(&asking, &others, allocatable) {
        None => Ok(()),
        Some(why) => {
            Err(PendingResize { infeasible: false, message: why.message, asked: Allocation::asked(pod) })
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

fn lacking(pod: &Pod, others: &[&Pod], allocatable: &BTreeMap<String, Wire>) -> Option<Rejection> {
    // The API server has refused what is no quantity; anything else counts as nothing.
    let places = allocatable.get("pods").map(|q| q.0.parse().unwrap_or(Quantity::ZERO).value());
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if let Some(places) = places
        && count >= places
    {
        return Some(out_of("pods", 1, count, places));
    }
    let mut used = Amounts::default();
    for other in others {
        used.add(&pods::requests(other));
    }
    let (mut asked, capacity) = (pods::requests(pod), Amounts::from_list(allocatable));
    // What somebody else counts on the node's object is the scheduler's matter, as upstream.
    asked.scalar.retain(|name, _| !name.contains('/') || allocatable.contains_key(name));
    let short = pods::shortages(&asked, &capacity, &used).next()?;
    Some(out_of(short.resource, short.requested, short.used, short.capacity))
}

fn out_of(resource: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    let message = format!(
        "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    Rejection { reason: format!("OutOf{resource}"), message }
}

fn port_clash(pod: &Pod, others: &[&Pod]) -> Option<Rejection> {
    let wanted = pods::host_ports(pod);
    if wanted.is_empty() {
        return None;
    }
    let taken: Vec<_> = others.iter().flat_map(|other| pods::host_ports(other)).collect();
    wanted.iter().any(|port| taken.iter().any(|held| held.clashes(port))).then(|| Rejection {
        reason: "NodePorts".to_owned(),
        message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).expect("a pod")
    }

    /// Why the node refuses `pod` beside `others`.
    fn refusal(pod: &Pod, others: &[Arc<Pod>]) -> Option<Rejection> {
        match admit(pod, &Holders { staying: others.to_vec(), leaving: Vec::new() }, &node()) {
            Admission::Refused(why) => Some(why),
            Admission::TakenOn | Admission::Waits => None,
        }
    }

    fn asks(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn node() -> BTreeMap<String, Wire> {
        [("cpu", "2"), ("memory", "1Gi"), ("pods", "2")]
            .into_iter()
            .map(|(name, q)| (name.to_owned(), Wire(q.to_owned())))
            .collect()
    }

    #[test]
    fn what_the_node_does_not_count_itself_is_not_counted() {
        let asks = |resource: &str| {
            pod(json!({"containers": [{"name": "c", "resources": {"requests": {resource: "1"}}}]}))
        };
        assert_eq!(refusal(&asks("example.com/licence"), &[]), None);
        let why = refusal(&asks("hugepages-2Mi"), &[]).expect("the node has none");
        assert_eq!(why.reason, "OutOfhugepages-2Mi");
    }

    #[test]
    fn what_the_node_cannot_or_must_not_do_is_refused_at_once() {
        let sysctl = |name: &str| {
            let context = json!({"sysctls": [{"name": name, "value": "1"}]});
            refusal(&pod(json!({"containers": [], "securityContext": context})), &[])
        };
        let why = sysctl("kernel.msgmax").expect("it reaches beyond the pod");
        assert_eq!(why.reason, "SysctlForbidden");
        assert_eq!(why.message, "forbidden sysctl: \"kernel.msgmax\" not allowlisted");
        assert_eq!(sysctl("net.ipv4.tcp_syncookies"), None);
        let confined = |kind: &str| {
            let context = json!({"appArmorProfile": {"type": kind}});
            refusal(&pod(json!({"containers": [{"name": "c", "securityContext": context}]})), &[])
        };
        assert_eq!(confined("RuntimeDefault").expect("nobody would enforce it").reason, "AppArmor");
        assert_eq!(confined("Unconfined"), None);
    }

    #[test]
    fn a_resize_waits_for_room_or_for_ever() {
        let beside = |others: &[Arc<Pod>], cpu: &str| {
            let holders = Holders { staying: others.to_vec(), leaving: Vec::new() };
            let mut wants = pod(json!({"containers": [asks(cpu)]}));
            let has = json!({"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]});
            wants.status = serde_json::from_value(has).expect("a status");
            resize(&wants, &holders, &node())
        };
        let other = Arc::new(pod(json!({"containers": [asks("1500m")]})));
        assert_eq!(beside(&[], "1500m"), Ok(()), "what it has now is no matter");
        assert_eq!(beside(std::slice::from_ref(&other), "500m"), Ok(()));
        let why = beside(std::slice::from_ref(&other), "600m").expect_err("there is no room");
        assert_eq!(why.reason(), "Deferred");
        assert_eq!(
            why.message,
            "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"
        );
        let why = beside(&[], "2500m").expect_err("the node is smaller");
        assert_eq!(why.reason(), "Infeasible");
        assert_eq!(why.message, "Node didn't have enough capacity: cpu, requested: 2500, capacity: 2000");
    }

    #[test]
    fn what_does_not_fit_is_refused_in_upstreams_words() {
        let running = Arc::new(pod(json!({"containers": [asks("1500m")]})));
        let why = refusal(&pod(json!({"containers": [asks("1")]})), std::slice::from_ref(&running));
        let why = why.expect("it does not fit");
        assert_eq!(why.reason, "OutOfcpu");
        assert_eq!(
            why.message,
            "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
        );
        let small = pod(json!({"containers": [asks("500m")]}));
        assert_eq!(refusal(&small, std::slice::from_ref(&running)), None);
        let why = refusal(&small, &[running.clone(), running]).expect("the node is full");
        assert_eq!(why.reason, "OutOfpods");
    }

    #[test]
    fn the_room_of_those_that_leave_is_waited_for() {
        let ask = |cpu: &str| pod(json!({"containers": [asks(cpu)]}));
        let beside = |staying: &[&str], leaving: &[&str]| {
            let pods = |list: &[&str]| list.iter().map(|cpu| Arc::new(ask(cpu))).collect();
            admit(&ask("1"), &Holders { staying: pods(staying), leaving: pods(leaving) }, &node())
        };
        assert_eq!(beside(&[], &["1500m"]), Admission::Waits);
        assert_eq!(beside(&["100m"], &["100m"]), Admission::Waits, "two pods are all the node takes");
        assert_eq!(beside(&[], &["1"]), Admission::TakenOn);
        assert!(matches!(beside(&["1500m"], &["1500m"]), Admission::Refused(_)), "waiting would not help");
    }

    #[test]
    fn a_host_port_is_taken_once() {
        let with_port = |ip: &str| {
            pod(
                json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]}]}),
            )
        };
        let taken = [Arc::new(with_port("192.0.2.1"))];
        assert_eq!(refusal(&with_port(""), &taken).expect("it clashes").reason, "NodePorts");
        assert_eq!(refusal(&with_port("192.0.2.2"), &taken), None);
    }

    /// Whether scheduler and node accept `spec` beside `running`; they must agree.
    fn accepted(running: Value, spec: Value) -> bool {
        let named = |name: &str, spec: Value| -> Arc<Pod> {
            let metadata = json!({"name": name, "namespace": "ns", "uid": name});
            Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod"))
        };
        let (running, pod) = (named("running", running), named("pod", spec));
        let of_node = json!({"metadata": {"name": "n"}, "status": {"allocatable": node()}});
        let mut nodes = scheduler::nodes::Nodes::default();
        nodes.set_node(&serde_json::from_value(of_node).expect("a node"));
        nodes.place(&scheduler::pod::PodInfo::new(&running), "n");
        let chance = scheduler::cycle::Chance::default();
        let (decision, _) = scheduler::cycle::decide(&scheduler::pod::PodInfo::new(&pod), &mut nodes, chance);
        let scheduled = matches!(decision, scheduler::cycle::Decision::Bind(_));
        let why = refusal(&pod, &[running]);
        assert_eq!(scheduled, why.is_none(), "{decision:?} by the scheduler, {why:?} by the node");
        scheduled
    }

    #[test]
    fn the_node_accepts_what_the_scheduler_places() {
        let port = |ip: &str| json!([{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]);
        let app = |ip: &str| json!({"containers": [{"name": "c", "ports": port(ip)}]});
        let init = |policy: Option<&str>| {
            let init = json!({"name": "i", "ports": port(""), "restartPolicy": policy});
            json!({"containers": [{"name": "c"}], "initContainers": [init]})
        };
        assert!(!accepted(app(""), app("")));
        assert!(accepted(init(None), app("")), "an init container that ends takes no port");
        assert!(accepted(app(""), init(None)));
        assert!(!accepted(init(Some("Always")), app("")));
        assert!(accepted(app("192.0.2.1"), app("::")));

        let whole =
            |requests: Value| json!({"containers": [asks("1500m")], "resources": {"requests": requests}});
        let half = json!({"containers": [asks("500m")]});
        assert!(accepted(half.clone(), whole(json!({}))));
        assert!(
            accepted(json!({"containers": [asks("1")]}), whole(json!({"cpu": "1"}))),
            "the pod's word counts"
        );
        assert!(!accepted(json!({"containers": [asks("1")]}), whole(json!({"cpu": "1", "memory": "2Gi"}))));
        assert!(
            accepted(half.clone(), whole(json!({"ephemeral-storage": "1Gi"}))),
            "a pod cannot ask for that as a whole"
        );
        assert!(accepted(half, whole(json!({"example.com/gpu": "1"}))), "nor for that");
    }
}
