//! Storage classes.

use api::Object;
use api::field::ErrorList;

use crate::columns::volume;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::row::Immutable;
use crate::validation::IMMUTABLE;
use crate::validation::storage;
use crate::validation::warnings;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("storage.k8s.io/v1", "storageclasses", StorageClass)
        .short("sc")
        .returns_deleted()
        .immutable(Immutable::forbidden(&["parameters"], "updates to parameters are forbidden."))
        .immutable(Immutable::forbidden(&["provisioner"], "updates to provisioner are forbidden."))
        .immutable(Immutable::forbidden(&["reclaimPolicy"], "updates to reclaimPolicy are forbidden."))
        .immutable(Immutable::invalid(&["volumeBindingMode"], IMMUTABLE))
        .printed(volume::STORAGE_CLASS, volume::storage_class)
}

struct StorageClass;

impl Logic for StorageClass {
    fn default(&self, object: &mut Object) {
        defaults::storage_class(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        storage::storage_class(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::storage_class(object)
    }
}
