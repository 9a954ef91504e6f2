use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"spec": spec})).expect("a pod")
}

fn admitted(pod: &Pod, others: &[Arc<Pod>]) -> Admission {
    let holders = Holders { staying: others.to_vec(), leaving: Vec::new() };
    admit(pod, &holders, Place { node: &OwnNode::default(), allocatable: &node() })
}

/// Why the node refuses `pod` beside `others`.
fn refusal(pod: &Pod, others: &[Arc<Pod>]) -> Option<Rejection> {
    match admitted(pod, others) {
        Admission::Refused(why) | Admission::Misplaced(why) => Some(why),
        Admission::TakenOn | Admission::Waits | Admission::Preempts(_) => None,
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
        let holders = Holders { staying: pods(staying), leaving: pods(leaving) };
        admit(&ask("1"), &holders, Place { node: &OwnNode::default(), allocatable: &node() })
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

    let whole = |requests: Value| json!({"containers": [asks("1500m")], "resources": {"requests": requests}});
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

fn labelled() -> OwnNode {
    let taint = |effect: &str| json!({"key": format!("x.io/{effect}"), "effect": effect});
    let node = json!({
        "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
        "spec": {"taints": [taint("NoSchedule"), taint("NoExecute")]},
    });
    OwnNode::of(&serde_json::from_value(node).expect("a node"))
}

#[test]
fn labels_and_taints_count_for_pods_that_were_bound_by_hand() {
    let tolerations = || json!([{"key": "x.io/NoExecute", "operator": "Exists"}]);
    let ask = |mut spec: Value, annotations: Value| {
        spec["containers"] = json!([]);
        let pod = json!({"metadata": {"annotations": annotations}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        admit(&pod, &Holders::default(), Place { node: &labelled(), allocatable: &node() })
    };
    let why = |admission: Admission| match admission {
        Admission::Misplaced(why) | Admission::Refused(why) => format!("{}: {}", why.reason, why.message),
        other => format!("{other:?}"),
    };
    let selecting = |disk: &str| json!({"nodeSelector": {"disk": disk}, "tolerations": tolerations()});
    assert_eq!(ask(selecting("ssd"), json!({})), Admission::TakenOn);
    let misplaced = ask(selecting("tape"), json!({}));
    assert!(matches!(misplaced, Admission::Misplaced(_)));
    assert_eq!(
        why(misplaced),
        "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    );
    assert_eq!(
        why(ask(json!({"nodeSelector": {"disk": "ssd"}}), json!({}))),
        "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    );
    assert!(
        matches!(ask(json!({"nodeSelector": {"disk": "tape"}}), json!({})), Admission::Refused(_)),
        "other labels would not help against the taint"
    );
    let of_file = json!({"kubernetes.io/config.source": "file"});
    assert_eq!(ask(json!({}), of_file.clone()), Admission::TakenOn, "static pods tolerate all taints");
    assert!(matches!(ask(json!({"nodeSelector": {"disk": "tape"}}), of_file), Admission::Misplaced(_)));
}

#[test]
fn a_pod_of_another_system_is_refused_first() {
    let of = |labels: Value, os: &str| {
        let spec = json!({"os": {"name": os}, "containers": [asks("9")]});
        let pod = json!({"metadata": {"labels": labels}, "spec": spec});
        refusal(&serde_json::from_value(pod).expect("a pod"), &[]).expect("it is refused").reason
    };
    assert_eq!(of(json!({}), "windows"), "PodOSNotSupported");
    assert_eq!(of(json!({"kubernetes.io/os": "windows"}), "linux"), "PodOSSelectorNodeLabelDoesNotMatch");
    assert_eq!(of(json!({"kubernetes.io/os": "linux"}), "linux"), "OutOfcpu");
}

#[test]
fn strict_groups_need_a_runtime_that_has_them() {
    let spec = json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}, "containers": []});
    let pod = pod(spec);
    let reason = |told: Value| {
        let own = json!({"metadata": {"name": "n1"}, "status": {"features": told}});
        let own = OwnNode::of(&serde_json::from_value(own).expect("a node"));
        match admit(&pod, &Holders::default(), Place { node: &own, allocatable: &node() }) {
            Admission::Refused(why) => why.reason,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(reason(json!({"supplementalGroupsPolicy": false})), "SupplementalGroupsPolicyNotSupported");
    assert_eq!(reason(json!({"supplementalGroupsPolicy": true})), "TakenOn");
    assert_eq!(reason(json!({})), "TakenOn", "nothing is known yet");
}

#[test]
fn what_lacks_room_and_is_misplaced_is_told_of_the_room() {
    let ask = |priority: i32| {
        let spec = json!({"containers": [asks("3")], "priority": priority, "nodeSelector": {"a": "b"}});
        admitted(&pod(spec), &[])
    };
    assert!(matches!(ask(0), Admission::Refused(why) if why.reason == "OutOfcpu"));
    let critical = ask(2_000_000_000);
    assert!(matches!(&critical, Admission::Refused(why) if why.reason == "NodeAffinity"), "{critical:?}");
}

#[test]
fn a_critical_pod_finds_room_or_an_error() {
    let small = Arc::new(pod(json!({"containers": [asks("1500m")], "priority": 5})));
    let critical = |cpu: &str| pod(json!({"containers": [asks(cpu)], "priority": 2_000_000_000}));
    let Admission::Preempts(preemption) = admitted(&critical("2"), std::slice::from_ref(&small)) else {
        panic!("one can be ended")
    };
    assert_eq!((preemption.resource.as_str(), preemption.victims.len()), ("cpu", 1));
    let Admission::Refused(why) = admitted(&critical("3"), std::slice::from_ref(&small)) else {
        panic!("the node is too small")
    };
    assert_eq!(why.reason, "UnexpectedAdmissionError");
    assert_eq!(
        why.message,
        "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to \
         preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]"
    );
}
