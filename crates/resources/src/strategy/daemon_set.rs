//! Daemon sets: an annotation counts the changes of their template, for old clients.

use api::Object;
use serde_json::json;

use super::status;

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn prepare_create(set: &mut Object) {
    let start = json!({
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
    });
    status::start(set, start);
    set_template_generation(set, 1);
}

pub(super) fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    let before = old.annotation(TEMPLATE_GENERATION).and_then(|g| g.parse::<i64>().ok()).unwrap_or(0);
    let changed = new.at(&["spec", "template"]) != old.at(&["spec", "template"]);
    set_template_generation(new, before.saturating_add(i64::from(changed)));
}

fn set_template_generation(set: &mut Object, generation: i64) {
    set.set_at(&["metadata", "annotations", TEMPLATE_GENERATION], generation.to_string().into());
}
