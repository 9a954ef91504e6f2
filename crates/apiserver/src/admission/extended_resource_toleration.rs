//! Pods that ask for extended resources tolerate the taints of the nodes that have them: taints are named for the
//! resources. Off by default, as upstream (`plugin/pkg/admission/extendedresourcetoleration`).

use std::collections::BTreeSet;

use api::{Error, Object};
use serde_json::{Value, json};

use super::plugin::{Immediate, Operation, Review};

/// The plugin `ExtendedResourceToleration`.
pub struct ExtendedResourceToleration;

/// Whether a resource is one of somebody's own.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

fn asked(pod: &Object) -> BTreeSet<String> {
    let lists =
        ["containers", "initContainers"].into_iter().filter_map(|list| pod.at(&["spec", list])?.as_array());
    let requests =
        lists.flatten().filter_map(|container| container.get("resources")?.get("requests")?.as_object());
    requests.flat_map(|requests| requests.keys()).filter(|name| is_extended(name)).cloned().collect()
}

impl Immediate for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        let Some(pod) = object.filter(|_| written && review.is_about_whole("", "pods")) else {
            return Ok(());
        };
        let mut tolerations = match pod.at(&["spec", "tolerations"]) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        let before = tolerations.len();
        for name in asked(pod) {
            let text = |toleration: &Value, key: &str| {
                toleration.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let there = tolerations.iter().any(|known| {
                text(known, "key") == name
                    && text(known, "operator") == "Exists"
                    && text(known, "effect") == "NoSchedule"
            });
            if !there {
                tolerations.push(json!({"key": name, "operator": "Exists", "effect": "NoSchedule"}));
            }
        }
        if tolerations.len() > before {
            pod.set_at(&["spec", "tolerations"], tolerations.into());
        }
        Ok(())
    }
}
