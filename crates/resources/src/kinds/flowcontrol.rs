//! How the server shares itself out: flow schemas and priority levels.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::flowcontrol;

pub(super) fn flow_schema() -> Kind {
    Kind::new("flowcontrol.apiserver.k8s.io/v1", "flowschemas", FlowSchema)
        .counts_changes()
        .printed(basic::FLOW_SCHEMA, basic::flow_schema)
}

struct FlowSchema;

impl Logic for FlowSchema {
    fn default(&self, object: &mut Object) {
        defaults::flow_schema(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        flowcontrol::flow_schema(object)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        flowcontrol::status_update(new, old)
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("requests are classed anew by each change")
    }
}

pub(super) fn priority_level_configuration() -> Kind {
    Kind::new("flowcontrol.apiserver.k8s.io/v1", "prioritylevelconfigurations", PriorityLevel)
        .counts_changes()
        .columns(basic::PRIORITY_LEVEL)
}

struct PriorityLevel;

impl Logic for PriorityLevel {
    fn default(&self, object: &mut Object) {
        defaults::priority_level(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        flowcontrol::priority_level(object)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        flowcontrol::status_update(new, old)
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("shares are figured anew by each change")
    }
}
