//! `kubectl describe`: an object, and what belongs to it, as text for people.
//!
//! Pure but for [`Related`], by which other objects are asked for. Start with [`describe()`] and the list of describers
//! behind it; what most of them share is in `describe/metadata.rs`, `describe/events.rs` and, for controllers of pods,
//! `describe/pod_template.rs`. Objects are read as they come: what is missing or of another type counts as Go's zero
//! value (`describe/fields.rs`).

mod certificate_signing_request;
mod conditions;
mod config_map;
mod containers;
mod cron_job;
mod csi_node;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod endpoints_of;
mod environment;
mod events;
mod fields;
mod generic;
mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod job;
mod limit_range;
mod metadata;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_amounts;
mod pod_counts;
mod pod_disruption_budget;
mod pod_template;
mod priority_class;
mod probes;
mod related;
mod replica_set;
mod replication_controller;
mod resource_quota;
mod roles;
mod secret;
mod selectors;
mod service;
mod service_account;
mod service_addresses;
mod stateful_set;
mod storage_class;
mod text;
mod view;
mod volumes;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

pub use related::{DescribeError, Related, RelatedError, ResourceName, Selection};
pub use roles::table as rules;
use text::Text;
use view::View;

/// Writes the description of one kind.
type Describer = fn(&View<'_>, &mut Text) -> Result<(), DescribeError>;

/// By group and kind. All others are described by their fields.
const DESCRIBERS: [(&str, &str, Describer); 36] = [
    ("", "ConfigMap", config_map::write),
    ("", "Endpoints", endpoints::write),
    ("", "LimitRange", limit_range::write),
    ("", "Namespace", namespace::write),
    ("", "Node", node::write),
    ("", "PersistentVolume", persistent_volume::write),
    ("", "PersistentVolumeClaim", persistent_volume_claim::write),
    ("", "Pod", pod::write),
    ("", "ReplicationController", replication_controller::write),
    ("", "ResourceQuota", resource_quota::write),
    ("", "Secret", secret::write),
    ("", "Service", service::write),
    ("", "ServiceAccount", service_account::write),
    ("apps", "DaemonSet", daemon_set::write),
    ("apps", "Deployment", deployment::write),
    ("apps", "ReplicaSet", replica_set::write),
    ("apps", "StatefulSet", stateful_set::write),
    ("autoscaling", "HorizontalPodAutoscaler", horizontal_pod_autoscaler::write),
    ("batch", "CronJob", cron_job::write),
    ("batch", "Job", job::write),
    ("certificates.k8s.io", "CertificateSigningRequest", certificate_signing_request::write),
    ("discovery.k8s.io", "EndpointSlice", endpoint_slice::write),
    ("networking.k8s.io", "IPAddress", service_addresses::write_address),
    ("networking.k8s.io", "Ingress", ingress::write),
    ("networking.k8s.io", "IngressClass", ingress_class::write),
    ("networking.k8s.io", "NetworkPolicy", network_policy::write),
    ("networking.k8s.io", "ServiceCIDR", service_addresses::write_range),
    ("policy", "PodDisruptionBudget", pod_disruption_budget::write),
    ("rbac.authorization.k8s.io", "ClusterRole", roles::write),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", roles::write_binding),
    ("rbac.authorization.k8s.io", "Role", roles::write),
    ("rbac.authorization.k8s.io", "RoleBinding", roles::write_binding),
    ("scheduling.k8s.io", "PriorityClass", priority_class::write),
    ("storage.k8s.io", "CSINode", csi_node::write),
    ("storage.k8s.io", "StorageClass", storage_class::write),
    ("storage.k8s.io", "VolumeAttributesClass", storage_class::write_attributes),
];

/// Describes `object` (with `apiVersion` and `kind`) as of `now`, times in the machine's time zone.
///
/// # Errors
/// When something that the description cannot do without is not had.
pub fn describe(
    context: &dyn Related,
    object: &Value,
    now: Timestamp,
    show_events: bool,
) -> Result<String, DescribeError> {
    describe_in(&TimeZone::system(), context, object, now, show_events)
}

/// Describes with times in `zone`.
///
/// # Errors
/// As [`describe()`].
pub fn describe_in(
    zone: &TimeZone,
    context: &dyn Related,
    object: &Value,
    now: Timestamp,
    show_events: bool,
) -> Result<String, DescribeError> {
    let group =
        object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(g, _)| g);
    let kind = object["kind"].as_str().unwrap_or_default();
    let known = DESCRIBERS.iter().find(|(known_group, known, _)| *known_group == group && *known == kind);
    let describer = known.map_or(generic::write as Describer, |(_, _, describer)| *describer);
    let view = View { related: context, object, now, zone: zone.clone(), show_events };
    let mut text = Text::default();
    describer(&view, &mut text)?;
    Ok(text.finish())
}

/// A pod template alone, as descriptions of its owners show it, with tabs between its columns. Nothing else is asked for.
pub fn pod_template(template: &Value, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let view = View { related: &Alone, object: template, now, zone, show_events: false };
    let mut text = Text::default();
    pod_template::write(&mut text, &view, Some(template));
    text.unaligned()
}

/// Nothing beside the object.
struct Alone;

impl Related for Alone {
    fn get(&self, _: ResourceName<'_>, _: Option<&str>, _: &str) -> Result<Value, RelatedError> {
        Err(Self::error())
    }

    fn list(&self, _: ResourceName<'_>, _: Selection<'_>) -> Result<Vec<Value>, RelatedError> {
        Err(Self::error())
    }
}

impl Alone {
    fn error() -> RelatedError {
        RelatedError { reason: String::new(), message: "nothing is asked for".to_owned() }
    }
}
