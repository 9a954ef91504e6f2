//! [`Change`]: what a mutation makes of an object. Pure. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch`.

use api::codec::Limits;
use api::{Error, GroupVersionKind, Object, Reason, managed, patch};
use expressions::{Budget, Made, Value as Cel};
use resources::{Resource, Schema};
use serde_json::{Map, Value, json};

use super::configured::{Compiled, Mutation, Mutations, Policy};
use super::evaluation::{BUDGET, Run, variables};
use crate::admission::conditions::Inputs;

/// Why an object is not changed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The policy is at fault: its failure policy decides.
    Policy(String),
    /// The request fails.
    Server(Error),
}

impl Fault {
    /// What sort of fault, under upstream's name for metrics (`policy/mutating/errors.go`).
    pub(super) fn sort(&self) -> &'static str {
        match self {
            Self::Policy(why) if why.starts_with("compilation") => "compile_error",
            Self::Policy(why) if why.ends_with("cost limit exceeded") => "out_of_budget",
            Self::Policy(_) | Self::Server(_) => "invalid_error",
        }
    }
}

/// What an expression makes.
pub(super) enum Change {
    Configuration(Map<String, Value>),
    /// The operations of a JSON patch.
    JsonPatch(Vec<Value>),
}

/// Evaluates a mutation, and the policy's variables for it: they are of the object as it is now.
pub(super) fn evaluate<'a>(
    policy: &'a Policy<Mutations>,
    mutation: &'a Mutation,
    inputs: &mut Inputs<'a>,
) -> Result<Change, String> {
    let (Mutation::Configuration(expression) | Mutation::JsonPatch(expression)) = mutation;
    let value = value(policy, expression, inputs)?;
    let Limits { bytes, depth } = Limits::default();
    match (mutation, &value) {
        (Mutation::Configuration(_), Cel::Made(made)) => {
            check_names(made)?;
            match value.to_json(bytes, depth)? {
                Value::Object(fields) => Ok(Change::Configuration(fields)),
                other => Err(format!("invalid return type: {other}")),
            }
        }
        (Mutation::Configuration(_), other) => {
            let found = other.type_name();
            Err(format!("unsupported return type from ApplyConfiguration expression: {found}"))
        }
        (Mutation::JsonPatch(_), Cel::List(operations)) => {
            operations.iter().map(operation).collect::<Result<_, _>>().map(Change::JsonPatch)
        }
        (Mutation::JsonPatch(_), _) => {
            Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned())
        }
    }
}

fn value<'a>(
    policy: &'a Policy<Mutations>,
    expression: &'a Compiled,
    inputs: &mut Inputs<'a>,
) -> Result<Cel<'a>, String> {
    if let Err(why) = &expression.program {
        return Err(why.clone());
    }
    let mut budget = Budget::steps(BUDGET);
    let unset = variables(policy, inputs, &mut budget);
    Run { inputs, unset: &unset }.value(expression, &policy.rules.scope, &mut budget)
}

fn check_names(made: &Made<'_>) -> Result<(), String> {
    made.check_type_names().map_err(|why| format!("type mismatch: {why}"))
}

/// One operation as JSON Patch has it.
fn operation(value: &Cel<'_>) -> Result<Value, String> {
    let made = match value {
        Cel::Made(made) if made.type_name() == expressions::JSON_PATCH => made,
        other => {
            let found = other.type_name();
            return Err(format!(
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of {found}"
            ));
        }
    };
    let text = |name: &str| match made.given(name) {
        Some(Cel::String(text)) => text.to_string(),
        _ => String::new(),
    };
    let mut operation = json!({"op": text("op"), "path": text("path")});
    let from = text("from");
    if !from.is_empty() {
        operation["from"] = from.into();
    }
    if let Some(value) = made.given("value") {
        if let Cel::Made(made) = value {
            check_names(made)?;
        }
        let Limits { bytes, depth } = Limits::default();
        operation["value"] = value.to_json(bytes, depth).map_err(|why| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {why}")
        })?;
    }
    Ok(operation)
}

/// The object after a change, with the defaults of what the change added. `kind`: that of the object, which is the
/// row's unless a subresource carries another.
pub(super) fn apply(
    change: Change,
    row: &Resource,
    kind: &GroupVersionKind,
    object: &Object,
) -> Result<Object, Fault> {
    let own = *kind == row.gvk();
    let of_kind = if own { None } else { resources::schema_of_kind(kind) };
    let schema = if own { Some(&row.schema) } else { of_kind.as_ref() };
    let unknown = || {
        let message = format!(
            "Resource kind {kind} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available."
        );
        Fault::Server(Error::new(Reason::ServiceUnavailable, message))
    };
    let schema = schema.ok_or_else(unknown)?;
    let mut changed = match change {
        Change::Configuration(fields) => configured(schema, object, fields)?,
        Change::JsonPatch(operations) => match patched(schema, object, &operations)? {
            Some(patched) => patched,
            None => return Ok(object.clone()),
        },
    };
    schema.omit_empty(&mut changed);
    if own {
        row.logic.default(&mut changed);
    }
    Ok(changed)
}

fn configured(schema: &Schema, object: &Object, mut fields: Map<String, Value>) -> Result<Object, Fault> {
    for key in ["apiVersion", "kind"] {
        match object.0.get(key) {
            Some(value) => fields.insert(key.to_owned(), value.clone()),
            None => fields.remove(key),
        };
    }
    let wrong = |why: String| Fault::Policy(format!("error applying patch: {why}"));
    let mut merged = managed::overlay(schema.types(), schema.id(), object, Object(fields)).map_err(wrong)?;
    let checked = schema.check(&mut merged);
    checked.map_err(|error| wrong(format!("failed to convert typed object to object: {}", error.message)))?;
    Ok(merged)
}

/// The object after a JSON patch; `None` where what the patch tests is not so.
fn patched(schema: &Schema, object: &Object, operations: &[Value]) -> Result<Option<Object>, Fault> {
    let document = object.clone().into_value();
    let value = match patch::operate(&document, operations, &Limits::default()) {
        Ok(value) => value,
        Err(patch::Fault::Untrue(_)) => return Ok(None),
        Err(patch::Fault::Wrong(error)) => {
            return Err(Fault::Policy(format!("JSON Patch: {}", error.message)));
        }
    };
    let server = |why: String| Fault::Server(Error::internal(why));
    let mut patched =
        Object::from_value(value).ok_or_else(|| server("the patched value is no object".to_owned()))?;
    if (patched.api_version(), patched.kind()) != (object.api_version(), object.kind()) {
        return Err(server("the patch changes the object's kind".to_owned()));
    }
    let report = schema.check(&mut patched).map_err(|error| server(error.message))?;
    // Objects of custom kinds lose what their definitions do not know, without a word.
    if schema.custom().is_none() && !report.unknown.is_empty() {
        let unknown: Vec<String> =
            report.unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
        return Err(server(format!("strict decoding error: {}", unknown.join(", "))));
    }
    Ok(Some(patched))
}

#[cfg(test)]
mod tests;
