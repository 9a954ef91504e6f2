//! A version of a definition: its columns, subresources and selectable fields.

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::{check, flag, list, of, schema, text};
use crate::custom::{JsonPath, Structural, Type};

const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const MAX_SELECTABLE: usize = 8;

/// Everything wrong with a version. `old`: the one of the same name that was there before.
pub(super) fn version(errors: &mut ErrorList, path: &Path<'_>, version: &Value, old: &Value) {
    deprecation(errors, path, version);
    let given = of(of(version, "schema"), "openAPIV3Schema");
    let (at, key) = (path.child("schema"), "openAPIV3Schema");
    if given.is_object() {
        let is_new = of(of(old, "schema"), key) != given;
        schema::schema(errors, &at.child(key), given, is_new);
    } else {
        errors.push(FieldError::required(&at.child(key), "schemas are required"));
    }
    subresources(errors, &path.child("subresources"), of(version, "subresources"));
    for (i, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        self::column(errors, &path.child("additionalPrinterColumns").index(i), column);
    }
    selectable(errors, &path.child("selectableFields"), version, given);
}

fn deprecation(errors: &mut ErrorList, path: &Path<'_>, version: &Value) {
    let Some(warning) = of(version, "deprecationWarning").as_str() else { return };
    let at = path.child("deprecationWarning");
    if !flag(version, "deprecated") {
        errors.push(FieldError::invalid(&at, warning, "can only be set for deprecated versions"));
    }
    if warning.is_empty() {
        errors.push(FieldError::invalid(&at, warning, "must be at least 1 character long"));
    }
    if warning.len() > 256 {
        errors.push(FieldError::invalid(&at, warning, "must be <= 256 characters"));
    }
}

fn column(errors: &mut ErrorList, path: &Path<'_>, column: &Value) {
    check::required(errors, &path.child("name"), text(column, "name"));
    check::one_of(errors, &path.child("type"), text(column, "type"), &TYPES);
    check::if_given_one_of(errors, &path.child("format"), text(column, "format"), &FORMATS);
    let (at, given) = (path.child("jsonPath"), text(column, "jsonPath"));
    if check::required(errors, &at, given) {
        simple(errors, &at, given);
    }
}

/// A path that begins at the object and can be read.
fn simple(errors: &mut ErrorList, path: &Path<'_>, given: &str) -> bool {
    let fault = if !given.starts_with('.') {
        Some("must be a simple json path starting with .".to_owned())
    } else {
        JsonPath::parse(given).err().map(|fault| format!("is an invalid path: {fault}"))
    };
    let right = fault.is_none();
    errors.extend(fault.map(|fault| FieldError::invalid(path, given, fault)));
    right
}

fn subresources(errors: &mut ErrorList, path: &Path<'_>, parts: &Value) {
    let scale = of(parts, "scale");
    if !scale.is_object() {
        return;
    }
    let path = path.child("scale");
    let (at, given) = (path.child("specReplicasPath"), text(scale, "specReplicasPath"));
    if check::required(errors, &at, given) && simple(errors, &at, given) && !given.starts_with(".spec.") {
        errors.push(FieldError::invalid(&at, given, "should be a json path under .spec"));
    }
    let (at, given) = (path.child("statusReplicasPath"), text(scale, "statusReplicasPath"));
    if check::required(errors, &at, given) && simple(errors, &at, given) && !given.starts_with(".status.") {
        errors.push(FieldError::invalid(&at, given, "should be a json path under .status"));
    }
    let (at, given) = (path.child("labelSelectorPath"), text(scale, "labelSelectorPath"));
    if !given.is_empty()
        && simple(errors, &at, given)
        && !(given.starts_with(".status.") || given.starts_with(".spec."))
    {
        errors.push(FieldError::invalid(&at, given, "should be a json path under either .status or .spec"));
    }
}

fn selectable(errors: &mut ErrorList, path: &Path<'_>, version: &Value, schema: &Value) {
    let fields = list(version, "selectableFields");
    if fields.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(path, fields.len(), MAX_SELECTABLE));
    }
    let structural = Structural::read(schema);
    let mut seen = std::collections::BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        let item = path.index(i);
        let (at, given) = (item.child("jsonPath"), text(field, "jsonPath"));
        if !check::required(errors, &at, given) {
            continue;
        }
        let names =
            JsonPath::parse(given).ok().and_then(|path| path.fields()).filter(|_| given.starts_with('.'));
        let Some(names) = names else {
            let detail = "is an invalid path: must be a simple json path of fields, starting with .";
            errors.push(FieldError::invalid(&at, given, detail));
            continue;
        };
        if names.first().is_some_and(|first| first == "metadata") {
            errors.push(FieldError::invalid(&at, given, "must not point to fields in metadata"));
        } else {
            let found = names.iter().try_fold(&structural, |schema, name| schema.properties.get(&**name));
            let right = [Type::String, Type::Integer, Type::Boolean];
            if !found.is_some_and(|schema| schema.of_type.is_some_and(|of| right.contains(&of))) {
                let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.push(FieldError::invalid(&at, given, detail));
            }
        }
        if !seen.insert(given) {
            errors.push(FieldError::duplicate(&at, given));
        }
    }
}
