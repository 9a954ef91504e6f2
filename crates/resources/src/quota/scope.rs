//! Scopes: what an object must be like for a quota to count it.

use api::{GroupResource, Object};
use serde_json::Value;

/// What of an object scopes ask about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits {
    /// A pod that has a deadline.
    pub terminating: bool,
    /// A pod that asks for nothing.
    pub best_effort: bool,
    /// A pod that looks at pods of other namespaces.
    pub cross_namespace: bool,
    pub priority_class: String,
    pub volume_attributes_class: String,
}

/// One scope of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    scope: String,
    operator: String,
    values: Vec<String>,
}

impl Requirement {
    /// Whether an object of the resource is like that. Of objects other than pods and claims nothing is said.
    pub(super) fn is_met(&self, resource: &GroupResource, traits: &Traits) -> bool {
        let core = |plural: &str| resource.group.is_empty() && resource.resource == plural;
        match self.scope.as_str() {
            "VolumeAttributesClass" => {
                core("persistentvolumeclaims") && self.selects(&traits.volume_attributes_class)
            }
            _ if !core("pods") => false,
            "Terminating" => traits.terminating,
            "NotTerminating" => !traits.terminating,
            "BestEffort" => traits.best_effort,
            "NotBestEffort" => !traits.best_effort,
            "CrossNamespacePodAffinity" => traits.cross_namespace,
            "PriorityClass" => self.selects(&traits.priority_class),
            _ => false,
        }
    }

    /// Whether the value, of which an empty one is none, is what the scope's selector asks for.
    fn selects(&self, value: &str) -> bool {
        let listed = !value.is_empty() && self.values.iter().any(|wanted| wanted == value);
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "DoesNotExist" => value.is_empty(),
            _ => !value.is_empty(),
        }
    }
}

/// The scopes of a quota, those of its selector among them.
pub(super) fn requirements(quota: &Object) -> Vec<Requirement> {
    let list = |path: &[&str]| quota.at(path).and_then(Value::as_array).into_iter().flatten();
    let plain = list(&["spec", "scopes"]).filter_map(Value::as_str).map(|scope| Requirement {
        scope: scope.to_owned(),
        operator: "Exists".to_owned(),
        values: Vec::new(),
    });
    let selected = list(&["spec", "scopeSelector", "matchExpressions"]).map(|expression| {
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        Requirement {
            scope: text("scopeName"),
            operator: text("operator"),
            values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    });
    plain.chain(selected).collect()
}
