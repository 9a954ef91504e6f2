//! `pods/ephemeralcontainers` and `pods/resize`: updates of one part of a pod that a plain update
//! may not touch, and `certificatesigningrequests/approval`, which writes one part of a status.

use std::collections::HashMap;

use api::codec::structure;
use api::field::{FieldError, Path};
use api::{Error, Object};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use crate::handlers::delete::namespace_of;
use crate::handlers::exchange::{finish, read_body};
use crate::handlers::metadata;
use crate::handlers::options::WriteOptions;
use crate::handlers::patch::{Patch, PatchType};
use crate::handlers::storage::Target;
use crate::handlers::write::{Change, Part, Write};
use crate::handlers::{decode, read};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;

/// Takes what a request may change of `wanted` over into `object`, at a time.
type Take = fn(&mut Object, &Object, Timestamp) -> Result<(), FieldError>;

/// GET, PUT and PATCH of a part, in a form that was negotiated before.
pub(super) async fn answer(target: Target, mut call: Call, answer: Answer, take: Take) -> Outcome {
    if call.info.verb == "get" {
        return read::get_as(&target, &call, answer).await;
    }
    let is_patch = call.info.verb == "patch";
    let options = if is_patch { "PatchOptions" } else { "UpdateOptions" };
    let options = WriteOptions::parse(options, &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut warnings = Vec::new();
    let (patch, whole) = if is_patch {
        let kind = PatchType::of(&call.headers)?;
        if kind == PatchType::Apply {
            return Err(Error::not_implemented("server-side apply of this subresource"));
        }
        call.notes.received_patch(&bytes);
        (Some(Patch::read(kind, bytes, &mut Vec::new())?), None)
    } else {
        let object = decode::object(&target.row, &call, &bytes, &options, &mut warnings)?;
        (None, Some(object))
    };
    let namespace = namespace_of(&target, &call);
    let current = target.read_existing(&namespace, &call.info.name).await?;
    let attributes = call.attributes();
    let mut write =
        Write { target: &target, attributes: &attributes, part: Part::Picked, options, warnings, view: None };
    let json = write
        .update(current, |write, old| {
            let schema = &write.target.row.schema;
            let wanted = match (&patch, &whole) {
                (Some(patch), _) => {
                    let mut object = patch.apply(old, schema)?;
                    structure::check(schema.types(), schema.id(), &mut object)?;
                    object
                }
                (None, Some(whole)) => whole.clone(),
                (None, None) => return Err(Error::internal("neither an object nor a patch")),
            };
            metadata::check_name(&wanted, &namespace, &call.info.name)?;
            let mut object = old.clone();
            let now = write.target.context.deps.clock.now();
            take(&mut object, &wanted, now)
                .map_err(|error| Error::invalid(&write.target.row.group_kind(), old.name(), &vec![error]))?;
            object.set_meta_str("resourceVersion", wanted.resource_version());
            Ok(Change { object, managed: false })
        })
        .await?;
    finish(&target, &call, answer, StatusCode::OK, json, &write.warnings)
}

fn items<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Containers by their names; of those that share one, the first.
fn by_name(containers: &[Value]) -> HashMap<&str, &Value> {
    let named = containers.iter().rev();
    named.filter_map(|container| Some((container["name"].as_str()?, container))).collect()
}

/// Ephemeral containers can be added, never changed or removed.
pub(super) fn ephemeral_containers(
    object: &mut Object,
    wanted: &Object,
    _now: Timestamp,
) -> Result<(), FieldError> {
    const PATH: [&str; 2] = ["spec", "ephemeralContainers"];
    let (before, after) = (items(object, &PATH), items(wanted, &PATH));
    let spec = Path::root("spec");
    let path = spec.child("ephemeralContainers");
    let present = by_name(after);
    for old in before {
        match old["name"].as_str().and_then(|name| present.get(name).copied()) {
            None => {
                let name = old["name"].as_str().unwrap_or("");
                return Err(FieldError::forbidden(
                    &path,
                    format!("existing ephemeral containers {name:?} may not be removed\n"),
                ));
            }
            Some(new) if new != old => {
                let name = old["name"].as_str().unwrap_or("");
                return Err(FieldError::forbidden(
                    &path,
                    format!("existing ephemeral containers {name:?} may not be changed\n"),
                ));
            }
            Some(_) => {}
        }
    }
    let others = [
        by_name(items(object, &["spec", "containers"])),
        by_name(items(object, &["spec", "initContainers"])),
    ];
    for (i, new) in after.iter().enumerate() {
        let at = path.index(i);
        let name = new["name"].as_str().unwrap_or("");
        if name.is_empty() {
            return Err(FieldError::required(&at.child("name"), ""));
        }
        if others.iter().any(|names| names.contains_key(name)) {
            return Err(FieldError::duplicate(&at.child("name"), name));
        }
    }
    let after = Value::Array(after.to_vec());
    object.set_at(&PATH, after);
    Ok(())
}

/// Resources of the pod as a whole, resources and resize policies of its containers.
pub(super) fn resize(object: &mut Object, wanted: &Object, _now: Timestamp) -> Result<(), FieldError> {
    for list in ["containers", "initContainers"] {
        let names = |of: &Object| -> Vec<Value> {
            items(of, &["spec", list]).iter().map(|container| container["name"].clone()).collect()
        };
        if names(object) != names(wanted) {
            // The validation says what is wrong with it.
            object.set_at(&["spec", list], items(wanted, &["spec", list]).to_vec().into());
            continue;
        }
        let wanted = by_name(items(wanted, &["spec", list]));
        let mut containers = items(object, &["spec", list]).to_vec();
        for container in &mut containers {
            let Some(new) = container["name"].as_str().and_then(|name| wanted.get(name).copied()) else {
                continue;
            };
            for field in ["resources", "resizePolicy"] {
                let Some(map) = container.as_object_mut() else { continue };
                match new.get(field) {
                    Some(value) => map.insert(field.into(), value.clone()),
                    None => map.remove(field),
                };
            }
        }
        if !containers.is_empty() {
            object.set_at(&["spec", list], containers.into());
        }
    }
    match wanted.at(&["spec", "resources"]) {
        Some(whole) => object.set_at(&["spec", "resources"], whole.clone()),
        None => {
            object.remove_at(&["spec", "resources"]);
        }
    }
    Ok(())
}

/// The conditions of a certificate signing request, and its metadata, as upstream's strategy for approvals. New
/// conditions get the times that they lack.
pub(super) fn approval(object: &mut Object, wanted: &Object, now: Timestamp) -> Result<(), FieldError> {
    const PATH: [&str; 2] = ["status", "conditions"];
    let before = items(object, &PATH).to_vec();
    let mut conditions = items(wanted, &PATH).to_vec();
    for condition in &mut conditions {
        date(condition, &before, now);
    }
    if let Some(metadata) = wanted.0.get("metadata") {
        object.0.insert("metadata".to_owned(), metadata.clone());
    }
    if conditions.is_empty() {
        object.remove_at(&PATH);
    } else {
        object.set_at(&PATH, conditions.into());
    }
    Ok(())
}

/// Says since when a condition stands, where it does not say so itself. Upstream: `populateConditionTimestamps`.
fn date(condition: &mut Value, before: &[Value], now: Timestamp) {
    let known = before.iter().find(|old| old["type"] == condition["type"]);
    let same = known.filter(|old| old["status"] == condition["status"]);
    let since = same.and_then(|old| old.get("lastTransitionTime")).cloned();
    let Some(fields) = condition.as_object_mut() else { return };
    let mut fill = |field: &str, value: Value| {
        if fields.get(field).is_none_or(Value::is_null) {
            fields.insert(field.to_owned(), value);
        }
    };
    fill("lastUpdateTime", metadata::seconds(now).into());
    fill("lastTransitionTime", since.unwrap_or_else(|| metadata::seconds(now).into()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn an_approval_keeps_metadata_and_dates_its_conditions() {
        let mut stored = request(json!({"metadata": {"name": "c"}, "spec": {"request": "x"},
            "status": {"certificate": "old", "conditions": [
                {"type": "Approved", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}));
        let wanted =
            request(json!({"metadata": {"name": "c", "labels": {"a": "b"}}, "spec": {"request": "other"},
            "status": {"certificate": "new", "conditions": [
                {"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]}}));
        approval(&mut stored, &wanted, "2026-02-01T00:00:00Z".parse().expect("a time")).expect("taken");
        assert_eq!(
            stored.into_value(),
            json!({"metadata": {"name": "c", "labels": {"a": "b"}}, "spec": {"request": "x"},
                "status": {"certificate": "old", "conditions": [
                    {"type": "Approved", "status": "True", "lastUpdateTime": "2026-02-01T00:00:00Z",
                     "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "Failed", "status": "True", "lastUpdateTime": "2026-02-01T00:00:00Z",
                     "lastTransitionTime": "2026-02-01T00:00:00Z"}]}})
        );
    }
}
