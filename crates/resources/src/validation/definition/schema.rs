//! The schema of a version: that it is structural, and that its extensions make sense. Sources: upstream's
//! `apiextensions/validation/validation.go` and `apiserver/schema/{structural,validation}.go`.

use api::field::{ErrorList, FieldError, Path};
use serde_json::{Map, Value};

use super::{flag, list, of, text};
use crate::custom::costs::Costs;
use crate::custom::rules::Scope;
use crate::custom::{self, Structural, Type, validate};

/// Where in a schema another one stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// What a schema may not have, and why.
const NOT_SUPPORTED: [(&str, &str); 7] = [
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
    ("$schema", "$schema is not supported"),
];
/// What a judgement inside `allOf` and the like may not have.
const NOT_IN_JUDGEMENTS: [&str; 11] = [
    "additionalProperties",
    "type",
    "description",
    "title",
    "default",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];
const EMPTY: &str = "must be empty to be structural";

/// Everything wrong with a version's schema. `is_new`: whether the schema was not there before; what the rules of one that
/// was cost is not judged again.
pub(super) fn schema(errors: &mut ErrorList, path: &Path<'_>, schema: &Value, is_new: bool) {
    let before = errors.len();
    structure(errors, path, schema, Level::Root);
    if errors.len() == before {
        defaults(errors, path, schema);
        let mut costs = is_new.then(Costs::default);
        rules(errors, path, schema, Scope { whole: true, old_told: true, often: Some(1) }, costs.as_mut());
        if let Some(costs) = costs {
            costs.judge(errors, path);
        }
    }
}

/// The rules in all parts of a schema. What they say of the old state of a value needs values that can be told apart.
fn rules(
    errors: &mut ErrorList,
    path: &Path<'_>,
    schema: &Value,
    scope: Scope,
    mut costs: Option<&mut Costs>,
) {
    let here = Scope { whole: scope.whole || flag(schema, "x-kubernetes-embedded-resource"), ..scope };
    custom::rules::check(errors, path, schema, here, costs.as_deref_mut());
    let below = Scope { whole: false, often: custom::costs::inside(schema, scope.often), ..scope };
    for (name, part) in properties(schema) {
        rules(errors, &path.child("properties").key(name), part, below, costs.as_deref_mut());
    }
    let additional = of(schema, "additionalProperties");
    if additional.is_object() {
        rules(errors, &path.child("additionalProperties"), additional, below, costs.as_deref_mut());
    }
    let items = of(schema, "items");
    if items.is_object() {
        let old_told = scope.old_told && text(schema, "x-kubernetes-list-type") == "map";
        rules(errors, &path.child("items"), items, Scope { old_told, ..below }, costs);
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of(schema, "properties").as_object().into_iter().flatten()
}

/// Whether a field is there and says something.
fn says(schema: &Value, key: &str) -> bool {
    match schema.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty() || key == "additionalProperties",
        Some(_) => true,
    }
}

fn structure(errors: &mut ErrorList, path: &Path<'_>, schema: &Value, level: Level) {
    keywords(errors, path, schema);
    types(errors, path, schema, level);
    embedded(errors, path, schema, level);
    lists(errors, path, schema);
    if let Some(map_type) = of(schema, "x-kubernetes-map-type").as_str() {
        if !["atomic", "granular"].contains(&map_type) {
            let at = path.child("x-kubernetes-map-type");
            errors.push(FieldError::not_supported(&at, map_type, &["atomic", "granular"]));
        }
        required_type(errors, path, schema, "object", "x-kubernetes-map-type is specified");
    }
    for (name, below) in properties(schema) {
        structure(errors, &path.child("properties").key(name), below, Level::Field);
    }
    let additional = of(schema, "additionalProperties");
    if additional.is_object() || additional.is_boolean() {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if properties(schema).next().is_some() && (additional.is_object() || additional == false) {
            errors
                .push(FieldError::forbidden(&at, "additionalProperties and properties are mutual exclusive"));
        }
        if additional.is_object() {
            structure(errors, &at, additional, Level::Field);
        }
    }
    let items = of(schema, "items");
    if items.is_object() {
        structure(errors, &path.child("items"), items, Level::Item);
    }
    judgements(errors, path, schema);
}

fn keywords(errors: &mut ErrorList, path: &Path<'_>, schema: &Value) {
    for (key, detail) in NOT_SUPPORTED {
        if says(schema, key) {
            errors.push(FieldError::forbidden(&path.child(key), detail));
        }
    }
    if flag(schema, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&path.child("uniqueItems"), detail));
    }
    if of(schema, "items").is_array() {
        let detail = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(&path.child("items"), detail));
    }
    if let Some(pattern) = of(schema, "pattern").as_str()
        && let Err(fault) = regex::Regex::new(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {fault}");
        errors.push(FieldError::invalid(&path.child("pattern"), pattern, detail));
    }
    let key = "x-kubernetes-preserve-unknown-fields";
    if of(schema, key) == false {
        errors.push(FieldError::invalid(&path.child(key), false, "must be true or undefined"));
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        for key in [key, "x-kubernetes-embedded-resource"] {
            if flag(schema, key) {
                let detail = "must be false if x-kubernetes-int-or-string is true";
                errors.push(FieldError::invalid(&path.child(key), true, detail));
            }
        }
        if !text(schema, "type").is_empty() {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(FieldError::forbidden(&path.child("type"), detail));
        }
    }
}

