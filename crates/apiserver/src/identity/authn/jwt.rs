//! Tokens of OpenID Connect issuers, as `AuthenticationConfiguration` (`apiserver.config.k8s.io`) describes them or
//! upstream's `--oidc-…` flags do.
//!
//! `configuration` reads and checks what is configured, `issuer` gets an issuer's keys, `user` makes a user of the
//! claims (`mapping`), and [`Jwt`] is the authenticator of one issuer.

mod configuration;
mod issuer;
mod mapping;
mod user;

use std::sync::Arc;

use api::Error;
use base::{Clock, Supervisor};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode_header};
use serde_json::{Map, Value};

pub use configuration::{AnonymousSettings, AuthenticationConfiguration, JwtSettings, OidcFlags};

use super::authenticator::{Authenticator, Credentials};
use crate::eventual::Eventual;
use crate::request::User;
use issuer::Issuer;

/// No token is longer, in bytes; longer ones are not looked at.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// How long before `nbf` a token is taken already, in seconds, since clocks differ; as upstream's library.
const EARLY_S: i64 = 5 * 60;
/// What issuers may sign with. Upstream takes ES512, too, which the library that checks signatures here cannot check.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Knows the users of one issuer's tokens.
pub struct Jwt {
    settings: JwtSettings,
    algorithms: Vec<Algorithm>,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
}

impl Jwt {
    /// Asks the issuer for its keys from now on; until it has answered, its tokens are refused.
    ///
    /// # Errors
    /// When the issuer's certificate authority cannot be read.
    pub fn start(
        settings: JwtSettings,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> Result<Self, String> {
        let issuer = Issuer::start(&settings.issuer, supervisor)?;
        let algorithms = match settings.algorithms.as_slice() {
            [] => ALGORITHMS.to_vec(),
            some => some.to_vec(),
        };
        Ok(Self { settings, algorithms, issuer, clock })
    }

    /// The user of a token; `None` of another issuer's.
    async fn user(&self, token: &str) -> Result<Option<Arc<User>>, String> {
        if token.len() > MAX_TOKEN_BYTES || !says(token, &self.settings.issuer.url) {
            return Ok(None);
        }
        let claims = self.signed(token).await?;
        self.check(&claims)?;
        let user = self.settings.user(&claims)?;
        Ok(Some(Arc::new(user)))
    }

    /// The claims of a token that a key of the issuer's has signed.
    async fn signed(&self, token: &str) -> Result<Map<String, Value>, String> {
        if has_critical_parts(token) {
            return Err("the token has parts that must be understood, and are not".to_owned());
        }
        let header = decode_header(token).map_err(|error| format!("malformed token: {error}"))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(format!("the token is signed with {:?}", header.alg));
        }
        let mut validation = Validation::new(header.alg);
        // The times are compared with the server's clock, the audiences with those configured.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let verify = |keys: &issuer::Keys| {
            keys.of(header.kid.as_deref()).find_map(|key| {
                jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation)
                    .ok()
                    .map(|data| data.claims)
            })
        };
        let keys = self.issuer.keys().ok_or("the issuer has not told its keys yet")?;
        if let Some(claims) = verify(&keys) {
            return Ok(claims);
        }
        // The issuer may have new keys.
        let renewed = self.issuer.renewed(&keys).await?;
        if Arc::ptr_eq(&renewed, &keys) {
            return Err("no key of the issuer has signed the token".to_owned());
        }
        verify(&renewed).ok_or_else(|| "no key of the issuer has signed the token".to_owned())
    }

    fn check(&self, claims: &Map<String, Value>) -> Result<(), String> {
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let ours = &self.settings.issuer.audiences;
        if !audiences.iter().any(|audience| ours.iter().any(|own| own == audience)) {
            return Err(format!("expected audience in {ours:?} got {audiences:?}"));
        }
        let now = self.clock.now().as_second();
        let expires = seconds(claims, "exp").ok_or("the token does not say when it expires")?;
        if expires < now {
            return Err("the token is expired".to_owned());
        }
        if seconds(claims, "nbf").is_some_and(|from| from > now + EARLY_S) {
            return Err("the token is not valid yet".to_owned());
        }
        Ok(())
    }
}

impl Authenticator for Jwt {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        let Some(token) = credentials.bearer_token else { return Ok(None).into() };
        if !says(token, &self.settings.issuer.url) {
            return Ok(None).into();
        }
        Eventual::later(async move {
            self.user(token).await.map_err(|why| {
                tracing::debug!(issuer = self.settings.issuer.url, why, "a token is refused");
                Error::unauthorized()
            })
        })
    }
}

/// Whether the header names extensions that whoever checks the token has to know (RFC 7515, 4.1.11): none is known here.
fn has_critical_parts(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let header: Option<Value> = header.and_then(|json| serde_json::from_slice(&json).ok());
    header.is_none_or(|header| header.get("crit").is_some())
}

/// Whole seconds since 1970; issuers may write fractions.
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and times beyond are far away")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

/// Whether a token says that it is of an issuer. Nothing is proven by it.
fn says(token: &str, issuer: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok();
    let claims: Option<Value> = claims.and_then(|json| serde_json::from_slice(&json).ok());
    claims.is_some_and(|claims| claims["iss"] == issuer)
}
