//! Definitions of custom resources: the version first stored is on record from the start.

use api::Object;
use serde_json::{Value, json};

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;

pub(super) fn custom_resource_definition() -> Kind {
    Kind::new("apiextensions.k8s.io/v1", "customresourcedefinitions", Definition)
        .short("crd")
        .short("crds")
        .category("api-extensions")
        .stored_at("apiextensions.k8s.io/customresourcedefinitions")
        .counts_changes()
        .updated_by_version()
        .columns(basic::CREATED)
}

struct Definition;

impl Logic for Definition {
    fn default(&self, object: &mut Object) {
        defaults::custom_resource_definition(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        prepare_new(object);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::NotYetJudged("group, scope and names of what is served are immutable")
    }
}

fn prepare_new(definition: &mut Object) {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array);
    let stored: Vec<Value> = versions
        .into_iter()
        .flatten()
        .filter(|v| v.get("storage").and_then(Value::as_bool) == Some(true))
        .filter_map(|v| v.get("name").cloned())
        .collect();
    let start = json!({
        "conditions": [],
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    });
    status::start(definition, start);
}
