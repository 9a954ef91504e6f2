//! Storage.

pub(super) mod class;
pub(super) mod csi;
pub(super) mod volume;
