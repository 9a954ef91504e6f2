//! Server-side Tables: which columns a kind has, and what stands in them.
//!
//! Start with [`columns`] and [`cells`]. A kind with columns of its own is one entry of [`KINDS`]
//! and one small file; the rest get name and age. Facts: upstream's
//! `pkg/printers/internalversion/printers.go`. Nothing here reads a clock.

mod basic;
mod binding;
pub mod duration;
mod event;
mod node;
mod pod;
mod read;
mod service;
mod volume;
mod workload;

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::row::Resource;

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
}

/// A kind's columns and the function that fills them.
struct Printer {
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Object, Timestamp) -> Vec<Value>,
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0 }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..column(name, kind, description) }
}

const NAME: Column = Column {
    format: "name",
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
);

const GENERIC: Printer = Printer { group: "", kind: "", columns: &[NAME, AGE], cells: generic };

const fn printer(
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Object, Timestamp) -> Vec<Value>,
) -> Printer {
    Printer { group, kind, columns, cells }
}

/// All kinds with columns of their own.
const KINDS: &[Printer] = &[
    printer("", "ConfigMap", basic::CONFIG_MAP, basic::config_map),
    printer("", "Endpoints", service::ENDPOINTS, service::endpoints),
    printer("", "Event", event::COLUMNS, event::cells),
    printer("", "LimitRange", basic::CREATED, basic::created),
    printer("", "Namespace", basic::NAMESPACE, basic::namespace),
    printer("", "Node", node::COLUMNS, node::cells),
    printer("", "PersistentVolume", volume::VOLUME, volume::volume),
    printer("", "PersistentVolumeClaim", volume::CLAIM, volume::claim),
    printer("", "Pod", pod::COLUMNS, pod::cells),
    printer("", "ReplicationController", workload::REPLICAS, workload::replication_controller),
    printer("", "Secret", basic::SECRET, basic::secret),
    printer("", "Service", service::SERVICE, service::service),
    printer("", "ServiceAccount", basic::SERVICE_ACCOUNT, basic::service_account),
    printer("apiextensions.k8s.io", "CustomResourceDefinition", basic::CREATED, basic::created),
    printer("apps", "DaemonSet", workload::DAEMON_SET, workload::daemon_set),
    printer("apps", "Deployment", workload::DEPLOYMENT, workload::deployment),
    printer("apps", "ReplicaSet", workload::REPLICAS, workload::replica_set),
    printer("apps", "StatefulSet", workload::STATEFUL_SET, workload::stateful_set),
    printer("batch", "CronJob", workload::CRON_JOB, workload::cron_job),
    printer("batch", "Job", workload::JOB, workload::job),
    printer("coordination.k8s.io", "Lease", basic::LEASE, basic::lease),
    printer("discovery.k8s.io", "EndpointSlice", service::ENDPOINT_SLICE, service::endpoint_slice),
    printer("events.k8s.io", "Event", event::COLUMNS, event::cells),
    printer("networking.k8s.io", "Ingress", service::INGRESS, service::ingress),
    printer("rbac.authorization.k8s.io", "ClusterRole", basic::CREATED, basic::created),
    printer("rbac.authorization.k8s.io", "ClusterRoleBinding", binding::COLUMNS, binding::cells),
    printer("rbac.authorization.k8s.io", "Role", basic::CREATED, basic::created),
    printer("rbac.authorization.k8s.io", "RoleBinding", binding::COLUMNS, binding::cells),
    printer("scheduling.k8s.io", "PriorityClass", basic::PRIORITY_CLASS, basic::priority_class),
    printer("storage.k8s.io", "StorageClass", volume::STORAGE_CLASS, volume::storage_class),
];

fn find(resource: &Resource) -> &'static Printer {
    KINDS.iter().find(|p| p.group == resource.group && p.kind == resource.kind).unwrap_or(&GENERIC)
}

/// The columns of a kind's Table.
pub fn columns(resource: &Resource) -> &'static [Column] {
    find(resource).columns
}

/// The cells of an object's row, as many as there are columns. `now` is what ages are counted to.
pub fn cells(resource: &Resource, object: &Object, now: Timestamp) -> Vec<Value> {
    (find(resource).cells)(object, now)
}

/// The conditions of an object's row (`TableRowCondition`): that a pod has run to its end.
pub fn row_conditions(resource: &Resource, object: &Object) -> Vec<Value> {
    if resource.group.is_empty() && resource.kind == "Pod" { pod::row_conditions(object) } else { Vec::new() }
}

fn generic(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![object.name().into(), read::age(object, now)]
}

#[cfg(test)]
mod tests;
