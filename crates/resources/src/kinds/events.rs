//! Events of events.k8s.io, which are stored in the form of the core group.

use crate::columns::event;
use crate::convert;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};

pub(super) fn event() -> Kind {
    Kind::new(
        "events.k8s.io/v1",
        "events",
        MetadataOnly(Changes::NotYetJudged("all of an event but its series is immutable")),
    )
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
