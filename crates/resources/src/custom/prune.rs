//! Takes away what a structural schema does not name. Source: upstream's
//! `apiextensions-apiserver/pkg/apiserver/schema/pruning`.

use api::codec::structure;
use api::field::Path;
use serde_json::{Map, Value};

use super::structural::{Additional, Structural};
use crate::schema_data::builtin_types;

/// At most so many unknown fields are reported, as upstream.
const MAX_REPORTED: usize = 100;
/// The fields of a whole object that every schema has.
const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes away the fields of a whole object that the schema does not name, and returns their paths.
pub(crate) fn prune(schema: &Structural, object: &mut Map<String, Value>) -> Vec<String> {
    let mut unknown = Vec::new();
    map(schema, object, true, &Path::root(""), &mut unknown);
    unknown
}

fn map(
    schema: &Structural,
    fields: &mut Map<String, Value>,
    whole: bool,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    let implied = |key: &str| whole && OF_OBJECTS.contains(&key);
    let kept = |key: &str| {
        schema.preserve_unknown
            || implied(key)
            || schema.properties.contains_key(key)
            || matches!(schema.additional, Additional::Allowed(true) | Additional::Of(_))
    };
    let mut any = false;
    for (key, value) in &mut *fields {
        if !kept(key) {
            any = true;
            if unknown.len() < MAX_REPORTED {
                unknown.push(path.child(key).to_string());
            }
        } else if implied(key) {
            if key == "metadata" && schema.embedded {
                metadata(value, &path.child(key), unknown);
            }
        } else if let Some(below) = schema.properties.get(key.as_str()) {
            inside(below, value, &path.child(key), unknown);
        } else if let Additional::Of(below) = &schema.additional {
            inside(below, value, &path.child(key), unknown);
        }
    }
    if any {
        fields.retain(|key, _| kept(key));
    }
}

/// Takes away what a value that is no whole object has too much. A schema that keeps what it does not know still
/// prunes below the properties it names.
fn inside(schema: &Structural, value: &mut Value, path: &Path<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => map(schema, fields, schema.embedded, path, unknown),
        Value::Array(items) => {
            // Where the schema says nothing of the items they hold nothing, unless unknown fields are kept.
            let nothing = Structural::default();
            let below = match &schema.items {
                Some(below) => below,
                None if schema.preserve_unknown => return,
                None => &nothing,
            };
            for (i, item) in items.iter_mut().enumerate() {
                inside(below, item, &path.index(i), unknown);
            }
        }
        _ => {}
    }
}

/// The metadata of an embedded object.
fn metadata(value: &mut Value, path: &Path<'_>, unknown: &mut Vec<String>) {
    let types = builtin_types();
    let Some(id) = types.find("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else { return };
    let Some(fields) = value.as_object_mut() else { return };
    let mut object = api::Object(std::mem::take(fields));
    // Metadata that is none is for validation to refuse.
    if let Ok(report) = structure::check(types, id, &mut object) {
        unknown.extend(report.unknown.iter().map(|field| format!("{path}.{field}")));
    }
    *fields = object.0;
}
