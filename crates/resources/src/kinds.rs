//! The built-in kinds: a file a kind, in a folder a group, small ones together. Each says what its generated line
//! of `data/rows.txt` does not: [`builder::Kind`].
//!
//! Start with [`ALL`], the one list. [`assemble`] joins the lines and the kinds, and refuses a line without a kind
//! and a kind without a line.

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod assemble;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod builder;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod line;
mod metrics;
mod networking;
mod node;
mod policy;
mod rbac;
mod removed;
mod resource;
mod scheduling;
mod storage;

use std::sync::Arc;

use crate::row::Resource;
use crate::table::order::in_discovery_order;
use builder::Kind;

/// All built-in kinds, by group.
const ALL: &[fn() -> Kind] = &[
    core::small::binding,
    core::small::component_status,
    core::config_map::kind,
    core::endpoints::kind,
    core::event::kind,
    core::limit_range::kind,
    core::namespace::kind,
    core::node::kind,
    core::persistent_volume::kind,
    core::persistent_volume_claim::kind,
    core::pod::kind,
    core::pod_template::kind,
    core::replication_controller::kind,
    core::resource_quota::kind,
    core::secret::kind,
    core::service::kind,
    core::service_account::kind,
    admissionregistration::policy::mutating,
    admissionregistration::policy::mutating_binding,
    admissionregistration::policy::validating,
    admissionregistration::policy::validating_binding,
    admissionregistration::webhook::mutating,
    admissionregistration::webhook::validating,
    apiextensions::custom_resource_definition,
    apiregistration::api_service,
    apps::controller_revision::kind,
    apps::daemon_set::kind,
    apps::deployment::kind,
    apps::replica_set::kind,
    apps::stateful_set::kind,
    authentication::self_subject_review,
    authentication::token_review,
    authorization::local_subject_access_review,
    authorization::self_subject_access_review,
    authorization::self_subject_rules_review,
    authorization::subject_access_review,
    autoscaling::v1,
    autoscaling::v2,
    batch::cron_job::kind,
    batch::job::kind,
    certificates::certificate_signing_request,
    coordination::lease,
    discovery::endpoint_slice,
    events::event,
    flowcontrol::flow_schema,
    flowcontrol::priority_level_configuration,
    metrics::nodes,
    metrics::pods,
    networking::ingress::kind,
    networking::ingress_class::kind,
    networking::network_policy::kind,
    networking::small::ip_address,
    networking::small::service_cidr,
    node::runtime_class,
    policy::pod_disruption_budget,
    rbac::cluster_role,
    rbac::cluster_role_binding,
    rbac::role,
    rbac::role_binding,
    resource::device_class,
    resource::resource_claim,
    resource::resource_claim_template,
    resource::resource_slice,
    scheduling::priority_class,
    storage::csi::driver,
    storage::csi::node,
    storage::csi::storage_capacity,
    storage::class::kind,
    storage::volume::attachment,
    storage::volume::attributes_class,
];

/// The generated lines: names, scope, verbs, subresources.
const LINES: &str = include_str!("../data/rows.txt");

/// The rows of the built-in kinds, in discovery's order.
pub(crate) fn builtin() -> Vec<Arc<Resource>> {
    let kinds = ALL.iter().map(|kind| kind()).collect();
    let mut rows =
        assemble::assemble(LINES, kinds).expect("every generated line has its kind, and every kind its line");
    rows.extend(removed::aliases(&rows));
    let order = in_discovery_order(rows.iter().map(|row| row.group_version()).collect());
    rows.sort_by_cached_key(|row| order.iter().position(|version| *version == row.group_version()));
    rows
}

#[cfg(test)]
mod tests;
