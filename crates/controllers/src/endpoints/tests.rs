//! A Service, its pods and its Endpoints in memory: plans are applied to them and told as lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, Cached, FailedWrite, Failure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::plan::{Observed, Served, plan};
use crate::golden;
use crate::replicas::pod::Replica;
use crate::service_endpoints::member;

struct Cluster {
    service: Service,
    pods: BTreeMap<String, Pod>,
    endpoints: Option<Endpoints>,
    now: Timestamp,
    log: String,
    failure: Option<Failure>,
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
            endpoints: None,
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            log: String::new(),
            failure: None,
        }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.log, "{}", line.as_ref()).expect("strings can be written to");
    }

    fn run(&mut self, name: &str, ip: &str, spec: &Value, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let mut whole = json!({"metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": Time(self.now)}]}});
        for (key, value) in spec.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        self.pods.insert(name.to_owned(), serde_json::from_value(whole).expect("a pod"));
    }

    fn observe(&self) -> Observed {
        let pods = self.pods.values().map(|pod| Replica::of(Cached::of(pod)));
        Observed::Served(Served {
            service: Arc::new(self.service.clone()),
            pods: pods.filter(member::may_answer).collect(),
            current: self.endpoints.clone().map(Arc::new),
            failure: self.failure.clone(),
        })
    }

    /// Plans and does it; a second plan has nothing to do.
    fn settle(&mut self) {
        self.now += SignedDuration::from_secs(10);
        self.round();
        let again = plan(&self.observe());
        assert_eq!(again.actions, [], "a plan that was carried out leaves nothing to do:\n{}", self.log);
    }

    fn round(&mut self) {
        for action in plan(&self.observe()).actions {
            match action {
                Action::Create { target, object } => {
                    assert_eq!(target.path(), "/api/v1/namespaces/ns/endpoints");
                    let made: Endpoints = object.typed().expect("Endpoints");
                    self.say(format!("  create {}", text(&made)));
                    self.endpoints = Some(made);
                }
                Action::Update { target, object } => {
                    assert_eq!(target.path(), "/api/v1/namespaces/ns/endpoints/web");
                    let written: Endpoints = object.typed().expect("Endpoints");
                    self.say(format!("  update {}", text(&written)));
                    self.endpoints = Some(written);
                }
                Action::Event { reason, message, about, .. } => {
                    self.say(format!("  event {} {reason} {message}", about.kind.unwrap_or_default()));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

fn text(endpoints: &Endpoints) -> String {
    let pairs = |all: Option<&BTreeMap<String, String>>| {
        let all: Vec<String> =
            all.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        all.join(" ")
    };
    let metadata = &endpoints.metadata;
    let mut text =
        format!("{{{}}} {{{}}}", pairs(metadata.labels.as_ref()), pairs(metadata.annotations.as_ref()));
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten().map(|port| {
            let [name, protocol] = [&port.name, &port.protocol].map(|text| text.clone().unwrap_or_default());
            format!("{name}:{}/{protocol}", port.port)
        });
        write!(text, "\n    [{}]", ports.collect::<Vec<_>>().join(" ")).expect("strings can be written to");
        for (what, addresses) in [("ready", &subset.addresses), ("not-ready", &subset.not_ready_addresses)] {
            match addresses.as_deref() {
                None => {}
                Some(many) if many.len() > 5 => {
                    write!(text, " {what} {}", many.len()).expect("strings can be written to");
                }
                Some(few) => {
                    let few: Vec<String> = few.iter().map(address).collect();
                    write!(text, " {what} {}", few.join(" ")).expect("strings can be written to");
                }
            }
        }
    }
    text
}

fn address(address: &EndpointAddress) -> String {
    let pod = address.target_ref.as_ref().and_then(|target| target.name.as_deref()).unwrap_or("");
    let hostname = address.hostname.as_ref().map(|name| format!("({name})")).unwrap_or_default();
    format!("{pod}{hostname}@{}={}", address.node_name.as_deref().unwrap_or(""), address.ip)
}

#[test]
fn pods_come_change_and_go() {
    let mut c = Cluster::new(&json!({}));
    c.say("# no pods");
    c.settle();
    c.say("# two pods, one ready");
    c.run("a", "10.0.0.1", &json!({}), true);
    c.run("b", "10.0.0.2", &json!({}), false);
    c.settle();
    c.say("# b is ready");
    c.run("b", "10.0.0.2", &json!({}), true);
    c.settle();
    c.say("# a is being deleted");
    let now = c.now;
    c.pods.get_mut("a").expect("a").metadata.deletion_timestamp = Some(Time(now));
    c.settle();
    c.say("# the Service's labels change");
    c.service.metadata.labels = None;
    c.settle();
    c.say("# headless without ports, with what is not ready");
    c.service = service(&json!({"clusterIP": "None", "ports": [], "publishNotReadyAddresses": true}));
    c.run("c", "10.0.0.3", &json!({"hostname": "h", "subdomain": "web"}), false);
    c.settle();
    c.say("# no pods");
    c.pods.clear();
    c.settle();
    golden::check("endpoints/pods", &c.log);
}

#[test]
fn ports_and_families() {
    let ports = json!([{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web"},
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": "dns"},
        {"name": "fixed", "protocol": "TCP", "port": 7}]);
    let mut c = Cluster::new(&json!({"ports": ports}));
    let container = |ports: Value| json!({"containers": [{"name": "c", "ports": ports}]});
    let web = |number: u16| json!({"name": "web", "containerPort": number, "protocol": "TCP"});
    let dns = json!({"name": "dns", "containerPort": 5353, "protocol": "UDP"});
    c.run("a", "10.0.0.1", &container(json!([web(8080), dns])), true);
    c.run("b", "10.0.0.2", &container(json!([web(8081), dns])), true);
    c.run("c", "10.0.0.3", &container(json!([])), false);
    c.say("# named ports that differ");
    c.settle();
    c.say("# IPv6");
    let ips = ["10.0.0.1", "fd00::1"].map(|ip| k8s_openapi::api::core::v1::PodIP { ip: ip.into() });
    c.pods.get_mut("a").expect("a").status.get_or_insert_default().pod_ips = Some(ips.to_vec());
    let spec = c.service.spec.as_mut().expect("a specification");
    spec.ip_families = Some(vec!["IPv6".into(), "IPv4".into()]);
    c.settle();
    golden::check("endpoints/ports", &c.log);
}

#[test]
fn too_many_addresses_are_left_out() {
    let mut c = Cluster::new(&json!({}));
    for n in 0..1_005 {
        c.run(&format!("p{n:04}"), &format!("10.0.{}.{}", n / 250, n % 250 + 1), &json!({}), n > 9);
    }
    c.say("# 995 ready, 10 not ready");
    c.settle();
    c.say("# five go");
    for n in 0..5 {
        c.pods.remove(&format!("p{n:04}"));
    }
    c.settle();
    golden::check("endpoints/capacity", &c.log);
}

#[test]
fn failures_are_told_and_leftovers_removed() {
    let mut c = Cluster::new(&json!({}));
    let failure =
        |write| Some(Failure { write, target: String::new(), message: "no".to_owned(), gone: false });
    c.failure = failure(FailedWrite::Create);
    c.round();
    c.run("a", "10.0.0.1", &json!({}), true);
    c.failure = failure(FailedWrite::Other);
    c.round();
    golden::check("endpoints/failure", &c.log);
    let leftover = c.endpoints.map(Arc::new).expect("Endpoints");
    let [Action::Delete { target, .. }] = &plan(&Observed::Leftover(leftover)).actions[..] else {
        panic!("not one deletion")
    };
    assert_eq!(target.path(), "/api/v1/namespaces/ns/endpoints/web");
}
