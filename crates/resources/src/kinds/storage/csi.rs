//! Drivers of volumes, what nodes have of them, and what they can provide.

use api::Object;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic, MetadataOnly};

pub(in crate::kinds) fn driver() -> Kind {
    Kind::new("storage.k8s.io/v1", "csidrivers", Driver)
        .counts_changes()
        .updated_by_version()
        .returns_deleted()
}

struct Driver;

impl Logic for Driver {
    fn default(&self, object: &mut Object) {
        defaults::csi_driver(object);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::NotYetJudged("most of what a driver says of itself is immutable")
    }
}

pub(in crate::kinds) fn node() -> Kind {
    Kind::new(
        "storage.k8s.io/v1",
        "csinodes",
        MetadataOnly(Changes::NotYetJudged("the id that a driver has for a node is immutable")),
    )
    .updated_by_version()
    .returns_deleted()
    .columns(basic::CSI_NODE)
}

pub(in crate::kinds) fn storage_capacity() -> Kind {
    Kind::new(
        "storage.k8s.io/v1",
        "csistoragecapacities",
        MetadataOnly(Changes::NotYetJudged("class and topology of a capacity are immutable")),
    )
    .updated_by_version()
    .columns(basic::CSI_CAPACITY)
}
