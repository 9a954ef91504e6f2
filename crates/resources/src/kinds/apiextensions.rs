//! Definitions of custom resources: the version first stored is on record from the start.

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::{defaults, fill, validation};

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

/// What keeps a definition while its objects are deleted.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

struct Definition;

impl Logic for Definition {
    fn default(&self, object: &mut Object) {
        defaults::custom_resource_definition(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        prepare_new(object);
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        status::keep(new, old);
        add_stored_version(new);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::definition::definition(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&validation::definition::update)
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        validation::definition::status(new)
    }

    /// Even one that nothing else holds is marked first.
    fn is_held(&self, object: &Object) -> bool {
        object.deletion_timestamp().is_none()
    }

    /// A definition stays until its objects are gone.
    fn mark_deleted(&self, object: &mut Object) {
        let mut finalizers: Vec<Value> = object.finalizers().map(Into::into).collect();
        if !finalizers.iter().any(|known| known == CLEANUP) {
            finalizers.push(CLEANUP.into());
        }
        let since = object.deletion_timestamp().map(str::to_owned);
        object.metadata_mut().insert("finalizers".to_owned(), finalizers.into());
        let terminating = json!({
            "type": "Terminating", "status": "True", "lastTransitionTime": since, "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
        let Some(status) = fill::object(&mut object.0, "status") else { return };
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        let Some(conditions) = conditions.as_array_mut() else { return };
        conditions.retain(|known| known.get("type").and_then(Value::as_str) != Some("Terminating"));
        conditions.push(terminating);
    }
}

/// The storage version is on record from the moment that objects may be stored in it.
fn add_stored_version(definition: &mut Object) {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten();
    let mut stored = versions.filter(|v| v.get("storage").and_then(Value::as_bool) == Some(true));
    let Some(name) = stored.next().and_then(|version| version.get("name")).cloned() else { return };
    let Some(status) = fill::object(&mut definition.0, "status") else { return };
    let known = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(known) = known.as_array_mut()
        && !known.contains(&name)
    {
        known.push(name);
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
