//! Classes of runtimes.

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};

pub(super) fn runtime_class() -> Kind {
    Kind::new(
        "node.k8s.io/v1",
        "runtimeclasses",
        MetadataOnly(Changes::NotYetJudged("the handler of a class is immutable")),
    )
    .updated_by_version()
    .columns(basic::RUNTIME_CLASS)
}
