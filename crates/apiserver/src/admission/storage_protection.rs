//! Claims, volumes and classes of attributes are made with the finalizer that keeps them while they are in use.
//!
//! Upstream: `plugin/pkg/admission/storage/storageobjectinuseprotection`.

use api::{Error, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};

/// The plugin `StorageObjectInUseProtection`.
pub struct StorageProtection;

/// Group, resource and finalizer.
const FINALIZERS: [(&str, &str, &str); 3] = [
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

impl Immediate for StorageProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = FINALIZERS.iter().find(|(group, plural, _)| review.is_about_whole(group, plural));
        let (Some((.., finalizer)), Operation::Create, Some(object)) = (concerned, review.operation, object)
        else {
            return Ok(());
        };
        let held = object.at(&["metadata", "finalizers"]).and_then(Value::as_array);
        let mut finalizers = held.cloned().unwrap_or_default();
        if !finalizers.iter().any(|held| held == finalizer) {
            finalizers.push((*finalizer).into());
            object.set_at(&["metadata", "finalizers"], finalizers.into());
        }
        Ok(())
    }
}
