//! Events of the core group, the form that all events are stored in.

use api::Object;
use api::field::ErrorList;

use crate::columns::event;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::events;

struct Event;

impl Logic for Event {
    fn validate(&self, object: &Object) -> ErrorList {
        events::of_core(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("clients of old count by changing what an event says")
    }
}

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "events", Event)
        .short("ev")
        .lives_s(3600)
        .created_by_put()
        .selectable("involvedObject.apiVersion")
        .selectable("involvedObject.fieldPath")
        .selectable("involvedObject.kind")
        .selectable("involvedObject.name")
        .selectable("involvedObject.namespace")
        .selectable("involvedObject.resourceVersion")
        .selectable("involvedObject.uid")
        .selectable("reason")
        .selectable("reportingComponent")
        .selectable_or("source", "source.component", "reportingComponent")
        .selectable("type")
        .printed(event::COLUMNS, event::cells)
}
