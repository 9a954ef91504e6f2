//! The node authorizer: a node reads what the pods bound to it need, and writes its own objects.
//!
//! Start with [`NodeAuthorizer`]; `graph` knows which objects belong to which node. The `NodeRestriction`
//! admission plugin decides what a node may do with objects that are not its own.

mod graph;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::Supervisor;
use graph::{Graph, Kind, Source, needs_of};

use super::authorizer::{Authorizer, Decision};
use super::node_user::node_name;
use super::rbac::Rule;
use crate::cache::follow::{Follower, follow};
use crate::cache::lookup::Lookup;
use crate::cache::{CacheError, Entry, ResourceCache, Scope};
use crate::eventual::Eventual;
use crate::request::Attributes;

const LEASE_NAMESPACE: &str = "kube-node-lease";
/// The label of volumes that are directories of a node.
const VOLUMES_NODE: &str = "knarr.dev/node";

/// Allows nodes what they need; has no opinion about anybody else.
#[derive(Clone)]
pub struct NodeAuthorizer {
    graph: Arc<Graph>,
    pods: Arc<ResourceCache>,
    follower: Follower,
    /// What every node may do, of resources that are not divided among nodes.
    rules: Arc<[Rule]>,
}

impl NodeAuthorizer {
    /// Learns which objects belong to which node and follows the changes. `rules` are those of `system:node`.
    ///
    /// # Errors
    /// When the watch cache does not hold the resources needed.
    pub fn start(lookup: &Lookup, rules: Arc<[Rule]>, supervisor: &Supervisor) -> Result<Self, CacheError> {
        let caches = Source::ALL
            .iter()
            .map(|source| {
                let (group, plural) = source.resource();
                lookup.resource(group, plural).ok_or(CacheError::Closed)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let graph = Arc::<Graph>::default();
        let pods = Arc::clone(&caches[Source::Pods as usize]);
        let follower = follow(graph.clone(), caches, supervisor, "node-graph");
        Ok(Self { graph, pods, follower, rules })
    }

    /// Waits until every binding of a pod that the watch cache holds now counts.
    pub async fn settled(&self) {
        self.follower.settled().await;
    }

    fn related(&self, node: &str, kind: Kind, a: &Attributes) -> Decision {
        if a.name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.related(node, kind, &a.namespace, &a.name) || self.just_bound(node, kind, a) {
            return Decision::Allow;
        }
        no(format!("no relationship found between node '{node}' and this object"))
    }

    /// Whether a pod needs the object that the graph has not learned of yet: its node may see it first.
    fn just_bound(&self, node: &str, kind: Kind, a: &Attributes) -> bool {
        if a.namespace.is_empty() {
            return false;
        }
        let pods = self.pods.matching(&Scope::namespace(&a.namespace).with("spec.nodeName", node)).entries;
        let mut news = pods.iter().filter(|pod| !self.graph.knows(pod.namespace(), pod.name(), node));
        let needs = |pod: &Arc<Entry>| {
            let needs = needs_of(pod).unwrap_or_default();
            needs.iter().any(|(needed, name)| *needed == kind && **name == *a.name)
        };
        news.any(|pod| if kind == Kind::Pod { pod.name() == a.name } else { needs(pod) })
    }

    fn read_namespaced(&self, node: &str, kind: Kind, a: &Attributes) -> Decision {
        if !matches!(a.verb.as_str(), "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if a.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, kind, a)
    }

    fn get(&self, node: &str, kind: Kind, a: &Attributes) -> Decision {
        if a.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, kind, a)
    }

    fn claim(&self, node: &str, a: &Attributes) -> Decision {
        match (a.subresource.as_str(), a.verb.as_str()) {
            ("status", "update" | "patch") => self.related(node, Kind::Claim, a),
            ("status", _) => no("can only get/update/patch this type"),
            _ => self.get(node, Kind::Claim, a),
        }
    }

    fn volume(&self, node: &str, a: &Attributes) -> Decision {
        let own = || a.label_selector.iter().any(|(label, value)| label == VOLUMES_NODE && value == node);
        match (a.subresource.as_str(), a.verb.as_str()) {
            ("", "list" | "watch") if own() => Decision::Allow,
            // Which volumes, and what of them, is checked at admission.
            ("", "patch") => Decision::Allow,
            _ => self.get(node, Kind::Volume, a),
        }
    }

    fn slice(&self, node: &str, a: &Attributes) -> Decision {
        if !a.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match a.verb.as_str() {
            // Whose the slice will be is checked at admission.
            "create" => Decision::Allow,
            "get" | "update" | "patch" | "delete" => self.related(node, Kind::Slice, a),
            "list" | "watch" | "deletecollection"
                if a.field_selector.contains(&("spec.nodeName".into(), node.into())) =>
            {
                Decision::Allow
            }
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn token(&self, node: &str, a: &Attributes) -> Decision {
        if a.verb != "create" || a.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if a.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Kind::ServiceAccount, a)
    }

    fn pod(&self, node: &str, a: &Attributes) -> Decision {
        match (a.subresource.as_str(), a.verb.as_str()) {
            ("", "get") => self.related(node, Kind::Pod, a),
            ("", "list" | "watch") if a.field_selector.contains(&("spec.nodeName".into(), node.into())) => {
                Decision::Allow
            }
            ("", "list" | "watch") if !a.name.is_empty() => self.related(node, Kind::Pod, a),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Which pods these may be is checked at admission.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Decision::Allow
            }
            _ => no(""),
        }
    }

    /// What a node may do, and why not.
    pub(crate) fn decide(&self, a: &Attributes) -> Decision {
        let Some(node) = node_name(&a.user) else { return no("") };
        if node.is_empty() {
            return no(format!("unknown node for user {:?}", a.user.name));
        }
        match (a.is_resource, a.group.as_str(), a.resource.as_str()) {
            (true, "", "secrets") => self.read_namespaced(node, Kind::Secret, a),
            (true, "", "configmaps") => self.read_namespaced(node, Kind::ConfigMap, a),
            (true, "", "persistentvolumeclaims") => self.claim(node, a),
            (true, "", "persistentvolumes") => self.volume(node, a),
            (true, "", "serviceaccounts") => self.token(node, a),
            (true, "", "nodes") => own_node(node, a),
            (true, "", "pods") => self.pod(node, a),
            (true, "storage.k8s.io", "volumeattachments") => self.get(node, Kind::Attachment, a),
            (true, "storage.k8s.io", "csinodes") => own_csi_node(node, a),
            (true, "resource.k8s.io", "resourceclaims") => self.get(node, Kind::DeviceClaim, a),
            (true, "resource.k8s.io", "resourceslices") => self.slice(node, a),
            (true, "coordination.k8s.io", "leases") => own_lease(node, a),
            _ if self.rules.iter().any(|rule| rule.allows(a)) => Decision::Allow,
            _ => no(""),
        }
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        self.decide(attributes).into()
    }
}

fn no(why: impl Into<String>) -> Decision {
    Decision::NoOpinion(why.into())
}

fn own_node(node: &str, a: &Attributes) -> Decision {
    match (a.subresource.as_str(), a.verb.as_str()) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::Allow,
        ("", "get" | "list" | "watch") if a.name == node => Decision::Allow,
        // A watch of one object by its name comes as a list with a selector.
        ("", "list" | "watch") if a.field_selector.contains(&("metadata.name".into(), node.into())) => {
            Decision::Allow
        }
        ("", "get" | "list" | "watch") if a.name.is_empty() => {
            no(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            no(format!("node '{node}' cannot read '{}', only its own Node object", a.name))
        }
        _ => no(""),
    }
}

fn own_lease(node: &str, a: &Attributes) -> Decision {
    if !matches!(a.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if a.namespace != LEASE_NAMESPACE {
        return no(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    // The name of an object to be created is not known yet: admission checks it.
    if a.verb != "create" && a.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Decision::Allow
}

fn own_csi_node(node: &str, a: &Attributes) -> Decision {
    if !matches!(a.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !a.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if a.verb != "create" && a.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Decision::Allow
}
