//! Limit ranges.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::policy;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "limitranges", LimitRange).short("limits").created_by_put().columns(basic::CREATED)
}

struct LimitRange;

impl Logic for LimitRange {
    fn default(&self, object: &mut Object) {
        defaults::limit_range(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        policy::limit_range(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("limits bind only what is created later")
    }
}
