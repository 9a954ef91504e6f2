//! Leases.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::policy;

pub(super) fn lease() -> Kind {
    Kind::new("coordination.k8s.io/v1", "leases", Lease)
        .created_by_put()
        .updated_by_version()
        .columns(basic::LEASE)
}

struct Lease;

impl Logic for Lease {
    fn validate(&self, object: &Object) -> ErrorList {
        policy::lease(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("holders come and go")
    }
}
