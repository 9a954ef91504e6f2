//! [`Orphans`]: objects without a controlling owner, which a workload may adopt, found by namespace and label.

use api::selector::{LabelSelector, Operator, Requirement};
use informer::{Cache, Cached, Index, Kind};

/// The index. Every orphan is found under its namespace, and under its namespace with each of its labels.
pub(crate) struct Orphans<K>(Index<K>);

impl<K: Kind> Orphans<K> {
    pub fn new(cache: &Cache<K>) -> Self {
        Self(cache.index("orphan", |object, found| {
            if object.controller().is_none() {
                found(object.namespace());
                for (key, value) in object.labels.iter() {
                    found(&labelled(object.namespace(), key, value));
                }
            }
        }))
    }

    /// The orphans of a namespace that a selector picks, in key order.
    pub fn selected(&self, namespace: &str, selector: &LabelSelector) -> Vec<Cached<K>> {
        let candidates = match selector.requirements().iter().find_map(exact) {
            Some((key, value)) => self.0.get(&labelled(namespace, key, value)),
            None => self.0.get(namespace),
        };
        candidates.into_iter().filter(|object| selector.matches(|key| object.label(key))).collect()
    }
}

/// A namespace and a label as one value. Neither holds a NUL.
pub(crate) fn labelled(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}\0{key}\0{value}")
}

/// The one label that a requirement demands.
pub(crate) fn exact(requirement: &Requirement) -> Option<(&str, &str)> {
    let demands = matches!(requirement.operator(), Operator::In | Operator::Equals | Operator::DoubleEquals);
    match requirement.values() {
        [value] if demands => Some((requirement.key(), value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn orphans_are_found_by_what_a_selector_demands() {
        let cache = Cache::<ConfigMap>::new();
        let orphans = Orphans::new(&cache);
        let put = |name: &str, labels: serde_json::Value, owned: bool| {
            let owners =
                json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": true}]);
            let owners = if owned { owners } else { json!([]) };
            let meta = json!({"name": name, "namespace": "ns", "uid": name, "labels": labels, "ownerReferences": owners});
            cache.apply(serde_json::from_value(json!({"metadata": meta})).expect("a config map"));
        };
        put("a", json!({"app": "x", "tier": "1"}), false);
        put("b", json!({"app": "x"}), true);
        put("c", json!({"app": "y"}), false);
        let found = |selector: &str| -> Vec<String> {
            let selector = LabelSelector::parse(selector).expect("a selector");
            orphans.selected("ns", &selector).iter().map(|object| object.name().to_owned()).collect()
        };
        assert_eq!(found("app=x"), ["a"]);
        assert_eq!(found("app in (x,y)"), ["a", "c"]);
        assert_eq!(found("app=x,tier!=1"), Vec::<String>::new());
        assert_eq!(found("tier"), ["a"]);
    }
}
