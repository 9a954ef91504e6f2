//! The kinds that review a user's permissions.

use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};
use crate::row::Question;

pub(super) fn local_subject_access_review() -> Kind {
    Kind::new(
        "authorization.k8s.io/v1",
        "localsubjectaccessreviews",
        MetadataOnly(Changes::Any("a question is answered and never kept")),
    )
    .question(Question::LocalSubjectAccess)
}

pub(super) fn self_subject_access_review() -> Kind {
    Kind::new(
        "authorization.k8s.io/v1",
        "selfsubjectaccessreviews",
        MetadataOnly(Changes::Any("a question is answered and never kept")),
    )
    .question(Question::SelfSubjectAccess)
}

pub(super) fn self_subject_rules_review() -> Kind {
    Kind::new(
        "authorization.k8s.io/v1",
        "selfsubjectrulesreviews",
        MetadataOnly(Changes::Any("a question is answered and never kept")),
    )
    .question(Question::SelfSubjectRules)
}

pub(super) fn subject_access_review() -> Kind {
    Kind::new(
        "authorization.k8s.io/v1",
        "subjectaccessreviews",
        MetadataOnly(Changes::Any("a question is answered and never kept")),
    )
    .question(Question::SubjectAccess)
}
