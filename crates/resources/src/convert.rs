//! Conversions between served and stored versions, for the two kinds that have more than one.
//!
//! Both are pure renames or embeddings on the dynamic object, and lossless in both directions.

mod autoscaler;
mod event;

use api::Object;

use crate::row::Convert;

/// events.k8s.io/v1 ↔ v1.
pub(crate) struct Events;

impl Convert for Events {
    fn to_stored(&self, object: &mut Object) {
        event::to_core(object);
    }

    fn to_served(&self, object: &mut Object) {
        event::from_core(object);
    }
}

/// autoscaling/v1 ↔ autoscaling/v2.
pub(crate) struct Autoscalers;

impl Convert for Autoscalers {
    fn to_stored(&self, object: &mut Object) {
        autoscaler::to_v2(object);
    }

    fn to_served(&self, object: &mut Object) {
        autoscaler::to_v1(object);
    }
}
