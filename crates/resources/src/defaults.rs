//! Defaults of the built-in kinds, as upstream's `pkg/apis/*/*/defaults.go` has them: what an
//! object says when its author said nothing.
//!
//! One function a kind, named like it, on the dynamic object; all are idempotent and never fail: a
//! field of another type than expected is left for validation. The rows in `kinds` say which kind
//! has which. Start with [`pod()`].

mod claim;
mod cluster;
mod container;
mod extension;
mod network;
mod pod;
mod resource_list;
mod storage;
mod volume;
mod workload;

pub(crate) use cluster::{
    flow_schema, limit_range, namespace, node, priority_class, priority_level, resource_quota, role_binding,
    secret,
};
pub(crate) use extension::{
    admission_policy, admission_policy_binding, api_service, custom_resource_definition, device_claim,
    device_claim_template, webhooks,
};
pub(crate) use network::{endpoint_slice, endpoints, ingress_class, network_policy, service};
pub(crate) use pod::{pod, pod_template};
pub(crate) use storage::{csi_driver, persistent_volume, persistent_volume_claim, storage_class};
pub(crate) use workload::{
    autoscaler, cron_job, daemon_set, deployment, job, replica_set, replication_controller, stateful_set,
};

#[cfg(test)]
mod tests;
