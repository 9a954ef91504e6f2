//! A node changes its own objects only, and the pods bound to it, and asks for tokens that its pods ask for.
//!
//! Upstream: `plugin/pkg/admission/noderestriction`.

mod audience;
mod own_volume;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Error, GroupResource, Object};
use serde_json::Value;

use super::plugin::{Admission, Operation, Review};
use super::signing_request::{self, KUBELET_CLIENT, KUBELET_SERVING, signer_name};
use crate::cache::lookup::Lookup;
use crate::eventual::Eventual;
use crate::identity::authz::node_user::node_name;
use crate::identity::authz::{Authorizer, Decision};
use crate::request::Attributes;

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
    authorizer: Arc<dyn Authorizer>,
}

/// An audience that nothing but a right of the node's own allows it to ask for.
struct Unasked(String);

impl NodeRestriction {
    pub fn new(lookup: Lookup, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { lookup, authorizer }
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
        // What these name a node may read.
        let claims = ["resourceClaimStatuses", "extendedResourceClaimStatus"];
        let differs = |new: &Object| {
            claims.iter().any(|field| new.at(&["status", field]) != old.at(&["status", field]))
        };
        if object.is_some_and(differs) {
            return Err(review.forbid(object, format!("node {node:?} cannot update resource claim statuses")));
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

    fn token(
        &self,
        node: &str,
        review: &Review<'_>,
        request: Option<&Object>,
    ) -> Result<Option<Unasked>, Error> {
        let Some(demand) = request else { return Ok(None) };
        let text = |field: &str| demand.str_at(&["spec", "boundObjectRef", field]).unwrap_or_default();
        let refuse = |why: &str| Err(review.forbid(request, why));
        let namespace = &review.attributes.namespace;
        if text("kind") != "Pod" || text("name").is_empty() {
            return refuse("node requested token not bound to a pod");
        }
        if text("uid").is_empty() {
            return refuse("node requested token with a pod binding without a uid");
        }
        let pods = GroupResource::new("", "pods");
        let name = text("name");
        let pod =
            self.lookup.object("", "pods", namespace, name).ok_or_else(|| Error::not_found(&pods, name))?;
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
        let audiences = demand.at(&["spec", "audiences"]).and_then(Value::as_array);
        let audience = match audiences.map_or(&[][..], Vec::as_slice) {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            _ => return refuse("node may only request 0 or 1 audiences"),
        };
        let asked = audience::asked_for(&self.lookup, namespace, &pod, audience);
        Ok((!asked).then(|| Unasked(audience.to_owned())))
    }

    /// Whether the node may ask for tokens of the audience whatever its pods say (KEP-4412).
    async fn may_ask(
        &self,
        review: &Review<'_>,
        audience: &str,
        request: Option<&Object>,
    ) -> Result<(), Error> {
        let user = &review.attributes.user;
        let attributes = Attributes {
            user: Arc::clone(user),
            verb: "request-serviceaccounts-token-audience".to_owned(),
            is_resource: true,
            version: "v1".to_owned(),
            resource: audience.to_owned(),
            namespace: review.attributes.namespace.clone(),
            name: review.attributes.name.clone(),
            ..Attributes::default()
        };
        if !audience.is_empty() && self.authorizer.authorize(&attributes).await == Decision::Allow {
            return Ok(());
        }
        let why = format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this \
             audience",
            user.name
        );
        Err(review.forbid(request, why))
    }
}

impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    /// Asks the authorizer about tokens that no pod asks for, which may wait. All else is answered at once.
    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let object = object.map(|object| &*object);
        match self.judge(review, object) {
            Ok(None) => Ok(()).into(),
            Ok(Some(Unasked(audience))) => {
                Eventual::later(async move { self.may_ask(review, &audience, object).await })
            }
            Err(refusal) => Err(refusal).into(),
        }
    }
}

impl NodeRestriction {
    fn judge(&self, review: &Review<'_>, object: Option<&Object>) -> Result<Option<Unasked>, Error> {
        if review.operation == Operation::Connect {
            return Ok(None);
        }
        let Some(node) = node_name(&review.attributes.user) else { return Ok(None) };
        if node.is_empty() {
            let why = format!("could not determine node from user {:?}", review.attributes.user.name);
            return Err(review.forbid(object, why));
        }
        if review.is_about("", "serviceaccounts")
            && review.attributes.subresource == "token"
            && review.operation == Operation::Create
        {
            return self.token(node, review, object);
        }
        self.judge_write(node, review, object).map(|()| None)
    }

    fn judge_write(&self, node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
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
            ("", "persistentvolumeclaims", "status") => claim_status(node, review, object),
            ("", "persistentvolumeclaims", _) => Err(review.forbid(object, "may only update PVC status")),
            ("", "persistentvolumes", "") => own_volume::judge(node, review, object),
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
            ("resource.k8s.io", "resourceslices", "") => resource_slice(node, review, object),
            (signing_request::GROUP, signing_request::PLURAL, "") => signing_request(review, object),
            _ => Ok(()),
        }
    }
}

/// A node says what a claim's volume has become, and nothing else.
fn claim_status(node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
    if review.operation != Operation::Update {
        return Err(review.forbid(object, format!("unexpected operation {:?}", review.operation.as_str())));
    }
    let (Some(new), Some(old)) = (object, review.old) else { return Ok(()) };
    let rest = |claim: &Object| {
        let mut claim = claim.clone();
        for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
            claim.remove_at(&["status", field]);
        }
        claim.remove_at(&["metadata", "managedFields"]);
        claim.remove_at(&["metadata", "resourceVersion"]);
        claim
    };
    if rest(new) == rest(old) {
        return Ok(());
    }
    let why = format!(
        "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
    );
    Err(review.forbid(object, why))
}

fn resource_slice(node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
    let verb = match review.operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Connect => return Ok(()),
    };
    let own = |slice: &Object| slice.str_at(&["spec", "nodeName"]) == Some(node);
    if object.is_none_or(own) && review.old.is_none_or(own) {
        return Ok(());
    }
    let why = format!("can only {verb} ResourceSlice with the same NodeName as the requesting node");
    Err(review.forbid(object, why))
}

/// A node asks for certificates of its own name only.
fn signing_request(review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
    let Some(request) = object.filter(|_| review.operation == Operation::Create) else { return Ok(()) };
    if ![KUBELET_CLIENT, KUBELET_SERVING].contains(&signer_name(request)) {
        return Ok(());
    }
    let subject = signing_request::subject(request)
        .map_err(|why| review.forbid(object, format!("unable to parse csr: {why}")))?;
    let own = &review.attributes.user.name;
    if subject.common_name == *own {
        return Ok(());
    }
    Err(review.forbid(object, format!("can only create a node CSR with CN={own}")))
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
