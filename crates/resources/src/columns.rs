//! Server-side Tables: which columns a kind has, and what stands in them.
//!
//! Start with [`columns`] and [`cells`]. A kind with columns of its own is one entry of [`KINDS`];
//! the rest get name and age. Facts: upstream's
//! `pkg/printers/internalversion/printers.go`. Nothing here reads a clock.

mod autoscaler;
mod basic;
mod binding;
pub mod duration;
mod event;
mod node;
mod pod;
mod policy;
mod read;
mod service;
mod volume;
mod workload;

use api::{GroupKind, Object};
use jiff::Timestamp;
use serde_json::Value;

/// The head of a column, as in `meta.k8s.io/v1` `TableColumnDefinition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the object's name, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    source: Source,
}

/// Field names from the object's top to a value.
type Path = &'static [&'static str];

/// Where a cell comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The kind's own function makes the whole row.
    Code,
    Name,
    Age,
    /// A string or number, and what stands for an absent one.
    Text(Path, &'static str),
    /// 0 when absent.
    Number(Path),
    /// The number of entries of a list or map.
    Count(Path),
    /// A boolean, and what an absent one means.
    Flag(Path, bool),
    /// The strings of a list, and what stands for an empty one.
    Join(Path, &'static str),
    /// A label selector.
    Selector(Path),
}

impl Column {
    const fn from(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    fn cell(&self, object: &Object, now: Timestamp) -> Value {
        match self.source {
            Source::Code => Value::Null,
            Source::Name => object.name().into(),
            Source::Age => read::age(object, now),
            Source::Text(path, absent) => match object.at(path) {
                Some(Value::Number(number)) => number.to_string().into(),
                _ => read::text_or(object, path, absent),
            },
            Source::Number(path) => read::number(object, path).into(),
            Source::Count(path) => read::count(object, path).into(),
            Source::Flag(path, absent) => object.at(path).and_then(Value::as_bool).unwrap_or(absent).into(),
            Source::Join(path, absent) => {
                read::join(read::items(object, path).iter().filter_map(Value::as_str), absent).into()
            }
            Source::Selector(path) => read::selector_or_none(object.at(path)).into(),
        }
    }
}

/// A kind's columns and the function that fills them.
struct Printer {
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    /// Makes the row; `None` where the columns say where their cells come from.
    cells: Option<fn(&Object, Timestamp) -> Vec<Value>>,
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0, source: Source::Code }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..column(name, kind, description) }
}

const NAME: Column = Column {
    format: "name",
    source: Source::Name,
    ..column(
        "Name",
        "string",
        "Name must be unique within a namespace. Is required when creating resources. Cannot be updated.",
    )
};

const AGE: Column = column(
    "Age",
    "string",
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
)
.from(Source::Age);

const GENERIC: Printer = plain("", "", &[NAME, AGE]);

/// A kind whose rows a function makes.
const fn printer(
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Object, Timestamp) -> Vec<Value>,
) -> Printer {
    Printer { group, kind, columns, cells: Some(cells) }
}

/// A kind whose columns say it all.
const fn plain(group: &'static str, kind: &'static str, columns: &'static [Column]) -> Printer {
    Printer { group, kind, columns, cells: None }
}

