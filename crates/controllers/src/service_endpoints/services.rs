//! [`Services`]: which Services select a pod, found by the pod's labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::cache::Labels;
use informer::{Cache, Cached, Delta, Index, Key};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde::Deserialize;

use crate::orphans::labelled;
use crate::replicas::pod::facts;

/// The labels that a Service selects pods by, kept beside the cached bytes; none where it selects no pods.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Raw")]
struct ServiceView {
    selector: Box<[(Box<str>, Box<str>)]>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    spec: Option<RawSpec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSpec {
    selector: Option<BTreeMap<Box<str>, Box<str>>>,
}

impl From<Raw> for ServiceView {
    fn from(raw: Raw) -> Self {
        let selector = raw.spec.and_then(|spec| spec.selector).unwrap_or_default();
        Self { selector: selector.into_iter().collect() }
    }
}

fn view(service: &Cached<Service>) -> Arc<ServiceView> {
    service.view()
}

/// Whether the Service selects any pods.
pub(crate) fn selects_pods(service: &Cached<Service>) -> bool {
    !view(service).selector.is_empty()
}

/// Services by the first of the labels that they select by.
#[derive(Clone)]
pub(crate) struct Services(Index<Service>);

impl Services {
    pub fn new(services: &Cache<Service>) -> Self {
        Self(services.index("selected-label", |service, found| {
            if let Some((key, value)) = view(service).selector.first() {
                found(&labelled(service.namespace(), key, value));
            }
        }))
    }

    /// The Services of the namespace that select pods with these labels.
    pub fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Key> {
        let candidates = labels.iter().flat_map(|(key, value)| self.0.get(&labelled(namespace, key, value)));
        let selects = |service: &Cached<Service>| {
            view(service).selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        candidates.filter(selects).map(|service| service.key.clone()).collect()
    }

    /// The Services whose endpoints a pod's change may change.
    pub fn concerned(&self, delta: &Delta<Pod>) -> Vec<Key> {
        let new = delta.object();
        let old = delta.old();
        if std::iter::once(new).chain(old).all(|pod| facts(pod).ips.is_empty()) {
            return Vec::new();
        }
        let now = || self.selecting(new.namespace(), &new.labels);
        let Some(old) = old else { return now() };
        let changed = is_another_endpoint(old, new);
        if old.labels == new.labels {
            return if changed { now() } else { Vec::new() };
        }
        let (before, now) = (self.selecting(old.namespace(), &old.labels), now());
        let came = now.iter().filter(|key| changed || !before.contains(key));
        let went = before.iter().filter(|key| !now.contains(key));
        came.chain(went).cloned().collect()
    }
}

/// Whether the change of a pod changes the pod's endpoint.
fn is_another_endpoint(old: &Cached<Pod>, new: &Cached<Pod>) -> bool {
    let (before, after) = (facts(old), facts(new));
    old.uid != new.uid
        || old.is_being_deleted() != new.is_being_deleted()
        || before.ready != after.ready
        || before.is_terminal() != after.is_terminal()
        || before.ips != after.ips
        || before.node_name != after.node_name
        || (&before.hostname, &before.subdomain) != (&after.hostname, &after.subdomain)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn services(all: &[(&str, &str, Value)]) -> Services {
        let cache = Cache::<Service>::new();
        let services = Services::new(&cache);
        for (namespace, name, selector) in all {
            let meta = json!({"namespace": namespace, "name": name});
            let service = json!({"metadata": meta, "spec": {"selector": selector}});
            cache.apply(serde_json::from_value(service).expect("a Service"));
        }
        services
    }

    fn pod(labels: &Value, status: &Value) -> Cached<Pod> {
        let meta = json!({"namespace": "d", "name": "p", "uid": "u", "labels": labels});
        let pod = json!({"metadata": meta, "status": status});
        Cached::of(&serde_json::from_value(pod).expect("a pod"))
    }

    fn names(mut keys: Vec<Key>) -> Vec<String> {
        keys.sort();
        keys.iter().map(|key| key.name.to_string()).collect()
    }

    #[test]
    fn a_service_selects_by_all_its_labels() {
        let services = services(&[
            ("d", "app", json!({"app": "a"})),
            ("d", "both", json!({"app": "a", "tier": "x"})),
            ("d", "none", json!({})),
            ("d", "null", Value::Null),
            ("e", "elsewhere", json!({"app": "a"})),
        ]);
        let of = |labels: Value| names(services.selecting("d", &pod(&labels, &json!({})).labels));
        assert_eq!(of(json!({"app": "a", "tier": "x", "more": "y"})), ["app", "both"]);
        assert_eq!(of(json!({"app": "a", "tier": "y"})), ["app"]);
        assert_eq!(of(json!({"tier": "x"})), Vec::<String>::new());
        assert_eq!(of(json!({})), Vec::<String>::new());
    }

    #[test]
    fn only_what_changes_an_endpoint_wakes_a_service() {
        let services = services(&[("d", "a", json!({"app": "a"})), ("d", "b", json!({"tier": "b"}))]);
        let running = |ready: &str| json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]});
        let change = |old: Option<Cached<Pod>>, new: Cached<Pod>| {
            names(services.concerned(&Delta::Applied { new, old }))
        };
        let a = json!({"app": "a"});
        let ab = json!({"app": "a", "tier": "b"});
        assert_eq!(change(None, pod(&a, &json!({}))), Vec::<String>::new(), "no address yet");
        assert_eq!(change(None, pod(&a, &running("False"))), ["a"]);
        let ready = || pod(&a, &running("True"));
        assert_eq!(change(Some(ready()), ready()), Vec::<String>::new());
        assert_eq!(change(Some(pod(&a, &running("False"))), ready()), ["a"]);
        assert_eq!(change(Some(ready()), pod(&ab, &running("True"))), ["b"], "the label alone changed");
        assert_eq!(change(Some(pod(&ab, &running("True"))), ready()), ["b"]);
        assert_eq!(change(Some(ready()), pod(&ab, &running("False"))), ["a", "b"]);
        assert_eq!(names(services.concerned(&Delta::Deleted(ready()))), ["a"]);
    }
}
