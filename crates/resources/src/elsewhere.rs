//! Rows of kinds that another server serves: what discovery says of them. They are for those who look after objects of
//! every kind (garbage collection, the deletion of namespaces, quotas); requests about them are forwarded without a row.

use std::sync::Arc;

use api::Object;
use serde_json::json;

use crate::custom;
use crate::part::Part;
use crate::part::ScalePaths;
use crate::row::Resource;
use crate::verb::Verb;

/// What discovery says of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub plural: &'a str,
    pub singular: &'a str,
    pub namespaced: bool,
    pub verbs: &'a [String],
    pub has_scale: bool,
}

/// The row of a kind; `None` where what is said of it makes none.
pub fn row(described: Described<'_>) -> Option<Arc<Resource>> {
    let Described { group, version, kind, plural, singular, .. } = described;
    let names =
        json!({"plural": plural, "singular": singular, "kind": kind, "listKind": format!("{kind}List")});
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = Object::from_value(json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "names": names, "scope": if described.namespaced { "Namespaced" } else { "Cluster" },
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}]},
        "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
    }))?;
    let mut row = Arc::unwrap_or_clone(custom::rows(&definition).pop()?);
    row.verbs = Verb::ALL
        .into_iter()
        .filter(|verb| described.verbs.iter().any(|named| named == verb.as_str()))
        .collect();
    row.parts = described.has_scale.then(|| Part::scale(ScalePaths::replicas())).into_iter().collect();
    row.elsewhere = true;
    Some(Arc::new(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_discovery_says() {
        let verbs = ["get", "list", "odd"].map(str::to_owned);
        let described = Described {
            group: "a.example.com",
            version: "v1",
            kind: "Flunder",
            plural: "flunders",
            singular: "flunder",
            namespaced: true,
            verbs: &verbs,
            has_scale: true,
        };
        let row = row(described).expect("a row");
        assert!(row.elsewhere && row.namespaced() && row.scale().is_some());
        assert_eq!((&*row.kind, &*row.plural, &*row.group), ("Flunder", "flunders", "a.example.com"));
        assert_eq!(row.verbs, [Verb::Get, Verb::List]);
    }
}
