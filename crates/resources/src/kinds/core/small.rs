//! Kinds of the core group that are never stored.

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};
use crate::row::{Observed, Question};

pub(in crate::kinds) fn binding() -> Kind {
    Kind::new("v1", "bindings", MetadataOnly(Changes::Any("a binding is made and never kept")))
        .question(Question::Binding)
}

pub(in crate::kinds) fn component_status() -> Kind {
    Kind::new("v1", "componentstatuses", MetadataOnly(Changes::Any("statuses are only read")))
        .short("cs")
        .deprecated("v1 ComponentStatus is deprecated in v1.19+")
        .observed(Observed::Components)
        .printed(basic::COMPONENT_STATUS, basic::component_status)
}
