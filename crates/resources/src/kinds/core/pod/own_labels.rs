//! Selectors that speak of the pod's own labels: what `matchLabelKeys` and `mismatchLabelKeys` name is written into
//! the selectors when the pod is made, and does not follow the labels afterwards (KEP-3243, KEP-3633).

use api::Object;
use serde_json::{Value, json};

use crate::fill::{self, Fields};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Adds to the selectors of a new pod what their lists of keys say.
pub(super) fn select(pod: &mut Object) {
    let Some(labels) = pod.at(&["metadata", "labels"]).and_then(Value::as_object).cloned() else { return };
    let Some(spec) = fill::within(&mut pod.0, "spec") else { return };
    if let Some(affinity) = fill::within(spec, "affinity") {
        for kind in ["podAffinity", "podAntiAffinity"] {
            let Some(terms) = fill::within(affinity, kind) else { continue };
            fill::items(terms, REQUIRED).for_each(|term| of_term(term, &labels));
            for weighted in fill::items(terms, PREFERRED) {
                if let Some(term) = fill::within(weighted, "podAffinityTerm") {
                    of_term(term, &labels);
                }
            }
        }
    }
    for constraint in fill::items(spec, "topologySpreadConstraints") {
        add(constraint, "matchLabelKeys", "In", &labels);
    }
}

fn of_term(term: &mut Fields, labels: &Fields) {
    add(term, "matchLabelKeys", "In", labels);
    add(term, "mismatchLabelKeys", "NotIn", labels);
}

/// Keys of which the pod has no label say nothing; without a selector there is nothing to add to.
fn add(owner: &mut Fields, list: &str, operator: &str, labels: &Fields) {
    let keys = owner.get(list).and_then(Value::as_array).into_iter().flatten();
    let added: Vec<Value> = keys
        .filter_map(Value::as_str)
        .filter_map(|key| Some(json!({"key": key, "operator": operator, "values": [labels.get(key)?]})))
        .collect();
    let Some(selector) = fill::within(owner, "labelSelector").filter(|_| !added.is_empty()) else { return };
    match selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        Some(expressions) => expressions.extend(added),
        None => drop(selector.insert("matchExpressions".to_owned(), added.into())),
    }
}
