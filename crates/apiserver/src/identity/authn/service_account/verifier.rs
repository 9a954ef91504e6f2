//! [`ServiceAccounts`]: verifies service account tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use api::Error;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::TokenSettings;
use super::bound;
use super::claims::Claims;
use super::verified::{Token, Verified};
use crate::eventual::Eventual;
use crate::identity::authn::certificate::CREDENTIAL_ID;
use crate::identity::authn::static_token::fingerprint;
use crate::identity::authn::{AUTHENTICATED_GROUP, Authenticator, Credentials, ReviewedToken};
use crate::request::User;

/// No token of ours is longer, in bytes; longer ones are not looked at.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far clocks may be apart, in seconds.
const SKEW_S: i64 = 60;

/// The authenticator of service account tokens.
pub struct ServiceAccounts {
    settings: TokenSettings,
    verified: Verified<Claims>,
}

impl ServiceAccounts {
    pub fn new(settings: TokenSettings) -> Self {
        Self { settings, verified: Verified::default() }
    }

    /// The token's claims and user if it is ours and valid now for one of `audiences`.
    pub(super) fn verify(&self, token: &str, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let digest = fingerprint(token);
        let now = self.settings.clock.now();
        let token = match self.verified.get(&digest) {
            Some(token) => token,
            None if !says_issuer(token, &self.settings.issuer) => return Ok(None),
            None => {
                let claims: Claims = self.settings.signed(token).ok_or("invalid bearer token")?;
                let user = Arc::new(user(&claims));
                let expires_s = claims.exp;
                let token = Arc::new(Token::new(claims, user, expires_s));
                self.verified.insert(digest, Arc::clone(&token), now.as_second());
                token
            }
        };
        let checked = self.check_now(&token, audiences);
        if checked.is_err() {
            self.verified.remove(&digest);
        }
        checked.map(|audiences| Some(ReviewedToken { user: Arc::clone(&token.user), audiences }))
    }

    /// Checks what changes with time; gives the audiences that fit.
    fn check_now(&self, token: &Token<Claims>, audiences: &[String]) -> Result<Vec<String>, String> {
        let claims = &token.claims;
        let now = self.settings.clock.now();
        if claims.iss != self.settings.issuer {
            return Err("invalid bearer token".to_owned());
        }
        if claims.exp + SKEW_S <= now.as_second() {
            return Err("service account token has expired".to_owned());
        }
        if claims.nbf - SKEW_S > now.as_second() {
            return Err("service account token is not valid yet".to_owned());
        }
        let ours = std::slice::from_ref(&self.settings.issuer);
        let wanted = if audiences.is_empty() { ours } else { audiences };
        let fitting: Vec<_> =
            wanted.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        if fitting.is_empty() {
            return Err(format!(
                "token audiences {} is invalid for the target audiences {}",
                crate::identity::authz::rbac::rule::quoted(&claims.aud),
                crate::identity::authz::rbac::rule::quoted(wanted)
            ));
        }
        let known = token.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen = bound::check(&self.settings.lookup, &claims.kubernetes, known.as_ref(), now)?;
        if known.as_ref() != Some(&seen) {
            *token.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        }
        Ok(fitting)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.verified.len()
    }
}

impl ServiceAccounts {
    pub(super) fn user_of(&self, credentials: &Credentials<'_>) -> Result<Option<Arc<User>>, Error> {
        let Some(token) = credentials.bearer_token else { return Ok(None) };
        who(self.verify(token, &[]))
    }
}

impl Authenticator for ServiceAccounts {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        self.user_of(credentials).into()
    }

    fn review_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        self.verify(token, audiences).into()
    }
}

/// The user of a token; a refused one is told no more than that.
pub(super) fn who(reviewed: Result<Option<ReviewedToken>, String>) -> Result<Option<Arc<User>>, Error> {
    match reviewed {
        Ok(reviewed) => Ok(reviewed.map(|reviewed| reviewed.user)),
        Err(why) => {
            tracing::debug!(why, "a service account token is refused");
            Err(Error::unauthorized())
        }
    }
}

/// Whether the token says that `issuer` issued it, before anything is believed.
pub(super) fn says_issuer(token: &str, issuer: &str) -> bool {
    #[derive(Deserialize)]
    struct Issued {
        iss: String,
    }
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .ok()
        .and_then(|json| serde_json::from_slice::<Issued>(&json).ok())
        .is_some_and(|issued| issued.iss == issuer)
}

/// The user that an account is.
pub(super) fn account_user(namespace: &str, name: &str, uid: &str) -> User {
    User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED_GROUP.to_owned(),
        ],
        extra: BTreeMap::new(),
    }
}

fn user(claims: &Claims) -> User {
    let private = &claims.kubernetes;
    let namespace = &private.namespace;
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    for (what, reference) in [("pod", &private.pod), ("node", &private.node)] {
        if let Some(reference) = reference {
            add(&format!("{what}-name"), &reference.name);
            add(&format!("{what}-uid"), &reference.uid);
        }
    }
    if !claims.jti.is_empty() {
        extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={}", claims.jti)]);
    }
    let account = &private.serviceaccount;
    User { extra, ..account_user(namespace, &account.name, &account.uid) }
}
