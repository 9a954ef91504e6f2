//! Pods stay for five minutes on a node that stops answering, unless they say otherwise.

use api::{Error, Object};
use serde_json::{Value, json};

use super::plugin::{Admission, Operation, Review};
use crate::eventual::Eventual;

const TOLERATION_S: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The plugin `DefaultTolerationSeconds`.
pub struct DefaultTolerationSeconds;

impl DefaultTolerationSeconds {
    fn change(review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
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

impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        Self::change(review, object).into()
    }
}

/// Whether the toleration speaks of the taint's eviction: an absent key or effect means any.
fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
    matches!(text("effect"), "" | "NoExecute") && (text("key").is_empty() || text("key") == taint)
}
