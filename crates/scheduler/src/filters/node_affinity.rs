//! NodeAffinity: the pod's node selector and required node affinity.

use api::selector::{Operator, Requirement};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    (!fits(pod, node)).then(|| Refusal::lasting("node(s) didn't match Pod's node affinity/selector"))
}

/// Whether the pod's selector and required affinity pick the node.
pub fn fits(pod: &PodInfo, node: &NodeInfo) -> bool {
    let selected = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let accepted = pod.required_affinity.as_ref().is_none_or(|terms| matches_terms(terms, node));
    selected && accepted
}

/// Whether any term matches. No terms match nothing, as do empty ones.
pub fn matches_terms(terms: &[NodeSelectorTerm], node: &NodeInfo) -> bool {
    terms.iter().any(|term| matches_term(term, node))
}

fn matches_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|e| matches_expression(e, node.labels.get(&e.key).map(String::as_str)))
        && matches_fields(fields, node)
}

/// The only field is `metadata.name`, which is longer than a label's value may be.
pub fn matches_fields(fields: &[NodeSelectorRequirement], node: &NodeInfo) -> bool {
    fields.iter().all(|field| {
        let named = field.values.iter().flatten().any(|value| *value == node.name);
        match (field.key.as_str(), field.operator.as_str()) {
            ("metadata.name", "In") => named,
            ("metadata.name", "NotIn") => !named,
            _ => false,
        }
    })
}

fn matches_expression(expression: &NodeSelectorRequirement, label: Option<&str>) -> bool {
    let operator = match expression.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let values = expression.values.clone().unwrap_or_default();
    Requirement::new(&expression.key, operator, values).is_ok_and(|r| r.matches(label))
}
