//! `componentstatuses`: objects that nobody stores, seen when they are asked for. The names and texts are those that
//! upstream's clients know (`pkg/registry/core/componentstatus/rest.go`).
//!
//! Controllers and scheduler run in this process under supervision, whose end is the process' own: who gets an answer
//! finds them well. Of the store, the answer is whether it answers.

use std::sync::Arc;

use api::selector::{FieldSelector, LabelSelector};
use api::{Error, Object};
use resources::Resource;
use serde_json::json;

use super::observed;
use crate::context::Context;
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;

/// Answers GET and LIST.
pub(super) async fn answer(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, row.in_protobuf())?;
    let store = context.deps.store.size_bytes().await.map(drop).map_err(|error| error.to_string());
    let all = [("controller-manager", Ok(())), ("etcd-0", store), ("scheduler", Ok(()))];
    let mut objects = all.into_iter().map(|(name, health)| component(&row, name, health));
    // A list that selects by name has a name as well.
    if call.info.verb == "get" {
        let found = objects.find(|object| object.name() == call.info.name);
        let found = found.ok_or_else(|| Error::not_found(&row.group_resource(), &call.info.name))?;
        return observed::one(&context, &row, &call, answer, found);
    }
    let labels = call.query.non_empty("labelSelector").map(LabelSelector::parse).transpose()?;
    let fields = call.query.non_empty("fieldSelector").map(FieldSelector::parse).transpose()?;
    let objects = objects.filter(|object| selected(object, labels.as_ref(), fields.as_ref())).collect();
    observed::all(&context, &row, &call, answer, objects)
}

fn component(row: &Resource, name: &str, health: Result<(), String>) -> Object {
    let condition = match health {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(error) => json!({"type": "Healthy", "status": "False", "error": error}),
    };
    let mut object = Object::default();
    object.set_type(&row.gvk());
    object.0.insert("metadata".into(), json!({"name": name}));
    object.0.insert("conditions".into(), json!([condition]));
    object
}

fn selected(object: &Object, labels: Option<&LabelSelector>, fields: Option<&FieldSelector>) -> bool {
    let field = |name: &str| match name {
        "metadata.name" => Some(object.name()),
        _ => Some(""),
    };
    labels.is_none_or(|labels| labels.matches_object(object))
        && fields.is_none_or(|fields| fields.matches(field))
}
