//! A pod's runtime class must exist; its overhead and scheduling become the pod's.
//!
//! Upstream: `plugin/pkg/admission/runtimeclass/admission.go`.

use api::quantity::Quantity;
use api::{Error, Object};
use serde_json::{Map, Value};

use super::plugin::{Immediate, Operation, Review};
use super::tolerations;
use crate::cache::lookup::Lookup;

/// The plugin `RuntimeClass`.
pub struct RuntimeClass {
    lookup: Lookup,
}

impl RuntimeClass {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    /// The pod's class; `None` where it names none.
    fn class(&self, review: &Review<'_>, pod: &Object) -> Result<Option<Object>, Error> {
        let Some(name) = pod.str_at(&["spec", "runtimeClassName"]) else { return Ok(None) };
        let missing = || review.forbid(Some(pod), format!("pod rejected: RuntimeClass {name:?} not found"));
        self.lookup.object("node.k8s.io", "runtimeclasses", "", name).ok_or_else(missing).map(Some)
    }
}

fn concerns(review: &Review<'_>) -> bool {
    review.operation == Operation::Create && review.is_about_whole("", "pods")
}

impl Immediate for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|_| concerns(review)) else { return Ok(()) };
        let Some(class) = self.class(review, pod)? else { return Ok(()) };
        set_overhead(pod, &class)
            .and_then(|()| set_scheduling(pod, &class))
            .map_err(|why| review.forbid(Some(pod), why))
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|_| concerns(review)) else { return Ok(()) };
        let class = self.class(review, pod)?;
        let overhead = pod.at(&["spec", "overhead"]).filter(|overhead| !overhead.is_null());
        let why = match (class.as_ref().and_then(fixed), overhead) {
            (Some(fixed), overhead) if overhead.is_none_or(|overhead| !same_amounts(fixed, overhead)) => {
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            }
            (None, Some(_)) => {
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            }
            _ => return Ok(()),
        };
        Err(review.forbid(object, why))
    }
}

/// What a pod of the class costs beside its containers.
fn fixed(class: &Object) -> Option<&Value> {
    class.at(&["overhead", "podFixed"]).filter(|fixed| !fixed.is_null())
}

fn set_overhead(pod: &mut Object, class: &Object) -> Result<(), String> {
    let Some(fixed) = fixed(class) else { return Ok(()) };
    let given = pod.at(&["spec", "overhead"]).filter(|given| !given.is_null());
    if given.is_some_and(|given| !same_amounts(fixed, given)) {
        return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
    }
    pod.set_at(&["spec", "overhead"], fixed.clone());
    Ok(())
}

/// Whether two lists of resources hold the same amounts, however they are written.
fn same_amounts(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
    let amount = |value: &Value| value.as_str()?.parse::<Quantity>().ok();
    a.len() == b.len()
        && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| amount(value) == amount(other)))
}

fn set_scheduling(pod: &mut Object, class: &Object) -> Result<(), String> {
    let wanted = class.at(&["scheduling", "nodeSelector"]).and_then(Value::as_object);
    if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
        let mut selector =
            pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object).cloned().unwrap_or_default();
        merge_selector(&mut selector, wanted)?;
        pod.set_at(&["spec", "nodeSelector"], selector.into());
    }
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let more = list(class.at(&["scheduling", "tolerations"]));
    if !more.is_empty() {
        let merged = tolerations::merged(&list(pod.at(&["spec", "tolerations"])), &more);
        pod.set_at(&["spec", "tolerations"], merged.into());
    }
    Ok(())
}

fn merge_selector(selector: &mut Map<String, Value>, wanted: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in wanted {
        if let Some(own) = selector.get(key).filter(|own| *own != value) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            ));
        }
        selector.insert(key.clone(), value.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
