//! Tokens that lie in Secrets of type `kubernetes.io/service-account-token`, as charts and users ask for them. They have no
//! end: such a token counts as long as its Secret holds it and its account is there.
//!
//! Upstream: `pkg/serviceaccount/legacy.go`.

use std::sync::{Arc, PoisonError};

use api::Error;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TokenSettings;
use super::bound::{LEEWAY, Seen};
use super::verified::{Token, Verified};
use super::verifier::{MAX_TOKEN_BYTES, account_user, says_issuer, who};
use crate::cache::lookup::decode;
use crate::eventual::Eventual;
use crate::identity::authn::static_token::fingerprint;
use crate::identity::authn::{Authenticator, Credentials, ReviewedToken};
use crate::request::User;

/// `iss` of these tokens.
const ISSUER: &str = "kubernetes/serviceaccount";
/// The label of a Secret whose token was not used for so long that it counts no more.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// What such a token says, as upstream names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
}

impl Claims {
    /// Of the account's token in the Secret of the name.
    pub(super) fn new(namespace: &str, account: &str, uid: &str, secret: &str) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.to_owned(),
            uid: uid.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
        }
    }
}

#[derive(Deserialize)]
struct Account {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Secret {
    metadata: Metadata,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    token: String,
}

/// The authenticator of tokens in Secrets.
pub struct SecretTokens {
    settings: TokenSettings,
    verified: Verified<Claims>,
}

impl SecretTokens {
    pub fn new(settings: TokenSettings) -> Self {
        Self { settings, verified: Verified::default() }
    }

    /// The token's user if it is such a token and counts now, for one of `audiences`.
    pub(super) fn verify(&self, text: &str, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
        if text.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let digest = fingerprint(text);
        let now = self.settings.clock.now();
        let token = match self.verified.get(&digest) {
            Some(token) => token,
            None if !says_issuer(text, ISSUER) => return Ok(None),
            None => {
                let claims: Claims = self.settings.signed(text).ok_or("invalid bearer token")?;
                let same =
                    claims.sub == format!("system:serviceaccount:{}:{}", claims.namespace, claims.account);
                if !same || claims.iss != ISSUER {
                    return Err("invalid bearer token".to_owned());
                }
                let user = Arc::new(account_user(&claims.namespace, &claims.account, &claims.uid));
                let token = Arc::new(Token::new(claims, user, i64::MAX));
                self.verified.insert(digest, Arc::clone(&token), now.as_second());
                token
            }
        };
        // The token names no audience: it is meant for the API server.
        let ours = &self.settings.issuer;
        if !audiences.is_empty() && !audiences.contains(ours) {
            return Err("the token is meant for the API server alone".to_owned());
        }
        let checked = self.check_now(&token, text, now);
        if checked.is_err() {
            self.verified.remove(&digest);
        }
        checked.map(|()| Some(ReviewedToken { user: Arc::clone(&token.user), audiences: vec![ours.clone()] }))
    }

    /// Looks at the Secret and the account, if they have changed.
    fn check_now(&self, token: &Token<Claims>, text: &str, now: Timestamp) -> Result<(), String> {
        let claims = &token.claims;
        let find = |plural: &str, name: &str| self.settings.lookup.entry("", plural, &claims.namespace, name);
        let secret = find("secrets", &claims.secret).ok_or("service account token has been invalidated")?;
        let account = find("serviceaccounts", &claims.account)
            .ok_or_else(|| format!("serviceaccount {:?} not found", claims.account))?;
        let mut seen = Seen::of(account.revision, secret.revision);
        if token.seen.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&seen) {
            return Ok(());
        }
        let secret: Secret = decode(&secret).ok_or("the token's secret cannot be read")?;
        let is_held = secret.data.token == BASE64_STANDARD.encode(text);
        if secret.metadata.deletion_timestamp.is_some() || !is_held {
            return Err("service account token has been invalidated".to_owned());
        }
        if secret.metadata.labels.contains_key(INVALID_SINCE) {
            return Err(format!(
                "the token in secret {}/{} for service account {}/{} has been marked invalid. Use tokens from the \
                 TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label \
                 from the secret to temporarily allow use of this token",
                claims.namespace, claims.secret, claims.namespace, claims.account
            ));
        }
        let account: Account = decode(&account).ok_or("the token's service account cannot be read")?;
        if account.metadata.deletion_timestamp.is_some_and(|at| at + LEEWAY < now) {
            return Err(format!("service account {}/{} has been deleted", claims.namespace, claims.account));
        }
        if account.metadata.uid != claims.uid {
            return Err(format!(
                "service account UID ({}) does not match claim ({})",
                account.metadata.uid, claims.uid
            ));
        }
        seen.ending = account.metadata.deletion_timestamp.is_some();
        // While the account is going, time decides too.
        *token.seen.lock().unwrap_or_else(PoisonError::into_inner) = (!seen.ending).then_some(seen);
        Ok(())
    }
}

impl Authenticator for SecretTokens {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        let Some(token) = credentials.bearer_token else { return Ok(None).into() };
        who(self.verify(token, &[])).into()
    }

    fn review_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        self.verify(token, audiences).into()
    }
}
