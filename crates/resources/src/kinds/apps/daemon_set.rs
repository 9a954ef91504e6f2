//! Daemon sets: an annotation counts the changes of their template, for old clients.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::row::Immutable;
use crate::status;
use crate::validation::IMMUTABLE;
use crate::validation::pod;
use crate::validation::workload as valid;
use crate::validation::workload_status;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("apps/v1", "daemonsets", DaemonSet)
        .short("ds")
        .category("all")
        .counts_changes()
        .immutable(Immutable::invalid(&["spec", "selector"], IMMUTABLE))
        .printed(workload::DAEMON_SET, workload::daemon_set)
}

struct DaemonSet;

impl Logic for DaemonSet {
    fn default(&self, object: &mut Object) {
        defaults::daemon_set(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        prepare_new(object);
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        prepare_update(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        valid::daemon_set(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        workload_status::daemon_set(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        pod::template_warnings(object)
    }
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn prepare_new(set: &mut Object) {
    let start = json!({
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
    });
    status::start(set, start);
    set_template_generation(set, 1);
}

fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    let before = old.annotation(TEMPLATE_GENERATION).and_then(|g| g.parse::<i64>().ok()).unwrap_or(0);
    let changed = new.at(&["spec", "template"]) != old.at(&["spec", "template"]);
    set_template_generation(new, before.saturating_add(i64::from(changed)));
}

fn set_template_generation(set: &mut Object, generation: i64) {
    set.set_at(&["metadata", "annotations", TEMPLATE_GENERATION], generation.to_string().into());
}
