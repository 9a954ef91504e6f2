//! Attachments of volumes to nodes, and classes of their attributes.

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};

pub(in crate::kinds) fn attachment() -> Kind {
    Kind::new(
        "storage.k8s.io/v1",
        "volumeattachments",
        MetadataOnly(Changes::NotYetJudged("the spec of an attachment is immutable")),
    )
    .updated_by_version()
    .returns_deleted()
    .columns(basic::VOLUME_ATTACHMENT)
}

pub(in crate::kinds) fn attributes_class() -> Kind {
    Kind::new(
        "storage.k8s.io/v1",
        "volumeattributesclasses",
        MetadataOnly(Changes::NotYetJudged("driver and parameters of a class are immutable")),
    )
    .short("vac")
    .returns_deleted()
    .columns(basic::ATTRIBUTES_CLASS)
}
