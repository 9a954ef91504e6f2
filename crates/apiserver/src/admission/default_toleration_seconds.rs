//! Pods stay for five minutes on a node that is not reachable, unless their tolerations say otherwise.

use api::{Error, Object};
use serde_json::{Value, json};

use super::plugin::{Immediate, Operation, Review};

const TOLERATION_S: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The plugin `DefaultTolerationSeconds`.
pub struct DefaultTolerationSeconds;

impl Immediate for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = matches!(review.operation, Operation::Create | Operation::Update)
            && review.is_about_whole("", "pods");
        let Some(pod) = object.filter(|_| concerned) else { return Ok(()) };
        let mut tolerations = match pod.at(&["spec", "tolerations"]) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        let before = tolerations.len();
        for taint in TAINTS {
            if !tolerations[..before].iter().any(|toleration| tolerates(toleration, taint)) {
                tolerations.push(json!({
                    "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_S,
                }));
            }
        }
        if tolerations.len() > before {
            pod.set_at(&["spec", "tolerations"], tolerations.into());
        }
        Ok(())
    }
}

/// Whether the toleration speaks of the taint's eviction: an absent key or effect means any.
fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
    matches!(text("effect"), "" | "NoExecute") && (text("key").is_empty() || text("key") == taint)
}
