//! Devices: what there is, and who claims which.

use api::Object;
use api::field::ErrorList;

use crate::columns::{basic, claim};
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::{device_slice, devices};

pub(super) fn device_class() -> Kind {
    Kind::new("resource.k8s.io/v1", "deviceclasses", Class).counts_changes().returns_deleted()
}

struct Class;

impl Logic for Class {
    fn validate(&self, object: &Object) -> ErrorList {
        devices::class(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a class is asked when devices are allocated, and never later")
    }
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

    fn validate(&self, object: &Object) -> ErrorList {
        devices::claim(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&devices::spec_stays)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        devices::claim_status(new, old)
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

    fn validate(&self, object: &Object) -> ErrorList {
        devices::template(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&devices::spec_stays)
    }
}

pub(super) fn resource_slice() -> Kind {
    Kind::new("resource.k8s.io/v1", "resourceslices", Slice)
        .counts_changes()
        .returns_deleted()
        .selectable("spec.driver")
        .selectable("spec.nodeName")
        .columns(basic::RESOURCE_SLICE)
}

struct Slice;

impl Logic for Slice {
    fn validate(&self, object: &Object) -> ErrorList {
        device_slice::slice(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&device_slice::update)
    }
}
