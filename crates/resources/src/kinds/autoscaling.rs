//! Autoscalers, in two versions of which the newer one is stored.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::autoscaler;
use crate::convert;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation;

pub(super) fn v1() -> Kind {
    Kind::new("autoscaling/v1", "horizontalpodautoscalers", Autoscaler)
        .stored_as("autoscaling/v2", convert::Autoscalers)
        .short("hpa")
        .category("all")
        .printed(autoscaler::COLUMNS, autoscaler::cells)
}

pub(super) fn v2() -> Kind {
    Kind::new("autoscaling/v2", "horizontalpodautoscalers", Autoscaler)
        .short("hpa")
        .category("all")
        .printed(autoscaler::COLUMNS, autoscaler::cells)
}

struct Autoscaler;

impl Logic for Autoscaler {
    fn default(&self, object: &mut Object) {
        defaults::autoscaler(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"currentReplicas": 0, "desiredReplicas": 0}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::autoscaler::autoscaler(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("what is scaled, and between which bounds, is free")
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        validation::autoscaler::autoscaler_status(new, old)
    }
}
