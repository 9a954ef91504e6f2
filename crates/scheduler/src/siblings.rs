//! [`Siblings`]: which pods belong together because a Service selects them or a controller made them. Pods without
//! spread constraints of their own are spread among these.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::selector::{LabelSelector, Operator, Requirement};
use informer::Key;
use k8s_openapi::api::core::v1::Pod;

use crate::relations::Labels;

/// The selectors of Services, and those of controllers, by uid.
#[derive(Debug, Default)]
pub struct Siblings {
    services: HashMap<Key, Labels>,
    /// The Services of a namespace by the first of the labels that they select, which every pod of theirs has; those
    /// that select all pods by the empty label.
    by_label: HashMap<(Arc<str>, String, String), BTreeSet<Arc<str>>>,
    controllers: HashMap<Arc<str>, LabelSelector>,
}

/// Under which label a Service is found.
fn label_of(key: &Key, selector: &Labels) -> (Arc<str>, String, String) {
    let (label, value) = selector.first_key_value().map(|(k, v)| (k.clone(), v.clone())).unwrap_or_default();
    (Arc::clone(&key.namespace), label, value)
}

impl Siblings {
    /// A Service selects these labels now; `None` for one that is gone or selects by nothing.
    pub fn service_changed(&mut self, key: &Key, selector: Option<Labels>) {
        if let Some(old) = self.services.remove(key) {
            let label = label_of(key, &old);
            if let Some(names) = self.by_label.get_mut(&label) {
                names.remove(&key.name);
                if names.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
        if let Some(selector) = selector {
            self.by_label.entry(label_of(key, &selector)).or_default().insert(Arc::clone(&key.name));
            self.services.insert(key.clone(), selector);
        }
    }

    /// A controller selects by this.
    pub fn controller_changed(&mut self, uid: &Arc<str>, selector: LabelSelector) {
        self.controllers.insert(Arc::clone(uid), selector);
    }

    pub fn controller_gone(&mut self, uid: &str) {
        self.controllers.remove(uid);
    }

    /// The pods that a pod belongs to: those that all its Services and its controller select. `None` for a pod that
    /// belongs to none.
    pub fn of(&self, pod: &Pod) -> Option<LabelSelector> {
        let empty = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
        let namespace: Arc<str> = Arc::from(pod.metadata.namespace.as_deref().unwrap_or_default());
        let own = labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        let own = own.chain([(String::new(), String::new())]);
        let found = own.filter_map(|(key, value)| self.by_label.get(&(Arc::clone(&namespace), key, value)));
        let keys =
            found.flatten().map(|name| Key { namespace: Arc::clone(&namespace), name: Arc::clone(name) });
        let services = keys.filter_map(|key| self.services.get(&key));
        let selecting = services.filter(|selector| selector.iter().all(|(k, v)| labels.get(k) == Some(v)));
        let wanted: Labels = selecting.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        let by_services = wanted
            .into_iter()
            .filter_map(|(key, value)| Requirement::new(&key, Operator::Equals, vec![value]).ok());
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner =
            owners.filter(|owner| owner.controller == Some(true)).find_map(|o| self.controllers.get(&*o.uid));
        let by_owner = owner.into_iter().flat_map(|selector| selector.requirements().iter().cloned());
        let all: Vec<Requirement> = by_services.chain(by_owner).collect();
        (!all.is_empty()).then(|| LabelSelector::of(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: serde_json::Value, owner: Option<&str>) -> Pod {
        let owners = owner.map(|uid| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": uid, "controller": true}]));
        serde_json::from_value(
            json!({"metadata": {"namespace": "ns", "labels": labels, "ownerReferences": owners}}),
        )
        .expect("a pod")
    }

    #[test]
    fn pods_belong_to_their_services_and_their_controller() {
        let mut siblings = Siblings::default();
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        siblings.service_changed(&Key::new("ns", "web"), Some(labels(&[("app", "web")])));
        siblings.service_changed(&Key::new("other", "web"), Some(labels(&[("tier", "a")])));
        let by_app = LabelSelector::from_object(&json!({"matchLabels": {"app": "web", "hash": "1"}}));
        siblings.controller_changed(&Arc::from("u"), by_app.expect("a selector"));
        let keys = |pod: &Pod| -> Vec<String> {
            let selector = siblings.of(pod);
            selector.iter().flat_map(|s| s.requirements()).map(|r| r.key().to_owned()).collect()
        };
        assert_eq!(keys(&pod(json!({"app": "web", "tier": "a"}), None)), ["app"]);
        assert_eq!(keys(&pod(json!({"app": "web", "hash": "1"}), Some("u"))), ["app", "app", "hash"]);
        assert_eq!(keys(&pod(json!({"app": "db"}), Some("unknown"))), [""; 0]);
        siblings.service_changed(&Key::new("ns", "web"), None);
        siblings.controller_gone("u");
        assert!(
            siblings.of(&pod(json!({"app": "web"}), Some("u"))).is_none() && siblings.services.len() == 1
        );
    }
}
