//! Kinds whose rows are a few plain fields.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, count, text};
use super::{AGE, Column, NAME, column};

pub(super) const NAMESPACE: &[Column] =
    &[NAME, column("Status", "string", "The status of the namespace"), AGE];

pub(super) fn namespace(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), text(o, &["status", "phase"]).into(), age(o, now)]
}

pub(super) const CONFIG_MAP: &[Column] =
    &[NAME, column("Data", "string", "Data contains the configuration data."), AGE];

pub(super) fn config_map(o: &Object, now: Timestamp) -> Vec<Value> {
    let entries = count(o, &["data"]) + count(o, &["binaryData"]);
    vec![o.name().into(), entries.into(), age(o, now)]
}

pub(super) const SECRET: &[Column] = &[
    NAME,
    column("Type", "string", "Used to facilitate programmatic handling of secret data."),
    column("Data", "string", "Data contains the secret data."),
    AGE,
];

pub(super) fn secret(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), text(o, &["type"]).into(), count(o, &["data"]).into(), age(o, now)]
}

pub(super) const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column("Secrets", "string", "Secrets that pods running as this account are allowed to use."),
    AGE,
];

pub(super) fn service_account(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), count(o, &["secrets"]).into(), age(o, now)]
}

pub(super) const LEASE: &[Column] =
    &[NAME, column("Holder", "string", "The identity of the holder of a current lease."), AGE];

pub(super) fn lease(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), text(o, &["spec", "holderIdentity"]).into(), age(o, now)]
}

pub(super) const PRIORITY_CLASS: &[Column] = &[
    NAME,
    column("Value", "integer", "The integer value of this priority class."),
    column("Global-Default", "boolean", "Whether this is the priority of pods that name no class."),
    AGE,
    column("PreemptionPolicy", "string", "The policy for preempting pods with lower priority."),
];

pub(super) fn priority_class(o: &Object, now: Timestamp) -> Vec<Value> {
    let global = o.at(&["globalDefault"]).and_then(Value::as_bool).unwrap_or(false);
    let value = super::read::number(o, &["value"]);
    vec![o.name().into(), value.into(), global.into(), age(o, now), text(o, &["preemptionPolicy"]).into()]
}

/// What kinds without a printer of their own show upstream: a date instead of an age.
pub(super) const CREATED: &[Column] = &[
    NAME,
    column(
        "Created At",
        "date",
        "CreationTimestamp is a timestamp representing the server time when this object was created.",
    ),
];

pub(super) fn created(o: &Object, _now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), o.meta_str("creationTimestamp").into()]
}
