//! Events of events.k8s.io, which are stored in the form of the core group.

use api::Object;
use api::field::ErrorList;

use crate::columns::event;
use crate::convert;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::events;

struct Event;

impl Logic for Event {
    fn validate(&self, object: &Object) -> ErrorList {
        events::of_group(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&events::of_group_update)
    }
}

pub(super) fn event() -> Kind {
    Kind::new("events.k8s.io/v1", "events", Event)
        .short("ev")
        .stored_as("v1", convert::Events)
        .lives_s(3600)
        .created_by_put()
        .selectable("reason")
        .selectable_as("regarding.apiVersion", "involvedObject.apiVersion")
        .selectable_as("regarding.fieldPath", "involvedObject.fieldPath")
        .selectable_as("regarding.kind", "involvedObject.kind")
        .selectable_as("regarding.name", "involvedObject.name")
        .selectable_as("regarding.namespace", "involvedObject.namespace")
        .selectable_as("regarding.resourceVersion", "involvedObject.resourceVersion")
        .selectable_as("regarding.uid", "involvedObject.uid")
        .selectable_as("reportingController", "reportingComponent")
        .selectable("type")
        .printed(event::COLUMNS, event::cells)
}
