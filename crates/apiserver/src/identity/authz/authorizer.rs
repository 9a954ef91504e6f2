//! [`Authorizer`]: the trait of authorizers, and their decisions.

use crate::eventual::Eventual;
use crate::request::Attributes;

/// The answer of an authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Refused for good; later authorizers are not asked.
    Deny(String),
    /// No opinion, with a reason (may be empty).
    NoOpinion(String),
}

/// Says whether a request is allowed. The built-in ones decide from memory; one that asks a webhook returns
/// [`Eventual::Later`].
///
/// Cancellation safe: a request may be given up while an authorizer waits.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision>;

    /// Whether a decision may come from another server: it is not asked again for its reasons.
    fn asks_others(&self) -> bool {
        false
    }

    /// Why a request is allowed, for those who ask (`SubjectAccessReview`); may be empty. Not for the hot path.
    fn explain<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, String> {
        let _ = attributes;
        String::new().into()
    }
}
