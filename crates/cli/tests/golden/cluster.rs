//! The objects of a scenario, as a server holds them.

use api::selector::{FieldSelector, LabelSelector};
use cli::describe::{Related, RelatedError, ResourceName, Selection};
use serde_json::Value;

/// Group, version, plural, kind, whether namespaced.
pub type Kind = (&'static str, &'static str, &'static str, &'static str, bool);

pub const KINDS: [Kind; 44] = [
    ("", "v1", "bindings", "Binding", true),
    ("", "v1", "configmaps", "ConfigMap", true),
    ("", "v1", "endpoints", "Endpoints", true),
    ("", "v1", "events", "Event", true),
    ("", "v1", "limitranges", "LimitRange", true),
    ("", "v1", "namespaces", "Namespace", false),
    ("", "v1", "nodes", "Node", false),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    ("", "v1", "persistentvolumes", "PersistentVolume", false),
    ("", "v1", "pods", "Pod", true),
    ("", "v1", "replicationcontrollers", "ReplicationController", true),
    ("", "v1", "resourcequotas", "ResourceQuota", true),
    ("", "v1", "secrets", "Secret", true),
    ("", "v1", "serviceaccounts", "ServiceAccount", true),
    ("", "v1", "services", "Service", true),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", true),
    ("apps", "v1", "daemonsets", "DaemonSet", true),
    ("apps", "v1", "deployments", "Deployment", true),
    ("apps", "v1", "replicasets", "ReplicaSet", true),
    ("apps", "v1", "statefulsets", "StatefulSet", true),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true),
    ("batch", "v1", "cronjobs", "CronJob", true),
    ("batch", "v1", "jobs", "Job", true),
    ("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false),
    ("coordination.k8s.io", "v1", "leases", "Lease", true),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true),
    ("example.com", "v1", "widgets", "Widget", true),
    ("networking.k8s.io", "v1", "ingressclasses", "IngressClass", false),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", true),
    ("networking.k8s.io", "v1", "ipaddresses", "IPAddress", false),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true),
    ("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false),
    ("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", true),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false),
    ("storage.k8s.io", "v1", "csidrivers", "CSIDriver", false),
    ("storage.k8s.io", "v1", "csinodes", "CSINode", false),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", false),
    ("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", false),
    ("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", false),
];

pub struct Cluster {
    objects: Vec<Value>,
}

fn group_of(object: &Value) -> &str {
    object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(group, _)| group)
}

impl Cluster {
    pub fn new(objects: Vec<Value>) -> Self {
        Self { objects }
    }

    /// The object that a line names by a kind in lower case.
    pub fn find(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let found = self.objects.iter().find(|object| {
            object["kind"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(kind))
                && object["metadata"]["name"] == name
                && object["metadata"]["namespace"].as_str() == namespace
        });
        found.cloned()
    }

    fn of<'a>(&'a self, resource: ResourceName<'_>) -> impl Iterator<Item = &'a Value> {
        let kind = KINDS.iter().find(|kind| kind.0 == resource.group && kind.2 == resource.resource);
        let kind = kind.copied();
        self.objects.iter().filter(move |object| {
            kind.is_some_and(|kind| object["kind"] == kind.3 && group_of(object) == kind.0)
        })
    }
}

/// The value of a field's path, as the server's field selectors see it.
fn field<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    let value = path.split('.').try_fold(object, |value, name| value.get(name));
    Some(value.and_then(Value::as_str).unwrap_or_default())
}

impl Related for Cluster {
    fn get(
        &self,
        resource: ResourceName<'_>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, RelatedError> {
        let found = self.of(resource).find(|object| {
            object["metadata"]["name"] == name && object["metadata"]["namespace"].as_str() == namespace
        });
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        found.cloned().ok_or_else(|| RelatedError {
            reason: "NotFound".to_owned(),
            message: format!("{}{group} {name:?} not found", resource.resource),
        })
    }

    fn list(&self, resource: ResourceName<'_>, selection: Selection<'_>) -> Result<Vec<Value>, RelatedError> {
        let refused =
            |error: api::Error| RelatedError { reason: "BadRequest".to_owned(), message: error.to_string() };
        let labels = LabelSelector::parse(selection.label_selector).map_err(refused)?;
        let fields = FieldSelector::parse(selection.field_selector).map_err(refused)?;
        let found = self.of(resource).filter(|object| {
            let in_namespace =
                selection.namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace);
            in_namespace
                && labels.matches(|key| object["metadata"]["labels"][key].as_str())
                && fields.matches(|path| field(object, path))
        });
        Ok(found.cloned().collect())
    }
}
