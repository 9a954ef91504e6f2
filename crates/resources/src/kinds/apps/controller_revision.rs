//! Revisions that controllers keep of what they roll out.

use api::Object;
use api::field::ErrorList;

use crate::columns::workload;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::row::Immutable;
use crate::validation::IMMUTABLE;
use crate::validation::workload as valid;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("apps/v1", "controllerrevisions", ControllerRevision)
        .immutable(Immutable::invalid(&["data"], IMMUTABLE))
        .printed(workload::REVISION, workload::revision)
}

struct ControllerRevision;

impl Logic for ControllerRevision {
    fn validate(&self, object: &Object) -> ErrorList {
        valid::controller_revision(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }
}
