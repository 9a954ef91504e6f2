//! Networking.

pub(super) mod ingress;
pub(super) mod ingress_class;
pub(super) mod network_policy;
pub(super) mod small;
