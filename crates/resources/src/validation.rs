//! Validation: per kind, in upstream's words and with its field paths (`pkg/apis/*/validation`).
//! Objects come defaulted and of sound structure; metadata common to all kinds is checked by the
//! machinery.
//!
//! Each function collects everything wrong with an object, in upstream's order. The rows in `kinds`
//! say which kind has which. Start with `pod`; `check` holds what all share.

pub(crate) mod admission_policy;
mod amounts;
pub(crate) mod api_service;
pub(crate) mod autoscaler;
pub(crate) mod batch;
pub(crate) mod certificates;
mod check;
mod claim_spec;
pub(crate) mod cluster;
mod conditions;
pub(crate) mod config;
pub(crate) mod csi;
pub(crate) mod definition;
pub(crate) mod device_slice;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod flowcontrol;
pub(crate) mod ingress;
pub(crate) mod network;
pub(crate) mod network_policy;
pub(crate) mod pod;
pub(crate) mod policy;
pub mod policy_types;
pub(crate) mod quota;
pub(crate) mod rbac;
mod read;
pub(crate) mod runtime_class;
mod selector;
pub(crate) mod service;
pub(crate) mod service_ranges;
pub(crate) mod stateful_set;
pub(crate) mod storage;
pub(crate) mod warnings;
pub(crate) mod webhook;
pub(crate) mod workload;
pub(crate) mod workload_status;

pub(crate) use check::IMMUTABLE;
pub use service::service_address_errors;

#[cfg(test)]
mod tests;
