//! Pods may keep others away from their node, and from nothing larger. Off by default, as upstream
//! (`plugin/pkg/admission/antiaffinity`).

use api::{Error, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};

const HOSTNAME: &str = "kubernetes.io/hostname";
const TERMS: [&str; 4] =
    ["spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];

/// The plugin `LimitPodHardAntiAffinityTopology`.
pub struct AntiAffinityTopology;

impl Immediate for AntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        let Some(pod) = object.filter(|_| written && review.is_about_whole("", "pods")) else {
            return Ok(());
        };
        for term in pod.at(&TERMS).and_then(Value::as_array).into_iter().flatten() {
            let key = term.get("topologyKey").and_then(Value::as_str).unwrap_or("");
            if key != HOSTNAME {
                return Err(review.forbid(
                    object,
                    format!(
                        "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} is allowed"
                    ),
                ));
            }
        }
        Ok(())
    }
}
