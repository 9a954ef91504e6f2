//! Service account tokens: signed statements about an account, valid for a limited time, for an audience, and as long
//! as the account (and the pod or secret that the token is bound to) exists.
//!
//! `key` signs and checks, `claims` is the contents of a token, `issuer` issues tokens, `verifier` verifies them,
//! `verified` stores the tokens whose signature is verified, `bound` checks the objects that tokens are bound to.

mod bound;
mod claims;
mod issuer;
mod key;
mod verified;
mod verifier;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::Clock;
pub use issuer::Issuer;
pub use key::{KeyError, SigningKey};
pub use verifier::ServiceAccounts;

use crate::cache::lookup::Lookup;

/// Who issues tokens and whom they are meant for, if nothing else is said.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What issuer and verifier share.
#[derive(Clone)]
pub struct TokenSettings {
    /// `iss` of the tokens, and the API server's own audience.
    pub issuer: String,
    /// The first signs; all check. More than one while keys are changed.
    pub keys: Arc<[SigningKey]>,
    pub clock: Arc<dyn Clock>,
    pub lookup: Lookup,
}
