//! Judges an object by a structural schema, in upstream's words (`k8s.io/kube-openapi/pkg/validation/validate`, and
//! `kubeOpenAPIResultToFieldErrors` of `apiextensions-apiserver/pkg/apiserver/validation`).
//!
//! Start with [`object`]. `lists` judges sets and maps, `embedded` objects inside objects, `format` the texts with a grammar of their own.

pub(crate) mod embedded;
pub(crate) mod lists;
mod numbers;

use api::field::{ErrorList, FieldError, Path};
use serde_json::{Map, Value};

use super::structural::{Keywords, Structural, Type};

/// Everything wrong with an object by its schema. Of an update, what is as it was in the old object is not judged
/// again (upstream: `CRDValidationRatcheting`).
pub(crate) fn object(
    schema: &Structural,
    object: &Map<String, Value>,
    old: Option<&Map<String, Value>>,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("");
    fields(schema, object, old, &path, &mut errors);
    errors
}

/// Everything wrong with a value, as upstream orders it.
pub(crate) fn value(
    schema: &Structural,
    value: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if old == Some(value) || !of_type(schema, value, path, errors) || value.is_null() {
        return;
    }
    if let Some(keywords) = schema.keywords.as_deref() {
        combined(keywords, value, old, path, errors);
        match value {
            Value::String(text) => string(keywords, text, path, errors),
            Value::Number(number) => numbers::judge(schema, keywords, number, path, errors),
            _ => {}
        }
    }
    match value {
        Value::Array(all) => items(schema, all, old.and_then(Value::as_array), path, errors),
        Value::Object(all) => fields(schema, all, old.and_then(Value::as_object), path, errors),
        _ => {}
    }
    if let Some(keywords) = schema.keywords.as_deref().filter(|k| !k.values.is_empty())
        && !keywords.values.iter().any(|allowed| numbers::equal(allowed, value))
    {
        let texts: Vec<String> = keywords
            .values
            .iter()
            .map(|allowed| allowed.as_str().map_or_else(|| allowed.to_string(), str::to_owned))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, value.clone(), &texts));
    }
}

/// Whether a value is of the schema's type; else adds the error.
fn of_type(schema: &Structural, value: &Value, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let (right, wanted) = match (schema.of_type, value) {
        (None, Value::String(_) | Value::Null)
            if schema.int_or_string && (schema.nullable || !value.is_null()) =>
        {
            (true, "")
        }
        (None, value) if schema.int_or_string => (is_integer(value), "integer,string"),
        (None, _) => (true, ""),
        (Some(_), Value::Null) if schema.nullable => (true, ""),
        (Some(Type::Integer), value) => (is_integer(value), "integer"),
        (Some(Type::Number), value) => (value.is_number(), "number"),
        (Some(of_type), value) => (word(value) == of_type.name(), of_type.name()),
    };
    if !right {
        let found = word(value);
        let detail = format!("{path} in body must be of type {wanted}: {found:?}");
        errors.push(FieldError::type_invalid(path, found, detail));
    }
    right
}

fn is_integer(value: &Value) -> bool {
    value
        .as_number()
        .is_some_and(|n| n.is_i64() || n.is_u64() || n.as_f64().is_some_and(|f| f.fract() == 0.0))
}

