//! The kinds that extend admission.

pub(super) mod policy;
pub(super) mod webhook;
