//! Replica sets.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, ScalePaths};
use crate::row::Immutable;
use crate::status;
use crate::validation::IMMUTABLE;
use crate::validation::pod;
use crate::validation::warnings;
use crate::validation::workload as valid;
use crate::validation::workload_status;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("apps/v1", "replicasets", ReplicaSet)
        .short("rs")
        .category("all")
        .counts_changes()
        .selectable("status.replicas")
        .immutable(Immutable::invalid(&["spec", "selector"], IMMUTABLE))
        .printed(workload::REPLICAS, workload::replica_set)
        .part("scale", PartHandler::Scale(ScalePaths::replicas()))
}

struct ReplicaSet;

impl Logic for ReplicaSet {
    fn default(&self, object: &mut Object) {
        defaults::replica_set(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"replicas": 0}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        valid::replica_set(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        workload_status::replica_set(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        pod::template_warnings(object)
    }

    fn warnings_on_create(&self, object: &Object) -> Vec<String> {
        let mut warnings: Vec<String> = warnings::of_pods_name(object).into_iter().collect();
        warnings.extend(self.warnings(object));
        warnings
    }
}
