//! A new node takes no pods before it has reported that it is ready. One that reports so while it is made needs no
//! taint, which the node lifecycle controller would take away at once.

use api::{Error, Object};
use serde_json::{Value, json};

use super::plugin::{Immediate, Operation, Review};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

/// The plugin `TaintNodesByCondition`.
pub struct TaintNewNodes;

impl Immediate for TaintNewNodes {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = review.operation == Operation::Create && review.is_about_whole("", "nodes");
        let Some(node) = object.filter(|_| concerned) else { return Ok(()) };
        if is_ready(node) {
            return Ok(());
        }
        let mut taints = match node.at(&["spec", "taints"]) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        if !taints.iter().any(|taint| taint["key"] == NOT_READY && taint["effect"] == EFFECT) {
            taints.push(json!({"key": NOT_READY, "effect": EFFECT}));
            node.set_at(&["spec", "taints"], taints.into());
        }
        Ok(())
    }
}

fn is_ready(node: &Object) -> bool {
    let Some(Value::Array(conditions)) = node.at(&["status", "conditions"]) else { return false };
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
