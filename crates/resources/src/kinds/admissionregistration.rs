//! What extends admission.

pub(super) mod policy;
pub(super) mod webhook;
