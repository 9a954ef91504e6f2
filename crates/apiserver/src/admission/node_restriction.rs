//! A node changes its own objects only, and the pods bound to it.

use std::collections::BTreeMap;

use api::{Error, GroupResource, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;
use crate::identity::authz::node::node_name;

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// The labels of Kubernetes' own domains that a node may give itself (upstream: `kubelet/pkg/apis`).
const OWN_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "kubernetes.io/fluentd-ds-ready",
];
const OWN_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED_DOMAIN: &str = "node-restriction.kubernetes.io";

/// The plugin `NodeRestriction`.
pub struct NodeRestriction {
    lookup: Lookup,
}

impl NodeRestriction {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    fn pod(&self, node: &str, review: &Review<'_>, pod: Option<&Object>) -> Result<(), Error> {
        match review.operation {
            Operation::Create => self.new_pod(node, review, pod),
            Operation::Delete if review.old.is_some_and(|old| bound_to(old) != node) => Err(review
                .forbid(pod, format!("node {node:?} can only delete pods with spec.nodeName set to itself"))),
            Operation::Delete => Ok(()),
            operation => Err(review.forbid(
                pod,
                format!(
                    "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                    operation.as_str()
                ),
            )),
        }
    }

    fn new_pod(&self, node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(pod) = object else { return Ok(()) };
        let refuse = |why: String| Err(review.forbid(object, why));
        if pod.annotation(MIRROR_ANNOTATION).is_none() {
            return refuse(format!(
                "pod does not have {MIRROR_ANNOTATION:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if bound_to(pod) != node {
            return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        let owners = pod.metadata().and_then(|m| m.get("ownerReferences")).and_then(Value::as_array);
        let owner = match owners.map(Vec::as_slice) {
            Some([owner]) => owner,
            Some([_, _, ..]) => {
                return refuse(format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
            _ => {
                return refuse(format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                ));
            }
        };
        if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
            return refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        if owner["controller"] != true {
            return refuse(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if owner["blockOwnerDeletion"] == true {
            return refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        let missing = || Error::not_found(&GroupResource::new("", "nodes"), node);
        let known = self.lookup.object("", "nodes", "", node).ok_or_else(missing)?;
        let claimed = owner["uid"].as_str().unwrap_or_default();
        if claimed != known.uid() {
            return refuse(format!("node {node} UID mismatch: expected {claimed} got {}", known.uid()));
        }
        match referred(pod) {
            Some(what) => refuse(format!("node {node:?} can not create pods that reference {what}")),
            None => Ok(()),
        }
    }

    fn pod_status(&self, node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(old) = review.old else { return Ok(()) };
        if bound_to(old) != node {
            let why =
                format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
            return Err(review.forbid(object, why));
        }
        if object.is_some_and(|new| !new.labels().eq(old.labels())) {
            return Err(
                review.forbid(object, format!("node {node:?} cannot update labels through pod status"))
            );
        }
        Ok(())
    }

    fn eviction(&self, node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let name = review.name(object);
        let missing = || Error::not_found(&GroupResource::new("", "pods"), name);
        let pod = self.lookup.object("", "pods", &review.attributes.namespace, name).ok_or_else(missing)?;
        if bound_to(&pod) == node {
            return Ok(());
        }
        Err(review
            .forbid(object, format!("node {node} can only evict pods with spec.nodeName set to itself")))
    }

    fn token(&self, node: &str, review: &Review<'_>, request: Option<&Object>) -> Result<(), Error> {
        let Some(demand) = request else { return Ok(()) };
        let text = |field: &str| demand.str_at(&["spec", "boundObjectRef", field]).unwrap_or_default();
        let refuse = |why: &str| Err(review.forbid(request, why));
        if text("kind") != "Pod" || text("name").is_empty() {
            return refuse("node requested token not bound to a pod");
        }
        if text("uid").is_empty() {
            return refuse("node requested token with a pod binding without a uid");
        }
        let pods = GroupResource::new("", "pods");
        let name = text("name");
        let pod = self
            .lookup
            .object("", "pods", &review.attributes.namespace, name)
            .ok_or_else(|| Error::not_found(&pods, name))?;
        if pod.uid() != text("uid") {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record ({}). \
                 The object might have been deleted and then recreated",
                text("uid"),
                pod.uid()
            );
            return Err(Error::conflict(&pods, name, &why));
        }
        if bound_to(&pod) != node {
            return refuse("node requested token bound to a pod scheduled on a different node");
        }
        Ok(())
    }
}

impl Immediate for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        if review.operation == Operation::Connect {
            return Ok(());
        }
        let Some(node) = node_name(&review.attributes.user) else { return Ok(()) };
        let object = object.as_deref();
        if node.is_empty() {
            let why = format!("could not determine node from user {:?}", review.attributes.user.name);
            return Err(review.forbid(object, why));
        }
        let a = review.attributes;
        match (&*review.resource.group, &*review.resource.plural, a.subresource.as_str()) {
            ("", "pods", "") => self.pod(node, review, object),
            ("", "pods", "status") => self.pod_status(node, review, object),
            ("", "pods", "eviction") => self.eviction(node, review, object),
            ("", "pods", other) => Err(review.forbid(
                object,
                format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"),
            )),
            ("", "nodes", _) => own_node(node, review, object),
            ("", "persistentvolumeclaims", subresource) if subresource != "status" => {
                Err(review.forbid(object, "may only update PVC status"))
            }
            ("", "serviceaccounts", "token") if review.operation == Operation::Create => {
                self.token(node, review, object)
            }
            ("coordination.k8s.io", "leases", _) if a.namespace != LEASE_NAMESPACE => Err(review.forbid(
                object,
                format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"),
            )),
            ("coordination.k8s.io", "leases", _) if review.name(object) != node => {
                Err(review
                    .forbid(object, "can only access node lease with the same name as the requesting node"))
            }
            ("storage.k8s.io", "csinodes", _) if review.name(object) != node => {
                Err(review
                    .forbid(object, "can only access CSINode with the same name as the requesting node"))
            }
            _ => Ok(()),
        }
    }
}

fn bound_to(pod: &Object) -> &str {
    pod.str_at(&["spec", "nodeName"]).unwrap_or_default()
}

/// What a mirror pod refers to and must not.
fn referred(pod: &Object) -> Option<&'static str> {
    if pod.str_at(&["spec", "serviceAccountName"]).is_some_and(|name| !name.is_empty()) {
        return Some("a service account");
    }
    let spec = pod.at(&["spec"])?;
    let names = |wanted: &[&str]| mentions(spec, wanted);
    if names(&[
        "secret",
        "secretRef",
        "secretKeyRef",
        "imagePullSecrets",
        "nodePublishSecretRef",
        "azureFile",
    ]) {
        return Some("secrets");
    }
    if names(&["configMap", "configMapRef", "configMapKeyRef"]) {
        return Some("configmaps");
    }
    if names(&["clusterTrustBundle"]) {
        return Some("clustertrustbundles");
    }
    names(&["persistentVolumeClaim", "serviceAccountToken"]).then_some("persistentvolumeclaims")
}

/// Whether one of the fields stands anywhere in a pod's specification. Its maps with free keys (node selectors,
/// limits) hold strings, so that a field that holds more is one of the API's.
fn mentions(value: &Value, fields: &[&str]) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            (fields.contains(&key.as_str()) && (value.is_object() || value.is_array()))
                || mentions(value, fields)
        }),
        Value::Array(list) => list.iter().any(|item| mentions(item, fields)),
        _ => false,
    }
}

