//! Replication controllers.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, ScalePaths};
use crate::status;
use crate::validation::pod;
use crate::validation::warnings;
use crate::validation::workload as valid;
use crate::validation::workload_status;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "replicationcontrollers", ReplicationController)
        .short("rc")
        .category("all")
        .stored_at("controllers")
        .counts_changes()
        .orphans_by_default()
        .selectable("status.replicas")
        .printed(workload::REPLICAS, workload::replication_controller)
        .part("scale", PartHandler::Scale(ScalePaths::replicas()))
}

struct ReplicationController;

impl Logic for ReplicationController {
    fn default(&self, object: &mut Object) {
        defaults::replication_controller(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"replicas": 0}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        valid::replication_controller(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("the selector may change, unlike that of a replica set")
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        workload_status::replicas(new, old)
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
