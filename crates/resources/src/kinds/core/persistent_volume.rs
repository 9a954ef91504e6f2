//! Volumes of the cluster.

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
    Kind::new("v1", "persistentvolumes", PersistentVolume)
        .short("pv")
        .returns_deleted()
        .printed(volume::VOLUME, volume::volume)
}

struct PersistentVolume;

impl Logic for PersistentVolume {
    fn default(&self, object: &mut Object) {
        defaults::persistent_volume(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        storage::volume(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&storage::volume_update)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::volume(object)
    }
}