fn types(errors: &mut ErrorList, path: &Path<'_>, schema: &Value, level: Level) {
    let at = path.child("type");
    let name = text(schema, "type");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if embedded && name != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if name.is_empty() {
            FieldError::required(&at, detail)
        } else {
            FieldError::invalid(&at, name, detail)
        });
        return;
    }
    let free =
        flag(schema, "x-kubernetes-int-or-string") || flag(schema, "x-kubernetes-preserve-unknown-fields");
    match name {
        "" if !free => {
            let detail = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            errors.push(FieldError::required(&at, detail));
        }
        "" | "object" => {}
        "array" if !says(schema, "items") && !of(schema, "items").is_object() => {
            errors.push(FieldError::required(&path.child("items"), "must be specified"));
        }
        "null" => {
            let detail = "type cannot be set to null, use nullable as an alternative";
            errors.push(FieldError::forbidden(&at, detail));
        }
        "array" | "string" | "integer" | "number" | "boolean" => {}
        other => {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            errors.push(FieldError::not_supported(&at, other, &known));
        }
    }
    if level == Level::Root && !name.is_empty() && name != "object" {
        errors.push(FieldError::invalid(&at, name, "must be object at the root"));
    }
}

/// What whole objects, of which the root is one, may say of the fields that all objects have.
fn embedded(errors: &mut ErrorList, path: &Path<'_>, schema: &Value, level: Level) {
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if embedded && says(schema, "additionalProperties") {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), detail));
    }
    if embedded
        && !flag(schema, "x-kubernetes-preserve-unknown-fields")
        && properties(schema).next().is_none()
    {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(&path.child("properties"), detail));
    }
    if level != Level::Root && !embedded {
        return;
    }
    let at = path.child("properties");
    for (key, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let below = of(of(schema, "properties"), key);
        if below.is_object() && text(below, "type") != wanted {
            let detail = format!("must be {wanted}");
            errors.push(FieldError::invalid(&at.key(key).child("type"), text(below, "type"), detail));
        }
    }
    let metadata = of(of(schema, "properties"), "metadata");
    if level == Level::Root && metadata.is_object() {
        let known = ["name", "generateName"];
        let more = properties(metadata).any(|(name, _)| !known.contains(&name.as_str()));
        if more || says(metadata, "additionalProperties") || says(metadata, "default") {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(&at.key("metadata"), detail));
        }
    }
}

/// A type that an extension of the schema needs.
fn required_type(errors: &mut ErrorList, path: &Path<'_>, schema: &Value, wanted: &str, why: &str) {
    let (at, name) = (path.child("type"), text(schema, "type"));
    if name.is_empty() {
        errors.push(FieldError::required(&at, format!("must be {wanted} if {why}")));
    } else if name != wanted {
        errors.push(FieldError::invalid(&at, name, format!("must be {wanted} if {why}")));
    }
}

fn lists(errors: &mut ErrorList, path: &Path<'_>, schema: &Value) {
    const TYPE: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let (list_type, keys) = (of(schema, TYPE).as_str(), list(schema, KEYS));
    if let Some(given) = list_type {
        required_type(errors, path, schema, "array", "x-kubernetes-list-type is specified");
        if !["atomic", "map", "set"].contains(&given) {
            errors.push(FieldError::not_supported(&path.child(TYPE), given, &["atomic", "map", "set"]));
        }
    }
    if !keys.is_empty() && list_type != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list_type {
            None => FieldError::required(&path.child(TYPE), detail),
            Some(given) => FieldError::invalid(&path.child(TYPE), given, detail),
        });
    }
    let (items, at) = (of(schema, "items"), path.child("items"));
    match list_type {
        Some("set") => {
            if flag(items, "nullable") {
                let detail = "cannot be nullable when x-kubernetes-list-type is set";
                errors.push(FieldError::forbidden(&at.child("nullable"), detail));
            }
            let (map, list) = (text(items, "x-kubernetes-map-type"), text(items, TYPE));
            if text(items, "type") == "object" && map != "atomic" {
                let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
                errors.push(FieldError::invalid(&at.child("x-kubernetes-map-type"), map, detail));
            }
            if text(items, "type") == "array" && !["", "atomic"].contains(&list) {
                let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
                errors.push(FieldError::invalid(&at.child(TYPE), list, detail));
            }
        }
        Some("map") => {
            if keys.is_empty() {
                let detail = "must not be empty if x-kubernetes-list-type is map";
                errors.push(FieldError::required(&path.child(KEYS), detail));
            }
            if !items.is_object() {
                errors.push(FieldError::required(&at, "must have a schema if x-kubernetes-list-type is map"));
            } else if text(items, "type") != "object" {
                let detail = "must be object if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(&at.child("type"), text(items, "type"), detail));
            }
            self::keys(errors, path, keys, items);
        }
        _ => {}
    }
}

