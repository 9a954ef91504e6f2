//! Role bindings: the role and who has it.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, field, items, text};
use super::{AGE, Column, NAME, column, wide};

pub(crate) const COLUMNS: &[Column] = &[
    NAME,
    column("Role", "string", "The role that is granted."),
    AGE,
    wide("Users", "string", "Users in the roleBinding"),
    wide("Groups", "string", "Groups in the roleBinding"),
    wide("ServiceAccounts", "string", "ServiceAccounts in the roleBinding"),
];

pub(crate) fn cells(o: &Object, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let names = items(o, &["subjects"]).iter().filter(|s| field(s, "kind") == kind).map(|s| {
            match (kind, field(s, "namespace")) {
                ("ServiceAccount", namespace) if !namespace.is_empty() => {
                    format!("{namespace}/{}", field(s, "name"))
                }
                _ => field(s, "name").to_owned(),
            }
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    vec![
        o.name().into(),
        format!("{}/{}", text(o, &["roleRef", "kind"]), text(o, &["roleRef", "name"])).into(),
        age(o, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
