//! A set's pods: which node each is for, whether it is of the present template, and how one is made.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::placement;
use crate::replicas::pod::{Availability, Replica};
use crate::template;

/// The hash of the revision a pod was made from.
pub(super) const HASH: &str = "controller-revision-hash";
/// The number of the template a pod was made from.
const GENERATION: &str = "pod-template-generation";
const SET_GENERATION: &str = "deprecated.daemonset.template.generation";
const NODE_NAME_FIELD: &str = "metadata.name";

/// Pods by the node they are for.
pub(super) type ByNode<'a> = BTreeMap<String, Vec<&'a Replica>>;

/// The pods that still matter, by node.
pub(super) fn by_node<'a>(pods: &[&'a Replica]) -> ByNode<'a> {
    let mut nodes = ByNode::new();
    // One that has ended and is being deleted waits for the node or the garbage collector alone.
    for pod in pods.iter().filter(|pod| !(pod.facts.is_terminal() && pod.is_being_deleted())) {
        if let Some(node) = target_node(pod) {
            nodes.entry(node).or_default().push(pod);
        }
    }
    nodes
}

/// The node a pod runs on, or is made for.
fn target_node(pod: &Replica) -> Option<String> {
    if !pod.facts.node_name.is_empty() {
        return Some(pod.facts.node_name.to_string());
    }
    let affinity = pod.object.typed()?.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let named = fields.find(|field| field.key == NODE_NAME_FIELD && field.operator == "In")?;
    match named.values.as_deref() {
        Some([node]) => Some(node.clone()),
        _ => None,
    }
}

/// The set's template as its pods are told of: by the hashes of its revisions, and the number of old.
#[derive(Debug, Clone)]
pub(super) struct Current {
    /// The hash that new pods get.
    pub hash: String,
    /// The hashes of all revisions that keep the present template.
    pub hashes: Vec<String>,
    generation: Option<String>,
}

impl Current {
    pub fn new(set: &DaemonSet, hash: String, hashes: Vec<String>) -> Self {
        let annotations = set.metadata.annotations.as_ref();
        let generation = annotations.and_then(|all| all.get(SET_GENERATION));
        let generation = generation.filter(|text| text.parse::<i64>().is_ok()).cloned();
        Self { hash, hashes, generation }
    }

    /// Whether a pod is of the present template.
    pub fn is_of(&self, pod: &Replica) -> bool {
        let hashed = pod.label(HASH).is_some_and(|hash| self.hashes.iter().any(|own| own == hash));
        hashed || (self.generation.is_some() && pod.label(GENERATION) == self.generation.as_deref())
    }

    /// A pod of the present template for a node.
    pub fn pod(&self, made_of: &PodTemplateSpec, namespace: &str, owner: &OwnerReference, node: &str) -> Pod {
        let mut pod = template::pod(made_of, namespace, owner);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.extend(self.generation.clone().map(|number| (GENERATION.to_owned(), number)));
        labels.insert(HASH.to_owned(), self.hash.clone());
        let spec = pod.spec.get_or_insert_default();
        let on_host_network = spec.host_network == Some(true);
        placement::tolerate(spec.tolerations.get_or_insert_default(), on_host_network);
        bind(spec, node);
        pod
    }
}

/// Has the scheduler place the pod on this node alone. That the node fits the template is known.
fn bind(spec: &mut PodSpec, node: &str) {
    let named = NodeSelectorRequirement {
        key: NODE_NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![named]), match_expressions: None };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    affinity.node_affinity.get_or_insert_default().required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// Placed pods first, then the oldest.
pub(super) fn by_age(a: &Replica, b: &Replica) -> Ordering {
    let key = |pod: &Replica| (pod.facts.node_name.is_empty(), pod.created);
    key(a).cmp(&key(b)).then_with(|| a.name().cmp(b.name()))
}

pub(super) fn is_available(pod: &Replica, min_ready_s: i32, now: Timestamp) -> bool {
    matches!(pod.availability(min_ready_s, now), Availability::Available)
}
