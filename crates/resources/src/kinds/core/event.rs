//! Events of the core group, the form that all events are stored in.

use crate::columns::event;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new(
        "v1",
        "events",
        MetadataOnly(Changes::NotYetJudged("upstream checks reporter, action and series")),
    )
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
