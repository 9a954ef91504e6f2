//! Versions that upstream has removed and that old manifests still name: aliases of the rows that have their kinds now,
//! served with a warning. Objects are stored in the version there is.
//!
//! Start with [`REMOVED`], the list.

use std::borrow::Cow;
use std::sync::Arc;

use api::{GroupVersion, Object};
use serde_json::{Value, json};

use crate::row::{Convert, Resource};

/// There, and back.
type Meaning = (fn(&mut Object), fn(&mut Object));

struct Removed {
    group: &'static str,
    version: &'static str,
    /// The version that is served now.
    now: &'static str,
    plural: &'static str,
    /// In which versions upstream deprecated and removed it.
    ages: (&'static str, &'static str),
    /// What a specification meant that means something else now.
    means: Option<Meaning>,
}

const REMOVED: &[Removed] = &[
    Removed {
        group: "batch",
        version: "v1beta1",
        now: "v1",
        plural: "cronjobs",
        ages: ("v1.21", "v1.25"),
        means: None,
    },
    Removed {
        group: "policy",
        version: "v1beta1",
        now: "v1",
        plural: "poddisruptionbudgets",
        ages: ("v1.21", "v1.25"),
        means: Some((budget::to_now, budget::to_old)),
    },
];

/// The aliases of some of `rows`.
pub(super) fn aliases(rows: &[Arc<Resource>]) -> Vec<Arc<Resource>> {
    let alias = |removed: &Removed| {
        let row = rows.iter().find(|row| {
            row.group == removed.group && row.version == removed.now && row.plural == removed.plural
        });
        row.map(|row| Arc::new(removed.alias(row)))
    };
    REMOVED.iter().filter_map(alias).collect()
}

impl Removed {
    fn alias(&self, row: &Resource) -> Resource {
        let (group, version, kind) = (self.group, self.version, &row.kind);
        let (since, until) = self.ages;
        let mut alias = row.clone();
        alias.version = Cow::Borrowed(version);
        for part in &mut alias.parts {
            if part.kind == row.gvk() {
                part.kind.version = version.to_owned();
            }
        }
        alias.deprecated = Some(Cow::Owned(format!(
            "{group}/{version} {kind} is deprecated in {since}+, unavailable in {until}+; use {group}/{} {kind}",
            self.now
        )));
        alias.convert = Some(Arc::new(Renamed {
            old: GroupVersion::new(group, version).to_string(),
            now: row.storage_version.to_string(),
            means: self.means,
        }));
        alias
    }
}

/// The one difference of most versions: their name.
struct Renamed {
    old: String,
    now: String,
    means: Option<Meaning>,
}

impl Convert for Renamed {
    fn to_stored(&self, object: &mut Object) {
        object.0.insert("apiVersion".into(), self.now.as_str().into());
        if let Some((to_now, _)) = self.means {
            to_now(object);
        }
    }

    fn to_served(&self, object: &mut Object) {
        object.0.insert("apiVersion".into(), self.old.as_str().into());
        if let Some((_, to_old)) = self.means {
            to_old(object);
        }
    }
}

/// An empty selector selected nothing, and selects everything now: a requirement that no pod meets stands for it
/// (`pkg/apis/policy/v1beta1/conversion.go`).
mod budget {
    use super::{Object, Value, json};

    const NOBODY: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";
    const SELECTOR: [&str; 2] = ["spec", "selector"];

    fn nobody() -> Value {
        json!({"matchExpressions": [{"key": NOBODY, "operator": "Exists"}]})
    }

    pub(super) fn to_now(budget: &mut Object) {
        let is_empty = |selector: &Value| {
            let parts = ["matchLabels", "matchExpressions"].map(|key| selector.get(key));
            selector.is_object() && parts.into_iter().flatten().all(none)
        };
        if budget.at(&SELECTOR).is_some_and(is_empty) {
            budget.set_at(&SELECTOR, nobody());
        }
    }

    pub(super) fn to_old(budget: &mut Object) {
        if budget.at(&SELECTOR) == Some(&nobody()) {
            budget.set_at(&SELECTOR, json!({}));
        }
    }

    fn none(value: &Value) -> bool {
        value.is_null()
            || value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn removed_versions_are_other_names_of_what_there_is() {
        for removed in REMOVED {
            let find = |version: &str| builtin().find(removed.group, version, removed.plural).expect("a row");
            let (old, now) = (find(removed.version), find(removed.now));
            assert_eq!(
                (&old.storage_prefix, &old.storage_version),
                (&now.storage_prefix, &now.storage_version)
            );
            assert_eq!(builtin().preferred_version(removed.group), Some(removed.now));
            let convert = old.convert.as_ref().expect("a conversion");
            let given = json!({"apiVersion": old.group_version().to_string(), "spec": {"selector": {}}});
            let mut object = Object::from_value(given.clone()).expect("an object");
            convert.to_stored(&mut object);
            assert_eq!(object.api_version(), now.group_version().to_string());
            convert.to_served(&mut object);
            assert_eq!(object.into_value(), given);
        }
        let warned = builtin().find("batch", "v1beta1", "cronjobs").and_then(|row| row.deprecated.clone());
        let text =
            "batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob";
        assert_eq!(warned.as_deref(), Some(text));
    }

    #[test]
    fn an_empty_selector_goes_on_selecting_nothing() {
        let row = builtin().find("policy", "v1beta1", "poddisruptionbudgets").expect("a row");
        let convert = row.convert.as_ref().expect("a conversion");
        let mut budget =
            Object::from_value(json!({"spec": {"selector": {"matchLabels": {}}}})).expect("an object");
        convert.to_stored(&mut budget);
        let key = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";
        assert_eq!(budget.0["spec"]["selector"]["matchExpressions"][0]["key"], key);
    }
}
