//! The objects of the events, with what an API server adds to them.

use anyhow::Result;
use informer::Cached;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::scale::objects;

const NAMESPACES: usize = 20;

/// What a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    Plain,
    /// No two ask for the same amount of memory.
    Own,
    Spread,
    Apart,
    /// Nodes with a label that none has.
    Label,
    /// More CPU than any node has; no two ask for the same.
    Cpu,
    /// Away from pods that are in every zone.
    Zone,
    /// Ten of them fill a node.
    Low,
    /// Whose room is made by one of those.
    High,
}

impl Template {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Own => "own",
            Self::Spread => "spread",
            Self::Apart => "apart",
            Self::Label => "label",
            Self::Cpu => "cpu",
            Self::Zone => "zone",
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

pub(super) fn namespace(number: usize) -> String {
    format!("shop-{:02}", number % NAMESPACES)
}

pub(super) fn namespaces() -> impl Iterator<Item = String> {
    (0..NAMESPACES).map(namespace)
}

pub(super) fn node(number: usize, change: impl Fn(&mut Value)) -> Result<Cached<Node>> {
    let mut node = objects::node(number);
    change(&mut node);
    let node: Node = serde_json::from_value(node)?;
    Ok(Cached::of(&node))
}

/// A pod of one of a hundred applications of five hundred pods each, or so. In the state that the kubelet last wrote
/// where it is on a node.
pub(super) fn pod(template: Template, number: usize, on: Option<&str>) -> Result<Cached<Pod>> {
    let mut pod = objects::pod(&namespace(number), number);
    let kind = template.name();
    pod["metadata"]["name"] = format!("{kind}-{number:05}").into();
    pod["metadata"]["uid"] = format!("{kind}-6f1c2a3e-8d5b-4c7f-9e21-{number:012x}").into();
    pod["metadata"]["generation"] = 1.into();
    pod["metadata"]["resourceVersion"] = (1_000_000 + number).to_string().into();
    let app = format!("{kind}-{}", number % 100);
    pod["metadata"]["labels"]["app"] = app.clone().into();
    pod["spec"]["schedulerName"] = "default-scheduler".into();
    template.fill(&mut pod, &app, number);
    if let Some(node) = on {
        pod["spec"]["nodeName"] = node.into();
        pod["status"] = objects::running(number)["status"].take();
    }
    let pod: Pod = serde_json::from_value(pod)?;
    Ok(Cached::of(&pod))
}

impl Template {
    fn fill(self, pod: &mut Value, app: &str, number: usize) {
        let apart = |app: &str, key: &str| {
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}]}})
        };
        let even = |key: &str, when: &str| {
            json!({
                "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when,
                "labelSelector": {"matchLabels": {"app": app}},
            })
        };
        match self {
            Self::Plain => {}
            Self::Own => {
                let memory = format!("{}Ki", 131_072 + number);
                pod["spec"]["containers"][0]["resources"]["requests"]["memory"] = memory.into();
            }
            Self::Spread => {
                pod["spec"]["topologySpreadConstraints"] = json!([
                    even("topology.kubernetes.io/zone", "DoNotSchedule"),
                    even("kubernetes.io/hostname", "ScheduleAnyway"),
                ]);
            }
            Self::Apart => pod["spec"]["affinity"] = apart(app, "kubernetes.io/hostname"),
            Self::Label => {
                pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] =
                    format!("label-{number}").into();
                pod["spec"]["nodeSelector"] = json!({"example.com/none": "has"});
            }
            Self::Cpu => {
                let cpu = format!("{}m", 32_001 + number);
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = cpu.into();
            }
            Self::Low => pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "3200m".into(),
            Self::High => {
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "3000m".into();
                pod["spec"]["priority"] = 1000.into();
            }
            Self::Zone => {
                pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] =
                    format!("zone-{number}").into();
                pod["metadata"]["namespace"] = namespace(0).into();
                pod["spec"]["affinity"] = apart("plain-0", "topology.kubernetes.io/zone");
            }
        }
    }
}
