//! Priority classes.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::policy;

pub(super) fn priority_class() -> Kind {
    Kind::new("scheduling.k8s.io/v1", "priorityclasses", PriorityClass)
        .short("pc")
        .counts_changes()
        .columns(basic::PRIORITY_CLASS)
}

struct PriorityClass;

impl Logic for PriorityClass {
    fn default(&self, object: &mut Object) {
        defaults::priority_class(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        policy::priority_class(object)
    }

    fn undeletable(&self, object: &Object) -> Option<&'static str> {
        policy::is_system_class(object.name())
            .then_some("this is a system priority class and cannot be deleted")
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&policy::priority_class_update)
    }
}
