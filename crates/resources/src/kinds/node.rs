//! Classes of runtimes.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::{runtime_class as valid, warnings};

struct RuntimeClass;

impl Logic for RuntimeClass {
    fn validate(&self, object: &Object) -> ErrorList {
        valid::runtime_class(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&valid::update)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::runtime_class(object)
    }
}

pub(super) fn runtime_class() -> Kind {
    Kind::new("node.k8s.io/v1", "runtimeclasses", RuntimeClass)
        .updated_by_version()
        .columns(basic::RUNTIME_CLASS)
}
