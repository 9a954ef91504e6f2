//! The cluster's control loops: one pure reconciler a file, all started by [`start_all`].
//!
//! Start with [`start`], the list. Each controller declares in `sources` what it reads, reads it in
//! `observe`, and decides in `reconcile`; the `informer` crate runs the loops and carries plans out. The
//! garbage collector, which follows every served kind, has a loop of its own.
//!
//! Never here: a write outside a plan, a poll, a decision that a restart would forget (but an autoscaler's
//! recent recommendations, which upstream forgets as well).

pub mod address_repair;
pub mod api_service;
pub mod attach_detach;
pub mod autoscaler;
pub mod bootstrap_tokens;
pub mod certificates;
mod claim;
pub mod cluster_role_aggregation;
mod collection;
pub mod cron_job;
pub mod custom_resource_definition;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod extension_authentication;
pub mod flow_schema;
pub mod garbage_collector;
#[cfg(test)]
mod golden;
mod history;
pub mod job;
pub mod kubernetes_service;
pub mod load_balancer;
#[cfg(test)]
mod merge;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod node_port_repair;
mod node_view;
mod orphans;
pub mod pod_gc;
pub mod replicas;
pub mod resource_claim;
pub mod resource_quota;
pub mod root_ca;
mod scaled;
mod selecting;
pub mod service_account;
pub mod service_account_token;
pub mod service_cidr;
mod service_endpoints;
pub mod start;
pub mod stateful_set;
pub mod taint_eviction;
mod target;
mod template;
mod tolerations;
pub mod ttl_after_finished;
pub mod validating_admission_policy_status;
pub mod volumes;

pub use node_ipam::{ClusterCidr, InvalidCidr};
pub use start::{Config, keep_api_service, start_all};
