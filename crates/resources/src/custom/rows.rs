//! [`rows`]: the rows of the kind table that a definition stands for, one for each served version.

use std::borrow::Cow;
use std::sync::Arc;

use api::{GroupVersion, GroupVersionKind, Object};
use serde_json::Value;

use super::columns::CustomColumns;
use super::logic::{CustomLogic, Renamed};
use super::path::JsonPath;
use super::shape;
use super::structural::Structural;
use crate::part::{Part, ScalePaths};
use crate::row::{ConversionWebhook, Convert, Resource, Rules, Scope, SelectableField};
use crate::schema::Schema;
use crate::verb::Verb;

/// The rows of a definition that is established; none of one that is not.
pub fn rows(definition: &Object) -> Vec<Arc<Resource>> {
    if !condition_is_true(definition, "Established") {
        return Vec::new();
    }
    let Some(stored) = versions(definition).find(|version| flag(version, "storage")) else {
        return Vec::new();
    };
    let served: Vec<&Value> = versions(definition).filter(|version| flag(version, "served")).collect();
    // The objects of a definition that goes have to be reached by who deletes them.
    let served =
        if served.is_empty() && definition.deletion_timestamp().is_some() { vec![stored] } else { served };
    served.into_iter().map(|version| row(definition, version, stored)).collect()
}

/// The condition of a type is `True`.
pub(crate) fn condition_is_true(definition: &Object, name: &str) -> bool {
    let conditions = definition.at(&["status", "conditions"]).and_then(Value::as_array);
    let is =
        |condition: &&Value, key: &str, text: &str| condition.get(key).and_then(Value::as_str) == Some(text);
    conditions.into_iter().flatten().find(|c| is(c, "type", name)).is_some_and(|c| is(&c, "status", "True"))
}

fn versions(definition: &Object) -> impl Iterator<Item = &Value> {
    definition.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn row(definition: &Object, version: &Value, stored: &Value) -> Arc<Resource> {
    let group = definition.str_at(&["spec", "group"]).unwrap_or_default();
    let names = definition.at(&["status", "acceptedNames"]).unwrap_or(&Value::Null);
    let owned = |text: &str| Cow::Owned(text.to_owned());
    let list = |key: &str| {
        let texts = names.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        texts.map(owned).collect::<Vec<_>>()
    };
    let (plural, kind) = (text(names, "plural"), text(names, "kind"));
    let (own_version, stored_version) = (text(version, "name"), text(stored, "name"));
    let gvk = GroupVersionKind::new(group, own_version, kind);
    let (schema, structural) = schema(version, &gvk);
    let stored_schema =
        if own_version == stored_version { schema.clone() } else { self::schema(stored, &gvk).0 };
    let scale = scale(version);
    let has_status = version.get("subresources").and_then(|parts| parts.get("status")).is_some();
    let mut parts: Vec<Part> = scale.iter().cloned().map(Part::scale).collect();
    if has_status {
        parts.push(Part::status(gvk.clone()));
    }
    let storage_version = GroupVersion::new(group, stored_version);
    // What is stored is as the schema wants it, unless the schema may have changed since.
    let renamed =
        own_version != stored_version || definition.generation() > 1 || conversion(definition).is_some();
    let convert = renamed.then(|| {
        Arc::new(Renamed {
            schema: Arc::clone(&structural),
            served: gvk.group_version().to_string(),
            stored: storage_version.to_string(),
        }) as Arc<dyn Convert>
    });
    let mut verbs = Verb::ALL.to_vec();
    if definition.deletion_timestamp().is_some() {
        verbs.retain(|verb| *verb != Verb::Create);
    }
    Arc::new(Resource {
        selectable_fields: selectable(version),
        group: owned(group),
        version: owned(own_version),
        kind: owned(kind),
        list_kind: owned(text(names, "listKind")),
        plural: owned(plural),
        singular: owned(text(names, "singular")),
        short_names: list("shortNames"),
        categories: list("categories"),
        scope: match definition.str_at(&["spec", "scope"]) {
            Some("Cluster") => Scope::Cluster,
            _ => Scope::Namespaced,
        },
        verbs,
        parts,
        schema,
        stored_schema,
        logic: Arc::new(CustomLogic::new(structural, has_status, scale)),
        rules: Rules { has_generation: true, unconditional_update: false, ..Rules::default() },
        printer: Arc::new(CustomColumns::read(version)),
        immutable_fields: Vec::new(),
        storage_prefix: Cow::Owned(format!("{group}/{plural}")),
        storage_version,
        convert,
        conversion: conversion(definition),
        question: None,
        observed: None,
        elsewhere: false,
        ttl_s: None,
        deprecated: deprecated(version, &gvk),
    })
}

/// The warning for users of a version that its definition says is deprecated.
fn deprecated(version: &Value, gvk: &GroupVersionKind) -> Option<Cow<'static, str>> {
    let warning = match text(version, "deprecationWarning") {
        "" => format!("{} {} is deprecated", gvk.group_version(), gvk.kind),
        given => given.to_owned(),
    };
    flag(version, "deprecated").then_some(Cow::Owned(warning))
}

/// The webhook that converts between versions, where the definition has one.
fn conversion(definition: &Object) -> Option<Arc<ConversionWebhook>> {
    if definition.str_at(&["spec", "conversion", "strategy"]) != Some("Webhook") {
        return None;
    }
    let webhook = definition.at(&["spec", "conversion", "webhook"])?;
    let reviews = webhook.get("conversionReviewVersions").and_then(Value::as_array).into_iter().flatten();
    Some(Arc::new(ConversionWebhook {
        client: webhook.get("clientConfig").cloned().unwrap_or_default(),
        reviews: reviews.filter_map(Value::as_str).map(str::to_owned).collect(),
    }))
}

/// The schema of a version, as the types that patches know and as the definition's own form.
fn schema(version: &Value, gvk: &GroupVersionKind) -> (Schema, Arc<Structural>) {
    let given =
        version.get("schema").and_then(|schema| schema.get("openAPIV3Schema")).unwrap_or(&Value::Null);
    let structural = Arc::new(Structural::read(given));
    (shape::schema(&published_name(gvk), Arc::clone(&structural), given.to_string().into()), structural)
}

/// The name of a custom kind's schema in documents: the group's labels turned round, version and kind.
fn published_name(gvk: &GroupVersionKind) -> String {
    let mut labels: Vec<&str> = gvk.group.split('.').collect();
    labels.reverse();
    format!("{}.{}.{}", labels.join("."), gvk.version, gvk.kind)
}

/// The field names of a path that has nothing else.
fn names(path: &str) -> Option<Vec<Cow<'static, str>>> {
    JsonPath::parse(path).ok()?.fields().filter(|names| !names.is_empty())
}

fn scale(version: &Value) -> Option<ScalePaths> {
    let scale = version.get("subresources")?.get("scale").filter(|scale| scale.is_object())?;
    Some(ScalePaths {
        spec_replicas: names(text(scale, "specReplicasPath"))?,
        status_replicas: names(text(scale, "statusReplicasPath"))?,
        selector: names(text(scale, "labelSelectorPath")).unwrap_or_default(),
    })
}

/// Whatever their types, fields that an object does not have read as the empty text.
fn selectable(version: &Value) -> Vec<SelectableField> {
    let fields = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    let fields = fields.filter_map(|field| names(text(field, "jsonPath")));
    let field = |path: Vec<_>| SelectableField {
        name: path.join(".").into(),
        path,
        or: None,
        absent: "",
        trigger: false,
    };
    fields.map(field).collect()
}
