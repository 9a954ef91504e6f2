//! Which nodes a pod selects: node selector and node affinity, checked once and asked often.

use api::selector::{Operator, Requirement};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// The nodes a pod may go to, by their names and labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NodeRequirements {
    /// Labels that a node must have.
    labels: Vec<(String, String)>,
    /// The required node affinity; `None` when there is none.
    affinity: Option<NodeSelector>,
}

impl NodeRequirements {
    pub fn of(spec: &PodSpec) -> Self {
        let labels = spec.node_selector.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        Self {
            labels: labels.collect(),
            affinity: required.map(|selector| NodeSelector::of(&selector.node_selector_terms)),
        }
    }

    /// Whether all nodes will do.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.affinity.is_none()
    }

    /// The names of the only nodes that can be selected; `None` where nodes of any name can.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.affinity.as_ref()?.names()
    }

    /// Whether a node is selected, whose labels are found by `label`.
    pub fn matches<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.affinity.as_ref().is_none_or(|affinity| affinity.matches(name, label))
    }
}

/// Alternatives, one of which must hold. No alternatives select nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NodeSelector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Term {
    labels: Vec<Requirement>,
    names: Vec<NameRequirement>,
}

/// The only field that can be selected by is `metadata.name`, which can be longer than a label's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NameRequirement {
    names: Vec<String>,
    /// The node must be one of the names, rather than none of them.
    among: bool,
}

impl NodeSelector {
    /// A term that is empty or cannot be read selects nothing, as upstream.
    pub fn of(terms: &[NodeSelectorTerm]) -> Self {
        Self(terms.iter().filter_map(Term::of).collect())
    }

    fn names(&self) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        for term in &self.0 {
            let among = term.names.iter().find(|requirement| requirement.among)?;
            names.extend(among.names.iter().map(String::as_str));
        }
        Some(names)
    }

    /// Whether a node is selected, whose labels are found by `label`.
    pub fn matches<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().any(|term| term.matches(name, &label))
    }
}

impl Term {
    fn of(term: &NodeSelectorTerm) -> Option<Self> {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        if expressions.is_empty() && fields.is_empty() {
            return None;
        }
        Some(Self {
            labels: expressions.iter().map(requirement).collect::<Option<_>>()?,
            names: fields.iter().map(name_requirement).collect::<Option<_>>()?,
        })
    }

    fn matches<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(label(requirement.key())))
            && self.names.iter().all(|r| r.names.iter().any(|held| held == name) == r.among)
    }
}

fn requirement(expression: &NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match expression.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    };
    Requirement::new(&expression.key, operator, expression.values.clone().unwrap_or_default()).ok()
}

fn name_requirement(field: &NodeSelectorRequirement) -> Option<NameRequirement> {
    let among = match (field.key.as_str(), field.operator.as_str()) {
        ("metadata.name", "In") => true,
        ("metadata.name", "NotIn") => false,
        _ => return None,
    };
    Some(NameRequirement { names: field.values.clone().unwrap_or_default(), among })
}

/// Nodes that a pod would like, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Preference {
    pub weight: i64,
    pub nodes: NodeSelector,
}

/// The preferred node affinity.
pub fn preferences(spec: &PodSpec) -> Vec<Preference> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let preference = |term: &NodeSelectorTerm| NodeSelector::of(std::slice::from_ref(term));
    let terms = preferred.into_iter().flatten();
    terms.map(|t| Preference { weight: i64::from(t.weight), nodes: preference(&t.preference) }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selects(spec: Value, name: &str, labels: &[(&str, &str)]) -> bool {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let spec: PodSpec = serde_json::from_value(spec).expect("a specification");
        let label = |key: &str| labels.iter().find(|(held, _)| *held == key).map(|(_, value)| *value);
        NodeRequirements::of(&spec).matches(name, label)
    }

    fn required(terms: Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    }

    #[test]
    fn the_only_nodes_are_known_by_name_where_every_term_names_some() {
        let names = |terms: Value| {
            let mut spec = required(terms);
            spec["containers"] = json!([]);
            let spec: PodSpec = serde_json::from_value(spec).expect("a specification");
            let requirements = NodeRequirements::of(&spec);
            requirements.names().map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        let field = |operator: &str, name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]});
        assert_eq!(names(json!([field("In", "a"), field("In", "b")])), Some(vec!["a".into(), "b".into()]));
        assert_eq!(names(json!([field("In", "a"), field("NotIn", "b")])), None);
        assert_eq!(names(json!([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}])), None);
        assert_eq!(NodeRequirements::default().names(), None);
    }

    #[test]
    fn selectors_as_upstream() {
        assert!(selects(json!({}), "n", &[]));
        assert!(selects(json!({"nodeSelector": {"a": "1"}}), "n", &[("a", "1")]));
        assert!(!selects(json!({"nodeSelector": {"a": "1"}}), "n", &[("a", "2")]));
        assert!(!selects(required(json!([])), "n", &[]), "no term selects nothing");
        assert!(!selects(required(json!([{}])), "n", &[]), "nor does an empty one");
        let expression = |operator: &str, values: Value| {
            required(json!([{"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}]))
        };
        assert!(selects(expression("Gt", json!(["1"])), "n", &[("a", "2")]));
        assert!(!selects(expression("Lt", json!(["1"])), "n", &[("a", "2")]));
        assert!(selects(expression("NotIn", json!(["1"])), "n", &[]));
        assert!(!selects(expression("Like", json!(["2"])), "n", &[("a", "2")]), "an unknown operator");
        let named = |operator: &str| {
            required(
                json!([{"matchFields": [{"key": "metadata.name", "operator": operator, "values": ["n"]}]}]),
            )
        };
        assert!(selects(named("In"), "n", &[]) && !selects(named("In"), "m", &[]));
        assert!(selects(named("NotIn"), "m", &[]) && !selects(named("NotIn"), "n", &[]));
        let either = required(json!([
            {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
            {"matchExpressions": [{"key": "b", "operator": "Exists"}]},
        ]));
        assert!(selects(either, "n", &[("b", "")]));
    }
}
