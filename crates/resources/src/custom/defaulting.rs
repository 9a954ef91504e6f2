//! Fills in a schema's defaults. Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/defaulting`.

use serde_json::{Map, Value};

use super::structural::{Additional, Structural};

/// Fills in the absent fields of an object that have defaults, and takes away nulls where none may be. Idempotent.
pub(crate) fn fill(schema: &Structural, fields: &mut Map<String, Value>) {
    for (name, below) in &schema.properties {
        let Some(default) = &below.default else { continue };
        let absent = match fields.get(&**name) {
            None => true,
            Some(value) => value.is_null() && !below.nullable,
        };
        if absent {
            fields.insert(name.to_string(), (**default).clone());
        }
    }
    let mut nulls = false;
    for (key, value) in &mut *fields {
        let Some(below) = schema.below(key) else { continue };
        if value.is_null() && !below.nullable {
            // Those of properties are filled in above.
            match (&below.default, &schema.additional) {
                (Some(default), Additional::Of(_)) => *value = (**default).clone(),
                _ => {
                    nulls = true;
                    continue;
                }
            }
        }
        inside(below, value);
    }
    if nulls {
        fields.retain(|key, value| !value.is_null() || schema.below(key).is_none_or(|below| below.nullable));
    }
}

fn inside(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(fields) => fill(schema, fields),
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            for item in items {
                if item.is_null()
                    && !below.nullable
                    && let Some(default) = &below.default
                {
                    *item = (**default).clone();
                }
                inside(below, item);
            }
        }
        _ => {}
    }
}
