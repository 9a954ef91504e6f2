//! [`Issuer`]: makes service account tokens and publishes the keys to check them with.

use api::{Error, Object};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::TokenSettings;
use super::claims::{Claims, Private, Reference};
use super::secret_token;
use crate::identity::{BoundObject, IssuedToken, TokenDemand, TokenIssuer};

/// The longest life of a token, in seconds: what fits the field upstream keeps it in.
const MAX_EXPIRATION_S: i64 = 1 << 32;
const MIN_EXPIRATION_S: i64 = 600;
/// The lifetime that admission asks for in pods. It marks tokens of programs that may not know that tokens
/// change, which live longer than they say (upstream: `--service-account-extend-token-expiration`).
const POD_EXPIRATION_S: i64 = 3607;
const EXTENDED_EXPIRATION_S: i64 = 365 * 24 * 60 * 60;

/// The issuer of tokens.
pub struct Issuer {
    settings: TokenSettings,
}

impl Issuer {
    /// Takes the first of the settings' keys to sign with.
    pub fn new(settings: TokenSettings) -> Self {
        Self { settings }
    }
}

/// What the token says of what it is bound to.
///
/// # Errors
/// Bad request for a kind no token can be bound to.
fn bind(bound: &BoundObject, claims: &mut Private) -> Result<(), Error> {
    let reference = Some(Reference { name: bound.name.clone(), uid: bound.uid.clone() });
    match bound.kind.as_str() {
        "Pod" => {
            claims.pod = reference;
            claims.node =
                bound.node.as_ref().map(|(name, uid)| Reference { name: name.clone(), uid: uid.clone() });
        }
        "Secret" => claims.secret = reference,
        "Node" => claims.node = reference,
        kind => return Err(Error::bad_request(format!("cannot bind token to object of type {kind}"))),
    }
    Ok(())
}

impl TokenIssuer for Issuer {
    fn issue(&self, demand: &TokenDemand) -> Result<IssuedToken, Error> {
        let asked_s = demand.expiration_s;
        if !(MIN_EXPIRATION_S..=MAX_EXPIRATION_S).contains(&asked_s) {
            return Err(Error::bad_request(format!(
                "expirationSeconds must be between {MIN_EXPIRATION_S} and {MAX_EXPIRATION_S}, not {asked_s}"
            )));
        }
        let key = self.settings.keys.first().ok_or_else(|| Error::internal("no service account key"))?;
        let audiences = if demand.audiences.is_empty() {
            vec![self.settings.issuer.clone()]
        } else {
            demand.audiences.clone()
        };
        let account = &demand.account;
        let now = self.settings.clock.now();
        let mut private = Private {
            namespace: account.namespace().to_owned(),
            serviceaccount: Reference { name: account.name().to_owned(), uid: account.uid().to_owned() },
            ..Private::default()
        };
        if let Some(bound) = &demand.bound {
            bind(bound, &mut private)?;
        }
        let mut lifetime_s = asked_s;
        if private.pod.is_some()
            && asked_s == POD_EXPIRATION_S
            && audiences == [self.settings.issuer.as_str()]
        {
            private.warnafter = Some(now.as_second() + asked_s);
            lifetime_s = EXTENDED_EXPIRATION_S;
        }
        let claims = Claims {
            aud: audiences.clone(),
            exp: now.as_second() + lifetime_s,
            iat: now.as_second(),
            nbf: now.as_second(),
            iss: self.settings.issuer.clone(),
            jti: base::random::uuid(),
            sub: format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
            kubernetes: private,
        };
        let token = key.sign(&claims).map_err(|e| Error::internal(format!("cannot sign a token: {e}")))?;
        // Told is when to come back, not when the token dies.
        Ok(IssuedToken { token, expires: now + SignedDuration::from_secs(asked_s), audiences })
    }

    fn issue_for_secret(&self, account: &Object, secret: &str) -> Result<String, Error> {
        let key = self.settings.keys.first().ok_or_else(|| Error::internal("no service account key"))?;
        let claims = secret_token::Claims::new(account.namespace(), account.name(), account.uid(), secret);
        key.sign(&claims).map_err(|e| Error::internal(format!("cannot sign a token: {e}")))
    }

    fn jwks(&self) -> Value {
        json!({ "keys": self.settings.keys.iter().map(super::SigningKey::jwk).collect::<Vec<_>>() })
    }

    fn openid_configuration(&self) -> Value {
        let issuer = &self.settings.issuer;
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{}/openid/v1/jwks", issuer.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}
