//! Disruption budgets.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::policy;

pub(super) fn pod_disruption_budget() -> Kind {
    Kind::new("policy/v1", "poddisruptionbudgets", Budget)
        .short("pdb")
        .counts_changes()
        .updated_by_version()
        .columns(basic::DISRUPTION_BUDGET)
}

struct Budget;

impl Logic for Budget {
    fn prepare_create(&self, object: &mut Object) {
        let zero = json!({
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        });
        status::start(object, zero);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        policy::disruption_budget(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("budgets are free since policy/v1")
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        policy::disruption_budget_status(new, old)
    }
}
