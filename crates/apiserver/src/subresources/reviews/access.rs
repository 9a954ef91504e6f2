//! Access reviews: whether a user may do something.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::field::{FieldError, Path};
use api::{Error, GroupKind, Object};
use serde_json::{Value, json};

use crate::context::Context;
use crate::identity::authz::Decision;
use crate::request::{Attributes, Notes, User};

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The user that `spec` names.
pub(super) fn subject(object: &Object) -> Result<Arc<User>, Error> {
    let user = User {
        name: object.str_at(&["spec", "user"]).unwrap_or("").to_owned(),
        uid: object.str_at(&["spec", "uid"]).unwrap_or("").to_owned(),
        groups: strings(object.at(&["spec", "groups"])),
        extra: object
            .at(&["spec", "extra"])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.to_lowercase(), strings(Some(values))))
            .collect::<BTreeMap<_, _>>(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let path = Path::root("spec");
        let error =
            FieldError::invalid(&path.child("user"), "", "at least one of user or group must be specified");
        return Err(invalid(object, error));
    }
    Ok(Arc::new(user))
}

fn invalid(object: &Object, error: FieldError) -> Error {
    Error::invalid(&GroupKind::new("authorization.k8s.io", object.kind()), "", &vec![error])
}

/// The status of an access review about `user`.
pub(super) async fn review(context: &Context, object: &Object, user: Arc<User>) -> Result<Value, Error> {
    let attributes = attributes(object, user)?;
    let authorizer = &context.deps.authorizer;
    Ok(match authorizer.authorize(&attributes).await {
        Decision::Allow => with_reason(json!({"allowed": true}), authorizer.explain(&attributes).await),
        Decision::Deny(reason) => with_reason(json!({"allowed": false, "denied": true}), reason),
        Decision::NoOpinion(reason) => with_reason(json!({"allowed": false}), reason),
    })
}

fn with_reason(mut status: Value, reason: String) -> Value {
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn attributes(object: &Object, user: Arc<User>) -> Result<Attributes, Error> {
    let resource = object.at(&["spec", "resourceAttributes"]);
    let path = object.at(&["spec", "nonResourceAttributes"]);
    let (asked, is_resource) = match (resource, path) {
        (Some(asked), None) => (asked, true),
        (None, Some(asked)) => (asked, false),
        (both, _) => {
            let words = if both.is_some() {
                "cannot be specified in combination with resourceAttributes"
            } else {
                "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            };
            let spec = Path::root("spec");
            let path = if both.is_some() {
                spec.child("nonResourceAttributes")
            } else {
                spec.child("resourceAttributes")
            };
            return Err(invalid(object, FieldError::invalid(&path, Value::Null, words)));
        }
    };
    let text = |key: &str| asked.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    Ok(Attributes {
        user,
        verb: text("verb"),
        is_resource,
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        field_selector: equalities(asked, "fieldSelector"),
        label_selector: equalities(asked, "labelSelector"),
        path: text("path"),
        notes: Notes::default(),
    })
}

/// The fields or labels asked for by equality. What cannot be expressed so narrows nothing, as upstream has it.
fn equalities(asked: &Value, selector: &str) -> Vec<(String, String)> {
    let requirements = asked.get(selector).and_then(|selector| selector.get("requirements")?.as_array());
    let equal = |requirement: &Value| {
        let (key, values) = (requirement.get("key")?.as_str()?, requirement.get("values")?.as_array()?);
        match (requirement.get("operator")?.as_str()?, values.as_slice()) {
            ("In", [only]) => Some((key.to_owned(), only.as_str()?.to_owned())),
            _ => None,
        }
    };
    requirements.into_iter().flatten().filter_map(equal).collect()
}
