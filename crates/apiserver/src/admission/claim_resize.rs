//! A claim grows only where its storage class lets volumes grow.
//!
//! Upstream: `plugin/pkg/admission/storage/persistentvolume/resize`.

use api::quantity::Quantity;
use api::{Error, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;

/// The plugin `PersistentVolumeClaimResize`.
pub struct ClaimResize {
    lookup: Lookup,
}

impl ClaimResize {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    fn may_grow(&self, claim: &Object) -> bool {
        let class = claim
            .annotation("volume.beta.kubernetes.io/storage-class")
            .or_else(|| claim.str_at(&["spec", "storageClassName"]));
        let class = class.filter(|class| !class.is_empty());
        let found = class.and_then(|class| self.lookup.object("storage.k8s.io", "storageclasses", "", class));
        found.is_some_and(|class| class.at(&["allowVolumeExpansion"]).and_then(Value::as_bool) == Some(true))
    }
}

fn asked(claim: &Object) -> Quantity {
    let text = claim.str_at(&["spec", "resources", "requests", "storage"]);
    text.and_then(|text| text.parse().ok()).unwrap_or(Quantity::ZERO)
}

impl Immediate for ClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let concerned =
            review.operation == Operation::Update && review.is_about_whole("", "persistentvolumeclaims");
        let (Some(new), Some(old)) = (object.filter(|_| concerned), review.old) else { return Ok(()) };
        if asked(new) <= asked(old) {
            return Ok(());
        }
        if old.str_at(&["status", "phase"]) != Some("Bound") {
            return Err(review.forbid(object, "only bound persistent volume claims can be expanded"));
        }
        if self.may_grow(old) {
            return Ok(());
        }
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                   must support resize";
        Err(review.forbid(object, why))
    }
}
