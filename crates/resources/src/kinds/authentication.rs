//! The kinds that review a user's identity.

use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};
use crate::row::Question;

pub(super) fn self_subject_review() -> Kind {
    Kind::new(
        "authentication.k8s.io/v1",
        "selfsubjectreviews",
        MetadataOnly(Changes::Any("a question is answered and never kept")),
    )
    .question(Question::SelfSubject)
}

pub(super) fn token_review() -> Kind {
    Kind::new(
        "authentication.k8s.io/v1",
        "tokenreviews",
        MetadataOnly(Changes::Any("a question is answered and never kept")),
    )
    .question(Question::Token)
}
