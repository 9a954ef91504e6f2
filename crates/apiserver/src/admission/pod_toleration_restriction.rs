//! Pods get the tolerations that their namespace names in an annotation, and may have those alone that it permits in
//! another. Off by default, as upstream (`plugin/pkg/admission/podtolerationrestriction`), whose file with the
//! cluster's own lists is not read.

use api::{Error, Object, Reason};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plugin::{Immediate, Operation, Review};
use super::tolerations::{covers, merged};
use crate::cache::lookup::Lookup;

const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const PERMITTED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/// The plugin `PodTolerationRestriction`.
pub struct PodTolerationRestriction {
    lookup: Lookup,
}

impl PodTolerationRestriction {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    /// The tolerations in an annotation of the request's namespace; none where there is no such annotation.
    fn told(&self, review: &Review<'_>, annotation: &str) -> Result<Vec<Value>, Error> {
        let namespace = self.lookup.object("", "namespaces", "", &review.attributes.namespace);
        let Some(namespace) = namespace else { return Ok(Vec::new()) };
        let text = namespace.annotations().find(|(key, _)| *key == annotation).map_or("", |(_, text)| text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let list: Option<Vec<Value>> = serde_json::from_str(text).ok();
        list.filter(|all| all.iter().all(Value::is_object)).ok_or_else(|| {
            let name = namespace.name();
            failed(format!("annotation {annotation} of namespace {name} is no list of tolerations"))
        })
    }
}

/// A refusal that upstream takes for a failure of the server.
fn failed(why: String) -> Error {
    Error::new(Reason::Unknown, why)
}

fn concerned(review: &Review<'_>) -> bool {
    matches!(review.operation, Operation::Create | Operation::Update) && review.is_about_whole("", "pods")
}

fn own(pod: &Object) -> Vec<Value> {
    pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Whether memory is set aside for the pod, so that it may go to a node that has little left.
fn asks_for_something(pod: &Object) -> bool {
    let pod: Option<Pod> = serde_json::from_value(Value::Object(pod.0.clone())).ok();
    pod.is_some_and(|pod| pods::qos_class(&pod) != "BestEffort")
}

impl Immediate for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|_| concerned(review)) else { return Ok(()) };
        let mut all = own(pod);
        if review.operation == Operation::Create {
            let defaults = self.told(review, DEFAULTS)?;
            if !defaults.is_empty() {
                all = if all.is_empty() { defaults } else { merged(&defaults, &all) };
            }
        }
        if asks_for_something(pod) {
            let pressure = json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"});
            all = merged(&all, &[pressure]);
        }
        if !all.is_empty() && all != own(pod) {
            pod.set_at(&["spec", "tolerations"], all.into());
        }
        Ok(())
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|_| concerned(review)) else { return Ok(()) };
        let all = own(pod);
        if all.is_empty() {
            return Ok(());
        }
        let permitted = self.told(review, PERMITTED)?;
        let is_permitted = |toleration: &Value| permitted.iter().any(|wide| covers(wide, toleration));
        if permitted.is_empty() || all.iter().all(is_permitted) {
            return Ok(());
        }
        Err(failed(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
                .to_owned(),
        ))
    }
}
