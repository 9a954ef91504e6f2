//! Stateful sets.

use api::Object;
use api::field::ErrorList;
use api::names;
use serde_json::json;

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, ScalePaths};
use crate::status;
use crate::validation::warnings;
use crate::validation::{pod, stateful_set};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("apps/v1", "statefulsets", StatefulSet)
        .short("sts")
        .category("all")
        .named(names::dns1123_label)
        .counts_changes()
        .printed(workload::STATEFUL_SET, workload::stateful_set)
        .part("scale", PartHandler::Scale(ScalePaths::replicas()))
}

struct StatefulSet;

impl Logic for StatefulSet {
    fn default(&self, object: &mut Object) {
        defaults::stateful_set(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"replicas": 0, "availableReplicas": 0}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        stateful_set::create(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&stateful_set::update)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut texts = pod::template_warnings(object);
        texts.extend(warnings::stateful_set(object));
        texts
    }
}