/// All kinds with columns of their own.
const KINDS: &[Printer] = &[
    plain("", "ComponentStatus", basic::COMPONENT_STATUS),
    printer("", "ConfigMap", basic::CONFIG_MAP, basic::config_map),
    printer("", "Endpoints", service::ENDPOINTS, service::endpoints),
    printer("", "Event", event::COLUMNS, event::cells),
    plain("", "LimitRange", basic::CREATED),
    plain("", "Namespace", basic::NAMESPACE),
    printer("", "Node", node::COLUMNS, node::cells),
    printer("", "PersistentVolume", volume::VOLUME, volume::volume),
    printer("", "PersistentVolumeClaim", volume::CLAIM, volume::claim),
    printer("", "Pod", pod::COLUMNS, pod::cells),
    printer("", "PodTemplate", workload::POD_TEMPLATE, workload::pod_template),
    printer("", "ReplicationController", workload::REPLICAS, workload::replication_controller),
    printer("", "ResourceQuota", policy::QUOTA, policy::quota),
    plain("", "Secret", basic::SECRET),
    printer("", "Service", service::SERVICE, service::service),
    plain("", "ServiceAccount", basic::SERVICE_ACCOUNT),
    printer(ADMISSION, "MutatingAdmissionPolicy", policy::MUTATING, policy::mutating),
    printer(ADMISSION, "MutatingAdmissionPolicyBinding", policy::BINDING, policy::binding),
    plain(ADMISSION, "MutatingWebhookConfiguration", basic::WEBHOOKS),
    printer(ADMISSION, "ValidatingAdmissionPolicy", policy::VALIDATING, policy::validating),
    printer(ADMISSION, "ValidatingAdmissionPolicyBinding", policy::BINDING, policy::binding),
    plain(ADMISSION, "ValidatingWebhookConfiguration", basic::WEBHOOKS),
    plain("apiextensions.k8s.io", "CustomResourceDefinition", basic::CREATED),
    printer("apiregistration.k8s.io", "APIService", service::API_SERVICE, service::api_service),
    printer("apps", "ControllerRevision", workload::REVISION, workload::revision),
    printer("apps", "DaemonSet", workload::DAEMON_SET, workload::daemon_set),
    printer("apps", "Deployment", workload::DEPLOYMENT, workload::deployment),
    printer("apps", "ReplicaSet", workload::REPLICAS, workload::replica_set),
    printer("apps", "StatefulSet", workload::STATEFUL_SET, workload::stateful_set),
    printer("autoscaling", "HorizontalPodAutoscaler", autoscaler::COLUMNS, autoscaler::cells),
    plain("autoscaling", "Scale", basic::SCALE),
    printer("batch", "CronJob", workload::CRON_JOB, workload::cron_job),
    printer("batch", "Job", workload::JOB, workload::job),
    printer("certificates.k8s.io", "CertificateSigningRequest", policy::SIGNING, policy::signing),
    plain("coordination.k8s.io", "Lease", basic::LEASE),
    printer("discovery.k8s.io", "EndpointSlice", service::ENDPOINT_SLICE, service::endpoint_slice),
    printer("events.k8s.io", "Event", event::COLUMNS, event::cells),
    plain("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", basic::PRIORITY_LEVEL),
    printer("networking.k8s.io", "Ingress", service::INGRESS, service::ingress),
    printer("networking.k8s.io", "IngressClass", service::INGRESS_CLASS, service::ingress_class),
    plain("networking.k8s.io", "NetworkPolicy", basic::NETWORK_POLICY),
    plain("networking.k8s.io", "ServiceCIDR", basic::SERVICE_CIDR),
    plain("node.k8s.io", "RuntimeClass", basic::RUNTIME_CLASS),
    plain("policy", "PodDisruptionBudget", basic::DISRUPTION_BUDGET),
    plain(RBAC, "ClusterRole", basic::CREATED),
    printer(RBAC, "ClusterRoleBinding", binding::COLUMNS, binding::cells),
    plain(RBAC, "Role", basic::CREATED),
    printer(RBAC, "RoleBinding", binding::COLUMNS, binding::cells),
    plain("resource.k8s.io", "ResourceSlice", basic::RESOURCE_SLICE),
    plain("scheduling.k8s.io", "PriorityClass", basic::PRIORITY_CLASS),
    plain("storage.k8s.io", "CSINode", basic::CSI_NODE),
    plain("storage.k8s.io", "CSIStorageCapacity", basic::CSI_CAPACITY),
    printer("storage.k8s.io", "StorageClass", volume::STORAGE_CLASS, volume::storage_class),
    plain("storage.k8s.io", "VolumeAttachment", basic::VOLUME_ATTACHMENT),
    plain("storage.k8s.io", "VolumeAttributesClass", basic::ATTRIBUTES_CLASS),
];

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

fn find(kind: &GroupKind) -> &'static Printer {
    KINDS.iter().find(|p| p.group == kind.group && p.kind == kind.kind).unwrap_or(&GENERIC)
}

/// The columns of a kind's Table.
pub fn columns(kind: &GroupKind) -> &'static [Column] {
    find(kind).columns
}

/// The cells of an object's row, as many as there are columns. `now` is what ages are counted to.
pub fn cells(kind: &GroupKind, object: &Object, now: Timestamp) -> Vec<Value> {
    let printer = find(kind);
    match printer.cells {
        Some(cells) => cells(object, now),
        None => printer.columns.iter().map(|c| c.cell(object, now)).collect(),
    }
}

/// The conditions of an object's row (`TableRowCondition`): that a pod has run to its end.
pub fn row_conditions(kind: &GroupKind, object: &Object) -> Vec<Value> {
    if kind.group.is_empty() && kind.kind == "Pod" { pod::row_conditions(object) } else { Vec::new() }
}

#[cfg(test)]
mod tests;