/// The name that upstream has for a value's type.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`. Upstream says of these no path but in the text.
fn combined(
    keywords: &Keywords,
    value: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let judged = |schema: &Structural| {
        let mut found = ErrorList::new();
        self::value(schema, value, old, path, &mut found);
        found
    };
    let say = |text: String, errors: &mut ErrorList| {
        errors.push(FieldError::invalid(&Path::root("<nil>"), "", text));
    };
    if !keywords.any_of.is_empty() {
        let found: Vec<ErrorList> = keywords.any_of.iter().map(judged).collect();
        if found.iter().all(|errors| !errors.is_empty()) {
            say(format!("\"{path}\" must validate at least one schema (anyOf)"), errors);
            errors.extend(least(found));
        }
    }
    if !keywords.one_of.is_empty() {
        let found: Vec<ErrorList> = keywords.one_of.iter().map(judged).collect();
        let right = found.iter().filter(|errors| errors.is_empty()).count();
        if right != 1 {
            let what = match right {
                0 => "Found none valid".to_owned(),
                right => format!("Found {right} valid alternatives"),
            };
            say(format!("\"{path}\" must validate one and only one schema (oneOf). {what}"), errors);
            if right == 0 {
                errors.extend(least(found));
            }
        }
    }
    if !keywords.all_of.is_empty() {
        let found: Vec<ErrorList> = keywords.all_of.iter().map(judged).collect();
        let right = found.iter().filter(|errors| errors.is_empty()).count();
        if right < found.len() {
            errors.extend(found.into_iter().flatten());
            let none = if right == 0 { ". None validated" } else { "" };
            say(format!("\"{path}\" must validate all the schemas (allOf){none}"), errors);
        }
    }
    if let Some(not) = &keywords.not
        && judged(not).is_empty()
    {
        say(format!("\"{path}\" must not validate the schema (not)"), errors);
    }
}

/// The alternative that is nearest to right.
fn least(found: Vec<ErrorList>) -> ErrorList {
    found.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn string(keywords: &Keywords, text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let length = text.chars().count() as u64;
    if let Some(max) = keywords.max_length.filter(|max| length > *max) {
        errors.push(FieldError::too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
    }
    if let Some(min) = keywords.min_length.filter(|min| length < *min) {
        let detail = format!("{path} in body should be at least {min} chars long");
        errors.push(FieldError::invalid(path, text, detail));
    }
    if let Some(pattern) = &keywords.pattern
        && !pattern.regex().is_none_or(|regex| regex.is_match(text))
    {
        let detail = format!("{path} in body should match '{}'", pattern.text);
        errors.push(FieldError::invalid(path, text, detail));
    }
    if !api::formats::holds(&keywords.format, text) {
        let detail = format!("{path} in body must be of type {}: {text:?}", keywords.format);
        errors.push(FieldError::invalid(path, text, detail));
    }
}

fn items(
    schema: &Structural,
    all: &[Value],
    old: Option<&Vec<Value>>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(below) = &schema.items {
        for (i, item) in all.iter().enumerate() {
            let old = old.and_then(|old| lists::counterpart(schema, below, item, old));
            value(below, item, old, &path.index(i), errors);
        }
    }
    let Some(keywords) = schema.keywords.as_deref() else { return };
    let count = all.len() as u64;
    if let Some(min) = keywords.min_items.filter(|min| count < *min) {
        let detail = format!("{path} in body should have at least {min} items");
        errors.push(FieldError::invalid(path, count, detail));
    }
    if let Some(max) = keywords.max_items.filter(|max| count > *max) {
        errors.push(FieldError::too_many(path, all.len(), usize::try_from(max).unwrap_or(usize::MAX)));
    }
}

fn fields(
    schema: &Structural,
    all: &Map<String, Value>,
    old: Option<&Map<String, Value>>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let count = all.len() as u64;
    if let Some(keywords) = schema.keywords.as_deref() {
        if let Some(min) = keywords.min_properties.filter(|min| count < *min) {
            let detail = format!("{path} in body should have at least {min} properties");
            errors.push(FieldError::invalid(path, count, detail));
            return;
        }
        if let Some(max) = keywords.max_properties.filter(|max| count > *max) {
            errors.push(FieldError::too_many(path, all.len(), usize::try_from(max).unwrap_or(usize::MAX)));
            return;
        }
    }
    for (key, found) in all {
        if let Some(below) = schema.below(key) {
            value(below, found, old.and_then(|old| old.get(key)), &path.child(key), errors);
        }
    }
    for required in schema.keywords.as_deref().into_iter().flat_map(|keywords| &keywords.required) {
        if !all.contains_key(&**required) {
            errors.push(FieldError::required(&path.child(required), ""));
        }
    }
}
