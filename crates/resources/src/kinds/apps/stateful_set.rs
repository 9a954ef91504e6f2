//! Stateful sets.

use api::Object;
use api::field::ErrorList;
use api::names;
use serde_json::{Value, json};

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, ScalePaths};
use crate::status;
use crate::validation::warnings;
use crate::validation::{pod, stateful_set, workload_status};

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
        drop_unserved(object, None);
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        status::keep(new, old);
        drop_unserved(new, Some(old));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        stateful_set::create(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&stateful_set::update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        workload_status::stateful_set(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut texts = pod::template_warnings(object);
        texts.extend(warnings::stateful_set(object));
        texts
    }
}

const MAX_UNAVAILABLE: [&str; 4] = ["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"];

/// Leaves out `maxUnavailable` unless the old object has it: upstream's v1.36 has the feature off, because it broke
/// sets whose pods are managed in parallel (`MaxUnavailableStatefulSet`), and updates one pod at a time.
fn drop_unserved(new: &mut Object, old: Option<&Object>) {
    if old.is_some_and(|old| old.at(&MAX_UNAVAILABLE).is_some_and(|value| !value.is_null())) {
        return;
    }
    let rolling = new.0.get_mut("spec").and_then(|spec| spec.pointer_mut("/updateStrategy/rollingUpdate"));
    if let Some(rolling) = rolling.and_then(Value::as_object_mut) {
        rolling.remove("maxUnavailable");
    }
}
