//! Persistent volumes and claims: which belongs to which, what becomes of a volume whose claim is gone, and what keeps
//! both while they are in use.
//!
//! Start with [`binder`], the loop that decides about claims ([`claim`]) and volumes ([`volume`]). [`protection`] takes
//! the finalizers away, [`class_protection`] those of the classes that they name, [`provisioner`] makes volumes that are directories of nodes, [`ephemeral`] the claims of pods'
//! own volumes. What both sides mean is in `pods::volumes`.

pub mod binder;
mod claim;
pub mod class_protection;
pub mod ephemeral;
pub mod protection;
pub mod provisioner;
mod volume;

pub use binder::BinderController;
pub(crate) use binder::{by_claim as users_of, users};
pub use class_protection::AttributesClassProtectionController;
pub use ephemeral::EphemeralVolumeController;
pub use protection::{ClaimProtectionController, VolumeProtectionController};
pub use provisioner::ProvisionerController;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Sets an annotation; returns whether it had another value.
fn annotate(meta: &mut ObjectMeta, key: &str, value: &str) -> bool {
    let annotations = meta.annotations.get_or_insert_default();
    if annotations.get(key).is_some_and(|held| held == value) {
        return false;
    }
    annotations.insert(key.to_owned(), value.to_owned());
    true
}

#[cfg(test)]
mod tests;
