//! Devices: what there is, and who claims which.

use api::Object;

use crate::columns::{basic, claim};
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic, MetadataOnly};
use crate::status;

pub(super) fn device_class() -> Kind {
    Kind::new(
        "resource.k8s.io/v1",
        "deviceclasses",
        MetadataOnly(Changes::Any("a class is asked when devices are allocated, and never later")),
    )
    .counts_changes()
    .returns_deleted()
}

pub(super) fn resource_claim() -> Kind {
    Kind::new("resource.k8s.io/v1", "resourceclaims", Claim)
        .returns_deleted()
        .printed(claim::RESOURCE_CLAIM, claim::resource_claim)
}

struct Claim;

impl Logic for Claim {
    fn default(&self, object: &mut Object) {
        defaults::device_claim(object);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::NotYetJudged("the spec of a claim is immutable")
    }
}

pub(super) fn resource_claim_template() -> Kind {
    Kind::new("resource.k8s.io/v1", "resourceclaimtemplates", ClaimTemplate).returns_deleted()
}

struct ClaimTemplate;

impl Logic for ClaimTemplate {
    fn default(&self, object: &mut Object) {
        defaults::device_claim_template(object);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::NotYetJudged("the spec of a template is immutable")
    }
}

pub(super) fn resource_slice() -> Kind {
    Kind::new(
        "resource.k8s.io/v1",
        "resourceslices",
        MetadataOnly(Changes::NotYetJudged("node, driver and pool of a slice are immutable")),
    )
    .counts_changes()
    .returns_deleted()
    .selectable("spec.driver")
    .selectable("spec.nodeName")
    .columns(basic::RESOURCE_SLICE)
}
