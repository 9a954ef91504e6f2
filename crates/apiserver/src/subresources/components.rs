//! `componentstatuses`: objects that nobody stores, seen when they are asked for. The names and texts are those that
//! upstream's clients know (`pkg/registry/core/componentstatus/rest.go`).
//!
//! Controllers and scheduler run in this process under supervision, whose end is the process' own: who gets an answer
//! finds them well. Of the store, the answer is whether it answers.

use std::sync::Arc;

use api::selector::{FieldSelector, LabelSelector};
use api::{Error, Object};
use http::StatusCode;
use resources::Resource;
use serde_json::{Value, json};

use crate::context::Context;
use crate::handlers::table;
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

/// Answers GET and LIST.
pub(super) async fn answer(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers)?;
    let store = context.deps.store.size_bytes().await.map(drop).map_err(|error| error.to_string());
    let all = [("controller-manager", Ok(())), ("etcd-0", store), ("scheduler", Ok(()))];
    let objects = all.into_iter().map(|(name, health)| component(&row, name, health));
    // A list that selects by name has a name as well.
    let one = call.info.verb == "get";
    let objects: Vec<Object> = if one {
        let found = objects.filter(|object| object.name() == call.info.name).collect::<Vec<_>>();
        if found.is_empty() {
            return Err(Error::not_found(&row.group_resource(), &call.info.name));
        }
        found
    } else {
        let labels = call.query.non_empty("labelSelector").map(LabelSelector::parse).transpose()?;
        let fields = call.query.non_empty("fieldSelector").map(FieldSelector::parse).transpose()?;
        objects.filter(|object| selected(object, labels.as_ref(), fields.as_ref())).collect()
    };
    let value = match answer.shape {
        Shape::Table(version) => {
            let form = table::Form::parse(version, &call.query)?;
            form.table_of(&*row.printer, &objects, context.deps.clock.now(), "", true)
        }
        shape => {
            let shown = |object: Object| match shape {
                Shape::Metadata => table::metadata_only(&object),
                _ => object.into_value(),
            };
            let mut items: Vec<Value> = objects.into_iter().map(shown).collect();
            if one {
                items.swap_remove(0)
            } else {
                let (kind, version) = match shape {
                    Shape::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
                    _ => (row.list_kind.to_string(), row.group_version().to_string()),
                };
                json!({"kind": kind, "apiVersion": version, "metadata": {}, "items": items})
            }
        }
    };
    respond::value(StatusCode::OK, answer, &value)
}

fn component(row: &Resource, name: &str, health: Result<(), String>) -> Object {
    let condition = match health {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(error) => json!({"type": "Healthy", "status": "False", "error": error}),
    };
    let mut object = Object::default();
    object.set_type(&row.gvk());
    object.0.insert("metadata".into(), json!({"name": name, "creationTimestamp": null}));
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
