//! Registrations of groups and versions (APIServices): [`registration`] makes those of what this server serves itself,
//! [`availability`] says in the status of each whether it is served now. Upstream: `kube-aggregator/pkg/controllers`.

pub mod availability;
pub mod metrics;
pub mod registration;
