//! Endpoints and their slices in memory: plans are applied to them and told as lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use informer::Action;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::plan::{Observed, plan};
use crate::golden;

#[derive(Default)]
struct Cluster {
    endpoints: Option<Endpoints>,
    slices: BTreeMap<String, EndpointSlice>,
    made: usize,
    log: String,
}

fn endpoints(uid: &str, annotations: &Value, subsets: &Value) -> Endpoints {
    let meta = json!({"name": "web", "namespace": "ns", "uid": uid, "labels": {"app": "web"},
        "annotations": annotations});
    serde_json::from_value(json!({"metadata": meta, "subsets": subsets})).expect("Endpoints")
}

impl Cluster {
    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.log, "{}", line.as_ref()).expect("strings can be written to");
    }

    fn observe(&self) -> Observed {
        Observed {
            endpoints: self.endpoints.clone().map(Arc::new),
            slices: self.slices.values().cloned().map(Arc::new).collect(),
        }
    }

    /// Plans and does it; a second plan writes nothing.
    fn settle(&mut self) {
        for action in plan(&self.observe()).actions {
            self.apply(action);
        }
        let again = plan(&self.observe()).actions;
        assert!(again.iter().all(|action| matches!(action, Action::Event { .. })), "{again:?}\n{}", self.log);
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Create { object, .. } => {
                let mut made: EndpointSlice = object.typed().expect("a slice");
                let name = format!("{}{}", made.metadata.generate_name.as_deref().unwrap_or(""), self.made);
                self.made += 1;
                made.metadata.name = Some(name.clone());
                self.say(format!("  create {}", text(&made)));
                self.slices.insert(name, made);
            }
            Action::Update { target, object } => {
                let written: EndpointSlice = object.typed().expect("a slice");
                self.say(format!("  update {}", text(&written)));
                let before = self.slices.insert(target.name, written.clone()).expect("it is there");
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

fn text(slice: &EndpointSlice) -> String {
    let pairs = |all: Option<&BTreeMap<String, String>>| {
        let all: Vec<String> =
            all.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        all.join(" ")
    };
    let ports = slice.ports.iter().flatten().map(|port| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}:{}/{}", text(&port.name), port.port.unwrap_or(0), text(&port.protocol))
    });
    let owner =
        slice.metadata.owner_references.iter().flatten().map(|owner| format!("{}/{}", owner.kind, owner.uid));
    let all = slice.endpoints.as_deref().unwrap_or_default();
    let endpoints: Vec<String> = match all.len() {
        0..=5 => all
            .iter()
            .map(|endpoint| {
                let ready =
                    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
                let named =
                    [&endpoint.hostname, &endpoint.node_name].map(|name| name.as_deref().unwrap_or("-"));
                let ready = if ready { "ready" } else { "not-ready" };
                format!("\n    {} {ready} {}", endpoint.addresses.join(","), named.join(" "))
            })
            .collect(),
        many => vec![format!("\n    {many} endpoints")],
    };
    format!(
        "{} {} [{}] {{{}}} {{{}}} of {}{}",
        slice.metadata.name.as_deref().unwrap_or(""),
        slice.address_type,
        ports.collect::<Vec<_>>().join(" "),
        pairs(slice.metadata.labels.as_ref()),
        pairs(slice.metadata.annotations.as_ref()),
        owner.collect::<String>(),
        endpoints.concat(),
    )
}

#[test]
fn slices_follow_endpoints() {
    let mut c = Cluster::default();
    let none = json!({});
    let [http, dns] = [
        json!({"name": "http", "port": 80, "protocol": "TCP"}),
        json!({"name": "dns", "port": 53, "protocol": "UDP"}),
    ];
    c.say("# one address, not ready another of the other family");
    let a = json!({"ip": "10.1.2.3", "hostname": "h", "nodeName": "n"});
    let subsets = json!([{"addresses": [a], "notReadyAddresses": [{"ip": "fd00::1"}], "ports": [http]}]);
    c.endpoints = Some(endpoints("e", &none, &subsets));
    c.settle();
    c.say("# one more address, an annotation, and one that is not carried over");
    let more = json!({"x": "y", "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"});
    let subsets = json!([{"addresses": [a, {"ip": "10.1.2.4"}], "ports": [http]}]);
    c.endpoints = Some(endpoints("e", &more, &subsets));
    c.settle();
    c.say("# another port");
    let subsets = json!([{"addresses": [a, {"ip": "10.1.2.4"}], "ports": [dns]}]);
    c.endpoints = Some(endpoints("e", &none, &subsets));
    c.settle();
    c.say("# two subsets");
    let subsets =
        json!([{"addresses": [a], "ports": [dns]}, {"addresses": [{"ip": "10.1.2.4"}], "ports": [http]}]);
    c.endpoints = Some(endpoints("e", &none, &subsets));
    c.settle();
    c.say("# others of the name");
    c.endpoints = Some(endpoints("f", &none, &subsets));
    c.settle();
    c.say("# no addresses");
    c.endpoints = Some(endpoints("f", &none, &json!([])));
    c.settle();
    c.say("# too many addresses, and one that is none");
    let mut many: Vec<Value> =
        (0..1_002).map(|n| json!({"ip": format!("10.0.{}.{}", n / 250, n % 250 + 1)})).collect();
    many.insert(0, json!({"ip": "0.0.0"}));
    c.endpoints = Some(endpoints("f", &none, &json!([{"addresses": many, "ports": [http]}])));
    c.settle();
    c.say("# no longer mirrored");
    c.endpoints = None;
    c.settle();
    golden::check("endpoint_slice_mirroring/endpoints", &c.log);
}
