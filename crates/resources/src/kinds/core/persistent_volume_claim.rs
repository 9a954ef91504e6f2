//! Claims of volumes.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::volume;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::storage;
use crate::validation::warnings;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "persistentvolumeclaims", PersistentVolumeClaim)
        .short("pvc")
        .returns_deleted()
        .printed(volume::CLAIM, volume::claim)
}

struct PersistentVolumeClaim;

impl Logic for PersistentVolumeClaim {
    fn default(&self, object: &mut Object) {
        defaults::persistent_volume_claim(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        storage::claim(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&storage::claim_update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        storage::claim_status(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::claim(object)
    }
}
