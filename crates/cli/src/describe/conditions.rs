//! Tables of conditions.

use serde_json::Value;

use super::fields::Fields as _;
use super::text::{Text, put};
use super::view::View;

/// Type, status and reason, as controllers of pods show them.
pub fn short(text: &mut Text, object: &Value) {
    let conditions = object.items("status.conditions");
    if conditions.is_empty() {
        return;
    }
    put!(text, 0, "Conditions:\n  Type\tStatus\tReason");
    put!(text, 1, "----\t------\t------");
    for condition in conditions {
        let (kind, status) = (condition.text("type"), condition.text("status"));
        put!(text, 1, "{kind} \t{status}\t{}", condition.text("reason"));
    }
}

/// The rows of a table with times: type, status, last transition, reason, message.
pub fn with_times(view: &View<'_>, text: &mut Text) {
    put!(text, 1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
    put!(text, 1, "----\t------\t------------------\t------\t-------");
    for condition in view.object.items("status.conditions") {
        let time = view.time(condition.at("lastTransitionTime"));
        let (kind, status) = (condition.text("type"), condition.text("status"));
        let (reason, message) = (condition.text("reason"), condition.text("message"));
        put!(text, 1, "{kind}\t{status}\t{time}\t{reason}\t{message}");
    }
}
