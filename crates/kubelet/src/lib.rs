//! The node agent: runs the pods bound to this node through the Container Runtime Interface.
//!
//! Start at [`planner`], the pure heart, and [`seams`] for the boundaries inside. Pods come from a
//! source, the runtime's state from CRI events; the planner compares the two and a worker per pod
//! carries out the plan. This crate never depends on a particular runtime and never reads the store.

pub mod admission;
pub mod allocation;
pub mod config;
pub mod container_config;
pub mod cri_calls;
pub mod cri_view;
pub mod devices;
pub mod environment;
pub mod events;
pub mod eviction;
pub mod executor;
#[cfg(test)]
mod fakes;
pub mod hosts;
pub mod images;
pub mod inspect;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod node_facts;
pub mod origin;
pub mod planner;
pub mod plugins;
pub mod pod_api;
pub mod pod_cgroup;
pub mod pod_dirs;
pub mod pod_logs;
pub mod pressure;
pub mod probes;
pub mod process_pods;
mod relist;
pub mod resolv;
pub mod resources;
pub mod run;
pub mod sandbox_config;
pub mod seams;
pub mod server;
pub mod source;
pub mod static_pods;
pub mod status;
pub mod volumes;
pub mod worker;
pub mod workers;