fn own_node(node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
    let name = review.name(object);
    let refuse = |why: String| Err(review.forbid(object, why));
    if name != node {
        return refuse(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let Some(new) = object else { return Ok(()) };
    if new.at(&["spec", "configSource"]).is_some_and(|source| !source.is_null())
        && new.at(&["spec", "configSource"]) != review.old.and_then(|old| old.at(&["spec", "configSource"]))
    {
        return refuse(format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        ));
    }
    match (review.operation, review.old) {
        (Operation::Create, _) => {
            let labels = forbidden_labels(None, new);
            if !labels.is_empty() {
                return refuse(format!(
                    "node {node:?} is not allowed to set the following labels: {}",
                    labels.join(", ")
                ));
            }
            owners(node, review, None, new)
        }
        (Operation::Update, Some(old)) => {
            if old.at(&["spec", "taints"]) != new.at(&["spec", "taints"]) {
                return refuse(format!("node {node:?} is not allowed to modify taints"));
            }
            let labels = forbidden_labels(Some(old), new);
            if !labels.is_empty() {
                return refuse(format!("is not allowed to modify labels: {}", labels.join(", ")));
            }
            owners(node, review, Some(old), new)
        }
        _ => Ok(()),
    }
}

/// A node that owned itself by another object would be deleted with that.
fn owners(node: &str, review: &Review<'_>, old: Option<&Object>, new: &Object) -> Result<(), Error> {
    let of = |object: &Object| object.metadata().and_then(|m| m.get("ownerReferences")).cloned();
    if of(new).is_none_or(|list| list == Value::Array(Vec::new())) || old.and_then(of) == of(new) {
        return Ok(());
    }
    Err(review.forbid(Some(new), format!("node {node:?} is not allowed to modify ownerReferences")))
}

/// The labels that were changed and that a node may not change, in order.
fn forbidden_labels<'o>(old: Option<&'o Object>, new: &'o Object) -> Vec<&'o str> {
    let before: BTreeMap<_, _> = old.into_iter().flat_map(Object::labels).collect();
    let after: BTreeMap<_, _> = new.labels().collect();
    let mut keys: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| before.get(key) != after.get(key) && is_restricted(key));
    keys
}

fn is_restricted(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if within(RESTRICTED_DOMAIN) {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    let own = OWN_LABELS.contains(&label) || OWN_LABEL_DOMAINS.iter().any(|parent| within(parent));
    kubernetes && !own
}
