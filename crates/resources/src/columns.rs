//! Server-side Tables: which columns a kind has, and what stands in them.
//!
//! Start with [`Printer`], which a row carries. A built-in kind with columns of its own is one entry of
//! [`KINDS`]; the rest have name and age. Facts: upstream's `pkg/printers/internalversion/printers.go`.
//! Nothing here reads a clock.

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

use std::sync::{Arc, LazyLock};

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

/// The head of a column, as in `meta.k8s.io/v1` `TableColumnDefinition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub name: &'a str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'a str,
    /// `name` for the object's name, else empty.
    pub format: &'a str,
    pub description: &'a str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Makes Tables of a kind's objects.
pub trait Printer: Send + Sync {
    /// The columns.
    fn heads(&self) -> Vec<Head<'_>>;

    /// The cells of an object's row, as many as there are columns. `now` is what ages are counted to.
    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value>;

    /// The conditions of an object's row (`TableRowCondition`): that a pod has run to its end.
    fn conditions(&self, _object: &Object) -> Vec<Value> {
        Vec::new()
    }
}

/// A column of a built-in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    head: Head<'static>,
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

/// A built-in kind's columns and the functions that fill them.
#[derive(Clone, Copy)]
struct Columns {
    columns: &'static [Column],
    /// Makes the row; `None` where the columns say where their cells come from.
    cells: Option<fn(&Object, Timestamp) -> Vec<Value>>,
    conditions: fn(&Object) -> Vec<Value>,
}

impl Printer for Columns {
    fn heads(&self) -> Vec<Head<'_>> {
        self.columns.iter().map(|column| column.head).collect()
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        match self.cells {
            Some(cells) => cells(object, now),
            None => self.columns.iter().map(|column| column.cell(object, now)).collect(),
        }
    }

    fn conditions(&self, object: &Object) -> Vec<Value> {
        (self.conditions)(object)
    }
}

/// The kind's name and its printer.
struct Entry {
    group: &'static str,
    kind: &'static str,
    printer: Columns,
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { head: Head { name, kind, format: "", description, priority: 0 }, source: Source::Code }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { head: Head { name, kind, format: "", description, priority: 1 }, source: Source::Code }
}

const NAME: Column = Column {
    head: Head {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name must be unique within a namespace. Is required when creating resources. Cannot be updated.",
        priority: 0,
    },
    source: Source::Name,
};

const AGE: Column = column(
    "Age",
    "string",
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
)
.from(Source::Age);

/// A kind whose rows a function makes.
const fn printer(
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Object, Timestamp) -> Vec<Value>,
) -> Entry {
    Entry { group, kind, printer: Columns { columns, cells: Some(cells), conditions: |_| Vec::new() } }
}

/// A kind whose columns say it all.
const fn plain(group: &'static str, kind: &'static str, columns: &'static [Column]) -> Entry {
    Entry { group, kind, printer: Columns { columns, cells: None, conditions: |_| Vec::new() } }
}

/// All kinds with columns of their own.
const KINDS: &[Entry] = &[
    plain("", "ComponentStatus", basic::COMPONENT_STATUS),
    printer("", "ConfigMap", basic::CONFIG_MAP, basic::config_map),
    printer("", "Endpoints", service::ENDPOINTS, service::endpoints),
    printer("", "Event", event::COLUMNS, event::cells),
    plain("", "LimitRange", basic::CREATED),
    plain("", "Namespace", basic::NAMESPACE),
    printer("", "Node", node::COLUMNS, node::cells),
    printer("", "PersistentVolume", volume::VOLUME, volume::volume),
    printer("", "PersistentVolumeClaim", volume::CLAIM, volume::claim),
    Entry {
        group: "",
        kind: "Pod",
        printer: Columns { columns: pod::COLUMNS, cells: Some(pod::cells), conditions: pod::row_conditions },
    },
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

/// Name and age, which any kind has.
pub fn name_and_age() -> Arc<dyn Printer> {
    static SHARED: LazyLock<Arc<dyn Printer>> = LazyLock::new(|| {
        Arc::new(Columns { columns: &[NAME, AGE], cells: None, conditions: |_| Vec::new() })
    });
    Arc::clone(&SHARED)
}

/// The printer of `autoscaling/v1` Scales, which no row has.
pub fn scale() -> &'static dyn Printer {
    const SCALE: Columns = Columns { columns: basic::SCALE, cells: None, conditions: |_| Vec::new() };
    &SCALE
}

/// The printer of a built-in kind.
pub(crate) fn printer_of(group: &str, kind: &str) -> Arc<dyn Printer> {
    match KINDS.iter().find(|entry| entry.group == group && entry.kind == kind) {
        Some(entry) => Arc::new(entry.printer),
        None => name_and_age(),
    }
}

#[cfg(test)]
mod tests;
