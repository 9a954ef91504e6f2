//! Deployments: annotations count as changes too, for their controller copies them.

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
    Kind::new("apps/v1", "deployments", Deployment)
        .short("deploy")
        .category("all")
        .counts_changes()
        .immutable(Immutable::invalid(&["spec", "selector"], IMMUTABLE))
        .printed(workload::DEPLOYMENT, workload::deployment)
        .part("scale", PartHandler::Scale(ScalePaths::replicas()))
}

struct Deployment;

impl Logic for Deployment {
    fn default(&self, object: &mut Object) {
        defaults::deployment(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        prepare_update(new, old);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        prepare_status_update(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        valid::deployment(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        workload_status::deployment(new, old)
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

fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    let annotations = |o: &Object| o.metadata().and_then(|m| m.get("annotations")).cloned();
    if annotations(new) != annotations(old) {
        new.metadata_mut().insert("generation".into(), (old.generation() + 1).into());
    }
}

fn prepare_status_update(new: &mut Object, old: &Object) {
    status::keep_all_but_status(new, old);
    status::keep_metadata(new, old, &["labels"]);
}
