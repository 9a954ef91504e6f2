//! A Service, its pods and its slices in memory: plans are applied to them and told as lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, Cached, FailedWrite, Failure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::desired::{Candidate, Node};
use super::packing::LIMIT;
use super::plan::{Observed, plan};
use super::topology;
use crate::golden;
use crate::replicas::pod::Replica;
use crate::service_endpoints::TRIGGER_TIME;
use crate::service_endpoints::member;
use crate::service_endpoints::slices::endpoints;

struct Cluster {
    service: Service,
    pods: BTreeMap<String, Pod>,
    /// Zones by node.
    nodes: BTreeMap<String, Option<String>>,
    slices: BTreeMap<String, EndpointSlice>,
    now: Timestamp,
    made: usize,
    log: String,
    failure: Option<Failure>,
    /// The CPU of zones.
    cpu: Vec<(Option<&'static str>, i64)>,
}

/// A Service named `web` with this specification, which selects all pods of the test.
fn service(spec: &Value) -> Service {
    let meta = json!({"name": "web", "namespace": "ns", "uid": "s", "labels": {"app": "web"},
        "creationTimestamp": "2025-12-31T00:00:00Z"});
    let mut whole = json!({"metadata": meta, "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7",
        "ipFamilies": ["IPv4"], "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]}});
    for (key, value) in spec.as_object().expect("an object") {
        whole["spec"][key] = value.clone();
    }
    serde_json::from_value(whole).expect("a Service")
}

impl Cluster {
    fn new(spec: &Value) -> Self {
        Self {
            service: service(spec),
            pods: BTreeMap::new(),
            nodes: BTreeMap::from([("n1".to_owned(), Some("east".to_owned())), ("n2".to_owned(), None)]),
            slices: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            made: 0,
            log: String::new(),
            failure: None,
            cpu: Vec::new(),
        }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.log, "{}", line.as_ref()).expect("strings can be written to");
    }

    /// A pod runs on `n1`, with the parts of the specification and of the status that differ.
    fn run(&mut self, name: &str, ip: &str, spec: &Value, ready: bool) {
        let mut whole = json!({"metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        for (key, value) in spec.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        let made: Pod = serde_json::from_value(whole).expect("a pod");
        self.pods.insert(name.to_owned(), made);
        self.set_ready(name, ready);
    }

    fn set_ready(&mut self, name: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let condition = json!([{"type": "Ready", "status": status, "lastTransitionTime": Time(self.now)}]);
        self.change(name, |pod| {
            let conditions = serde_json::from_value(condition).expect("conditions");
            pod.status.get_or_insert_default().conditions = conditions;
        });
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        change(self.pods.get_mut(name).expect(name));
    }

    fn respec(&mut self, change: impl FnOnce(&mut k8s_openapi::api::core::v1::ServiceSpec)) {
        change(self.service.spec.as_mut().expect("set above"));
    }

    fn observe(&self) -> Observed {
        let candidates = self.pods.values().map(|pod| {
            let pod = Replica::of(Cached::of(pod));
            let node = match self.nodes.get(&*pod.facts.node_name) {
                Some(zone) => Node::Known { zone: zone.clone() },
                None => Node::Missing,
            };
            Candidate { pod, node }
        });
        Observed {
            service: Arc::new(self.service.clone()),
            candidates: candidates.filter(|candidate| member::may_answer(&candidate.pod)).collect(),
            slices: self.slices.values().cloned().map(Arc::new).collect(),
            shares: topology::is_asked_for(&self.service).then(|| topology::shares(self.cpu.iter().copied())),
            failure: self.failure.clone(),
        }
    }

    /// Plans and does it; a second plan has nothing to do. The number of writes.
    fn settle(&mut self) -> usize {
        self.now += SignedDuration::from_secs(10);
        let writes = self.round();
        assert_eq!(self.round(), 0, "a plan that was carried out leaves nothing to do:\n{}", self.log);
        writes
    }

    fn round(&mut self) -> usize {
        let plan = plan(&self.observe());
        let mut writes = 0;
        for action in &plan.actions {
            let all = match action {
                Action::Batch(batch) => batch.as_slice(),
                one => std::slice::from_ref(one),
            };
            for action in all {
                writes += usize::from(!matches!(action, Action::Event { .. }));
                self.apply(action);
            }
        }
        writes
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Create { object, .. } => {
                let mut made: EndpointSlice = object.typed().expect("a slice");
                let name = format!("{}{}", made.metadata.generate_name.as_deref().unwrap_or(""), self.made);
                self.made += 1;
                made.metadata.uid = Some(format!("uid-{name}"));
                made.metadata.name = Some(name.clone());
                self.say(format!("  create {}", line(&made)));
                self.slices.insert(name, made);
            }
            Action::Update { target, object } => {
                let written: EndpointSlice = object.typed().expect("a slice");
                self.say(format!("  update {}", line(&written)));
                let before = self.slices.insert(target.name.clone(), written.clone()).expect("it is there");
                assert_ne!(before, written, "a write that changes something");
                assert_eq!(before.address_type, written.address_type, "an immutable field");
            }
            Action::Delete { target, .. } => {
                self.say(format!("  delete {}", target.name));
                self.slices.remove(&target.name).expect("it is there");
            }
            Action::Event { reason, message, .. } => self.say(format!("  event {reason} {message}")),
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn line(slice: &EndpointSlice) -> String {
    let port = |port: &k8s_openapi::api::discovery::v1::EndpointPort| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}:{}/{}", text(&port.name), port.port.unwrap_or(0), text(&port.protocol))
    };
    let ports: Vec<String> = slice.ports.iter().flatten().map(port).collect();
    let labels = slice.metadata.labels.iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let annotations = slice.metadata.annotations.as_ref();
    let trigger = annotations.and_then(|all| all.get(TRIGGER_TIME)).map_or("-", |time| &time[11..]);
    let mut text = format!(
        "{} {} [{}] {trigger}",
        slice.metadata.name.as_deref().unwrap_or(""),
        slice.address_type,
        ports.join(" ")
    );
    write!(text, " {{{}}}", labels.join(" ")).expect("strings can be written to");
    let all = endpoints(slice);
    if all.len() > 5 {
        return format!("{text} {} endpoints", all.len());
    }
    for endpoint in all {
        write!(text, "\n    {}", endpoint_line(endpoint)).expect("strings can be written to");
    }
    text
}

fn endpoint_line(endpoint: &Endpoint) -> String {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let states = [
        ("ready", conditions.ready),
        ("serving", conditions.serving),
        ("terminating", conditions.terminating),
    ];
    let states = states.iter().filter(|(_, holds)| *holds == Some(true)).map(|(name, _)| *name);
    let mut words = vec![
        endpoint.target_ref.as_ref().and_then(|target| target.name.clone()).unwrap_or_default(),
        endpoint.addresses.join(","),
        states.collect::<Vec<_>>().join(","),
    ];
    let named = [("node", &endpoint.node_name), ("zone", &endpoint.zone), ("hostname", &endpoint.hostname)];
    words.extend(named.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))));
    if let Some(hints) = &endpoint.hints {
        let zones = hints.for_zones.iter().flatten().map(|zone| format!("for-zone={}", zone.name));
        let nodes = hints.for_nodes.iter().flatten().map(|node| format!("for-node={}", node.name));
        words.extend(zones.chain(nodes));
    }
    words.join(" ")
}

#[test]
fn pods_come_change_and_go() {
    let mut c = Cluster::new(&json!({}));
    c.say("# no pods");
    c.settle();
    c.say("# two pods, one ready");
    c.run("a", "10.0.0.1", &json!({}), true);
    c.run("b", "10.0.0.2", &json!({"nodeName": "n2"}), false);
    c.settle();
    c.say("# b is ready");
    c.set_ready("b", true);
    c.settle();
    c.say("# a is being deleted");
    let now = c.now;
    c.change("a", |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
    c.settle();
    c.say("# a no longer serves, then has ended");
    c.set_ready("a", false);
    c.settle();
    c.change("a", |pod| pod.status.get_or_insert_default().phase = Some("Succeeded".into()));
    c.settle();
    c.say("# the Service's labels change");
    c.service.metadata.labels = Some(BTreeMap::from([("tier".to_owned(), "x".to_owned())]));
    c.settle();
    c.say("# the Service's port changes");
    c.respec(|spec| spec.ports.as_mut().expect("ports")[0].app_protocol = Some("http".into()));
    c.settle();
    c.say("# another Service of the name");
    c.service.metadata.uid = Some("s2".into());
    c.settle();
    c.say("# no pods");
    c.pods.clear();
    c.settle();
    golden::check("endpoint_slice/pods", &c.log);
}

#[test]
fn ports_families_and_names() {
    let named = json!({"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web"},
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": "dns"}]});
    let mut c = Cluster::new(&named);
    let container = |ports: Value| json!({"containers": [{"name": "c", "ports": ports}]});
    let web = |number: u16| json!({"name": "web", "containerPort": number, "protocol": "TCP"});
    let dns = json!({"name": "dns", "containerPort": 5353, "protocol": "UDP"});
    c.say("# three pods with two sets of ports, one with none of the name");
    c.run("a", "10.0.0.1", &container(json!([web(8080), dns])), true);
    c.run("b", "10.0.0.2", &container(json!([web(8081)])), true);
    c.run("c", "10.0.0.3", &container(json!([web(8080), dns])), true);
    c.run("d", "10.0.0.4", &container(json!([])), true);
    c.settle();
    c.say("# b has the same ports as the others");
    c.run("b", "10.0.0.2", &container(json!([web(8080), dns])), true);
    c.settle();
    c.say("# both families");
    let both = |ips: [&str; 2]| {
        let ips = ips.map(|ip| k8s_openapi::api::core::v1::PodIP { ip: ip.into() });
        move |pod: &mut Pod| pod.status.get_or_insert_default().pod_ips = Some(ips.to_vec())
    };
    c.change("a", both(["10.0.0.1", "fd00::1"]));
    c.respec(|spec| spec.ip_families = Some(vec!["IPv4".into(), "IPv6".into()]));
    c.settle();
    c.say("# IPv6 alone");
    c.respec(|spec| spec.ip_families = Some(vec!["IPv6".into()]));
    c.settle();
    c.say("# headless without ports, with host names");
    let headless = json!({"clusterIP": "None", "ports": [], "publishNotReadyAddresses": true});
    c.slices.clear();
    c.service = service(&headless);
    c.run("a", "10.0.0.1", &json!({"hostname": "h", "subdomain": "web"}), false);
    c.run("b", "10.0.0.2", &json!({"hostname": "h", "subdomain": "other", "nodeName": "n3"}), true);
    c.settle();
    golden::check("endpoint_slice/ports", &c.log);
}

#[test]
fn nodes_zones_and_hints() {
    let mut c = Cluster::new(&json!({"trafficDistribution": "PreferSameZone"}));
    c.say("# a node is missing");
    c.run("a", "10.0.0.1", &json!({}), true);
    c.run("b", "10.0.0.2", &json!({"nodeName": "n3"}), true);
    c.round();
    c.say("# the node is there");
    c.nodes.insert("n3".into(), Some("west".into()));
    c.settle();
    c.say("# prefer the same node");
    c.respec(|spec| spec.traffic_distribution = Some("PreferSameNode".into()));
    c.settle();
    c.say("# b is not ready");
    c.set_ready("b", false);
    c.settle();
    c.say("# no preference");
    c.respec(|spec| spec.traffic_distribution = None);
    c.settle();
    c.say("# a write failed");
    let failure = |write, target: &str| {
        Some(Failure { write, target: target.to_owned(), message: "no".to_owned(), gone: false })
    };
    c.failure = failure(FailedWrite::Other, "web-0");
    c.round();
    c.failure = failure(FailedWrite::Create, "");
    c.round();
    golden::check("endpoint_slice/nodes", &c.log);
}

#[test]
fn hints_by_the_zones_cpu() {
    let mut c = Cluster::new(&json!({"trafficDistribution": "PreferSameZone"}));
    let mode = ("service.kubernetes.io/topology-mode".to_owned(), "Auto".to_owned());
    c.service.metadata.annotations = Some(BTreeMap::from([mode]));
    c.nodes.insert("n2".into(), Some("west".into()));
    for (n, node) in ["n1", "n1", "n1", "n2"].into_iter().enumerate() {
        c.run(&format!("p{n}"), &format!("10.0.0.{n}"), &json!({"nodeName": node}), true);
    }
    c.say("# a zone is not known");
    c.cpu = vec![(Some("east"), 1000), (None, 1000)];
    c.round();
    c.say("# two equal zones");
    c.cpu[1].0 = Some("west");
    c.round();
    c.say("# five cannot be spread over two zones without overload");
    c.run("p4", "10.0.0.4", &json!({"nodeName": "n2"}), true);
    c.settle();
    c.say("# six can");
    c.run("p5", "10.0.0.5", &json!({"nodeName": "n1"}), true);
    c.settle();
    c.say("# nothing changes");
    c.settle();
    c.say("# one is not ready");
    c.set_ready("p3", false);
    c.settle();
    c.say("# the annotation goes");
    c.service.metadata.annotations = None;
    c.settle();
    golden::check("endpoint_slice/topology", &c.log);
}

#[test]
fn a_change_writes_one_slice_and_slices_fill_up() {
    let mut c = Cluster::new(&json!({}));
    let ip = |n: usize| format!("10.0.{}.{}", n / 250, n % 250 + 1);
    let name = |n: usize| format!("p{n:04}");
    for n in 0..250 {
        c.run(&name(n), &ip(n), &json!({}), true);
    }
    c.say("# 250 pods");
    assert_eq!(c.settle(), 3);
    c.say("# one pod is not ready");
    c.set_ready(&name(7), false);
    assert_eq!(c.settle(), 1);
    c.say("# one more");
    c.run(&name(250), &ip(250), &json!({}), true);
    assert_eq!(c.settle(), 1);
    c.say("# one of a full slice goes, another comes");
    c.pods.remove(&name(8));
    c.run(&name(251), &ip(251), &json!({}), true);
    assert_eq!(c.settle(), 1);
    c.say("# 60 more: what is left over fills a new slice");
    for n in 252..312 {
        c.run(&name(n), &ip(n), &json!({}), true);
    }
    assert_eq!(c.settle(), 1);
    c.say("# the pods of the second slice go");
    for n in 100..200 {
        c.pods.remove(&name(n));
    }
    assert_eq!(c.settle(), 1);
    c.say("# the port changes");
    c.respec(|spec| spec.ports.as_mut().expect("ports")[0].target_port = None);
    c.settle();
    golden::check("endpoint_slice/packing", &c.log);
}

#[test]
fn a_service_being_deleted_gets_no_new_slices() {
    let mut c = Cluster::new(&json!({}));
    c.service.metadata.deletion_timestamp = Some(Time(c.now));
    c.run("a", "10.0.0.1", &json!({}), true);
    assert_eq!(c.settle(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever pods do, the slices then say exactly what the pods are, none is too large, and no slice is written that
    /// the change does not concern: at most one for each pod that changed, and one to place what is new.
    #[test]
    fn slices_say_what_the_pods_are(
        steps in proptest::collection::vec(proptest::collection::vec((0u8..4, 0usize..230), 1..4), 1..10),
        first in 0usize..230,
    ) {
        let mut c = Cluster::new(&json!({}));
        let run = |c: &mut Cluster, n: usize| c.run(&format!("p{n:03}"), &format!("10.1.0.{}", n + 1), &json!({}), true);
        (0..first).for_each(|n| run(&mut c, n));
        c.settle();
        for step in steps {
            for (what, n) in &step {
                let name = format!("p{n:03}");
                match (what, c.pods.contains_key(&name)) {
                    (0, true) => drop(c.pods.remove(&name)),
                    (1, true) => c.set_ready(&name, false),
                    (2, true) => c.set_ready(&name, true),
                    _ => run(&mut c, *n),
                }
            }
            prop_assert!(c.settle() <= step.len() + 1);
            let mut told: Vec<(String, bool)> = c.slices.values().flat_map(endpoints).map(|endpoint| {
                let name = endpoint.target_ref.as_ref().and_then(|target| target.name.clone()).unwrap_or_default();
                (name, endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true))
            }).collect();
            told.sort();
            let real: Vec<(String, bool)> = c.pods.iter().map(|(name, pod)| (name.clone(), pods::is_ready(pod))).collect();
            prop_assert_eq!(told, real);
            prop_assert!(c.slices.values().all(|slice| endpoints(slice).len() <= LIMIT));
            prop_assert!(!c.slices.is_empty());
        }
    }
}

#[test]
fn figures_say_what_rounds_have_done() {
    let process = base::Metrics::default();
    let metrics = super::metrics::Metrics::registered(&process);
    let key = informer::Key::new("ns", "web");
    let mut c = Cluster::new(&json!({"trafficDistribution": "PreferSameZone"}));
    let note = |c: &mut Cluster| {
        let observed = c.observe();
        metrics.note(&key, Some(&super::metrics::done(&observed, &plan(&observed))), true);
        c.round();
    };
    note(&mut c);
    for number in 0..101 {
        c.run(&format!("p{number:03}"), &format!("10.0.0.{number}"), &json!({}), true);
    }
    note(&mut c);
    c.pods.remove("p000");
    note(&mut c);
    let shown = |line: &str| {
        let text = process.render(base::metrics::Format::Prometheus).expect("text");
        let name = format!("endpoint_slice_controller_{line}");
        assert!(text.lines().any(|shown| shown == name), "{name} in {text}");
    };
    for line in [
        "endpoints_desired 100",
        "num_endpoint_slices 2",
        "desired_endpoint_slices 1",
        "changes{operation=\"create\"} 2",
        "changes{operation=\"update\"} 2",
        "endpoints_added_per_sync_sum 101.0",
        "endpoints_removed_per_sync_sum 1.0",
        "endpoints_removed_per_sync_count 3",
        "syncs{result=\"success\"} 3",
        "services_count_by_traffic_distribution{traffic_distribution=\"PreferSameZone\"} 1",
        "endpointslices_changed_per_sync_count{topology=\"Disabled\",traffic_distribution=\"PreferSameZone\"} 3",
    ] {
        shown(line);
    }
    metrics.note(&key, None, true);
    metrics.note(&key, None, false);
    for line in [
        "endpoints_desired 0",
        "num_endpoint_slices 0",
        "syncs{result=\"error\"} 1",
        "services_count_by_traffic_distribution{traffic_distribution=\"PreferSameZone\"} 0",
    ] {
        shown(line);
    }
}
