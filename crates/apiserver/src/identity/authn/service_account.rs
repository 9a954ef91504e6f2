//! Service account tokens: signed statements about an account, valid for a limited time, for an audience, and as long
//! as the account (and the pod or secret that the token is bound to) exists.
//!
//! `key` signs and checks, `claims` is the contents of a token, `issuer` issues tokens, `verifier` verifies them,
//! `verified` stores the tokens whose signature is verified, `bound` checks the objects that tokens are bound to,
//! `secret_token` issues and verifies the tokens without an end that lie in Secrets.

mod bound;
mod claims;
mod issuer;
mod key;
mod secret_token;
mod verified;
mod verifier;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::Clock;
pub use issuer::Issuer;
pub use key::{KeyError, SigningKey};
pub use secret_token::SecretTokens;
use serde::de::DeserializeOwned;
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

impl TokenSettings {
    /// What a token says that one of the keys signed.
    fn signed<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let named = jsonwebtoken::decode_header(token).ok()?.kid;
        self.keys
            .iter()
            .filter(|key| named.as_deref().is_none_or(|id| id == key.id()))
            .find_map(|key| key.check(token))
    }
}
