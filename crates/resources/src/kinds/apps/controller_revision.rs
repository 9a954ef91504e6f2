//! Revisions that controllers keep of what they roll out.

use crate::columns::workload;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new(
        "apps/v1",
        "controllerrevisions",
        MetadataOnly(Changes::NotYetJudged("the data of a revision is immutable")),
    )
    .printed(workload::REVISION, workload::revision)
}
