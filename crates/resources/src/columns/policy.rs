//! Kinds that say what is allowed: quotas, admission policies, signing requests.

use std::collections::BTreeMap;

use api::Object;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::read::{age, count, field, items, selector, text, text_or};
use super::{AGE, Column, NAME, column, duration};

pub(crate) const QUOTA: &[Column] = &[
    NAME,
    column(
        "Request",
        "string",
        "Request represents a minimum amount of cpu/memory that a container may consume.",
    ),
    column(
        "Limit",
        "string",
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
    ),
    AGE,
];

pub(crate) fn quota(o: &Object, now: Timestamp) -> Vec<Value> {
    let hard = o.at(&["status", "hard"]).and_then(Value::as_object);
    let hard: BTreeMap<&String, &Value> = hard.into_iter().flatten().collect();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in hard {
        let used = text_or(o, &["status", "used", resource], "0");
        let part = format!("{resource}: {}/{}", used.as_str().unwrap_or("0"), hard.as_str().unwrap_or("0"));
        if resource.starts_with("limits.") { limits.push(part) } else { requests.push(part) }
    }
    vec![o.name().into(), requests.join(", ").into(), limits.join(", ").into(), age(o, now)]
}

const PARAM_KIND: Column = column(
    "ParamKind",
    "string",
    "ParamKind specifies the kind of resources used to parameterize this policy",
);

pub(crate) const VALIDATING: &[Column] = &[
    NAME,
    column(
        "Validations",
        "integer",
        "Validations indicates the number of validation rules defined in this configuration",
    ),
    PARAM_KIND,
    AGE,
];

pub(crate) fn validating(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), count(o, &["spec", "validations"]).into(), param_kind(o).into(), age(o, now)]
}

pub(crate) const MUTATING: &[Column] = &[
    NAME,
    column(
        "Mutations",
        "integer",
        "Mutation indicates the number of mutations rules defined in this configuration",
    ),
    PARAM_KIND,
    AGE,
];

pub(crate) fn mutating(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), count(o, &["spec", "mutations"]).into(), param_kind(o).into(), age(o, now)]
}

fn param_kind(o: &Object) -> String {
    let part = |key: &str| text(o, &["spec", "paramKind", key]);
    match o.at(&["spec", "paramKind"]) {
        Some(_) => format!("{}/{}", part("apiVersion"), part("kind")),
        None => "<unset>".into(),
    }
}

pub(crate) const BINDING: &[Column] = &[
    NAME,
    column(
        "PolicyName",
        "string",
        "PolicyName indicates the policy definition which the policy binding binded to",
    ),
    column("ParamRef", "string", "ParamRef indicates the param resource which sets the configration param"),
    AGE,
];

pub(crate) fn binding(o: &Object, now: Timestamp) -> Vec<Value> {
    let part = |key: &str| text(o, &["spec", "paramRef", key]);
    let param = match (part("namespace"), part("name")) {
        (_, "") => match selector(o.at(&["spec", "paramRef", "selector"])) {
            text if text.is_empty() => "<unset>".into(),
            text => text,
        },
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![o.name().into(), text(o, &["spec", "policyName"]).into(), param.into(), age(o, now)]
}

pub(crate) const SIGNING: &[Column] = &[
    NAME,
    AGE,
    column("SignerName", "string", "The requested signer."),
    column("Requestor", "string", "The name of the user that created the request."),
    column("RequestedDuration", "string", "The requested duration of validity of the issued certificate."),
    column("Condition", "string", "Conditions applied to the request."),
];

pub(crate) fn signing(o: &Object, now: Timestamp) -> Vec<Value> {
    let requested = o.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    let requested = requested.map(|s| duration::human(SignedDuration::from_secs(s)));
    vec![
        o.name().into(),
        age(o, now),
        text_or(o, &["spec", "signerName"], "<none>"),
        text(o, &["spec", "username"]).into(),
        requested.unwrap_or_else(|| "<none>".into()).into(),
        signing_condition(o).into(),
    ]
}

fn signing_condition(o: &Object) -> String {
    let has = |kind: &str| items(o, &["status", "conditions"]).iter().any(|c| field(c, "type") == kind);
    let decision = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let issued = if text(o, &["status", "certificate"]).is_empty() { "" } else { ",Issued" };
    format!("{decision}{failed}{issued}")
}