/// The keys of the items of a list that is a map.
fn keys(errors: &mut ErrorList, path: &Path<'_>, keys: &[Value], items: &Value) {
    let (own, at) = (path.child("x-kubernetes-list-map-keys"), path.child("items"));
    let mut seen = std::collections::BTreeSet::new();
    for (i, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or("");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&own.index(i), name));
        }
        let below = of(of(items, "properties"), name);
        if !below.is_object() {
            let detail = "entries must all be names of item properties";
            errors.push(FieldError::invalid(&own, keys.to_vec(), detail));
            continue;
        }
        let at = at.child("properties");
        let at = at.key(name);
        if ["object", "array"].contains(&text(below, "type")) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&at.child("type"), text(below, "type"), detail));
        }
        if flag(below, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(&at.child("nullable"), detail));
        }
        let required = list(items, "required").contains(key);
        if !required && of(below, "default").is_null() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(&at.child("default"), detail));
        }
    }
}

/// What stands inside `allOf` and the like only judges, and says nothing of structure that is not said outside.
fn judgements(errors: &mut ErrorList, path: &Path<'_>, schema: &Value) {
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, inner) in list(schema, key).iter().enumerate() {
            judgement(
                errors,
                &path.child(key).index(i),
                inner,
                schema,
                flag(schema, "x-kubernetes-int-or-string"),
            );
        }
    }
    if of(schema, "not").is_object() {
        judgement(errors, &path.child("not"), of(schema, "not"), schema, false);
    }
}

fn judgement(errors: &mut ErrorList, path: &Path<'_>, inner: &Value, outer: &Value, may_name_type: bool) {
    for key in NOT_IN_JUDGEMENTS {
        if says(inner, key) && !(key == "type" && may_name_type) {
            errors.push(FieldError::forbidden(&path.child(key), EMPTY));
        }
    }
    let free = flag(outer, "x-kubernetes-preserve-unknown-fields");
    for (name, below) in properties(inner) {
        let known = of(of(outer, "properties"), name);
        let known = if known.is_object() { known } else { of(outer, "additionalProperties") };
        let at = path.child("properties");
        if known.is_object() {
            judgement(errors, &at.key(name), below, known, false);
        } else if !free {
            let missing = known_path(path, name);
            errors.push(missing);
        }
    }
    if of(inner, "items").is_object() {
        judgement(errors, &path.child("items"), of(inner, "items"), of(outer, "items"), false);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, below) in list(inner, key).iter().enumerate() {
            judgement(errors, &path.child(key).index(i), below, outer, may_name_type);
        }
    }
    if of(inner, "not").is_object() {
        judgement(errors, &path.child("not"), of(inner, "not"), outer, false);
    }
}

/// A property that only a judgement names.
fn known_path(judged_at: &Path<'_>, name: &str) -> FieldError {
    let told = format!("{}.properties[{name}]", judged_at);
    // The path of the schema that the judgement stands in, where the property is missing.
    let cut =
        ["allOf[", "anyOf[", "oneOf[", "not"].iter().filter_map(|key| told.find(&format!(".{key}"))).min();
    let outer = &told[..cut.unwrap_or(told.len())];
    let missing = format!("{outer}.properties[{name}]");
    FieldError::required(&Path::root(&missing), format!("because it is defined in {told}"))
}

/// Defaults have to be right by the schema they stand in.
fn defaults(errors: &mut ErrorList, path: &Path<'_>, schema: &Value) {
    if let Some(default) = Some(of(schema, "default")).filter(|default| !default.is_null()) {
        let structural = Structural::read(schema);
        let at = path.child("default");
        let mut pruned = Map::from_iter([("value".to_owned(), default.clone())]);
        let mut outer = Structural { of_type: Some(Type::Object), ..Structural::default() };
        outer.properties.insert("value".into(), Structural { default: None, ..structural.clone() });
        if !crate::custom::prune(&outer, &mut pruned).is_empty() {
            errors.push(FieldError::invalid(&at, default.clone(), "must not have unknown fields"));
        }
        let mut found = ErrorList::new();
        validate::value(&structural, default, None, &at, &mut found);
        errors.extend(found);
    }
    for (name, below) in properties(schema) {
        defaults(errors, &path.child("properties").key(name), below);
    }
    for key in ["items", "additionalProperties"] {
        if of(schema, key).is_object() {
            defaults(errors, &path.child(key), of(schema, key));
        }
    }
}
