//! Authorization: may this user do this?

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

/// Decides from state held in memory: no IO, no waiting.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize(&self, attributes: &Attributes) -> Decision;
}
