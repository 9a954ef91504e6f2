//! Rules reviews: what the caller may do in a namespace.

use std::sync::Arc;

use api::{Error, Object};
use serde_json::{Value, json};

use crate::context::Context;
use crate::request::User;

pub(super) fn review(context: &Context, object: &Object, user: &Arc<User>) -> Result<Value, Error> {
    let resolver =
        context.deps.rules.as_ref().ok_or_else(|| Error::not_implemented("SelfSubjectRulesReview"))?;
    let namespace = object.str_at(&["spec", "namespace"]).unwrap_or("");
    if namespace.is_empty() {
        return Err(Error::bad_request("no namespace on request"));
    }
    let rules = resolver.rules(user, namespace);
    let mut status = json!({
        "resourceRules": rules.resource_rules,
        "nonResourceRules": rules.non_resource_rules,
        "incomplete": rules.incomplete,
    });
    if !rules.evaluation_error.is_empty() {
        status["evaluationError"] = rules.evaluation_error.into();
    }
    Ok(status)
}
