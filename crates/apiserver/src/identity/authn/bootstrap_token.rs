//! Bootstrap tokens, by which a machine joins before it has a certificate: each is valid by a Secret in `kube-system`.
//!
//! Upstream: `plugin/pkg/auth/authenticator/token/bootstrap`.

use std::sync::Arc;

use base::Clock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use resources::bootstrap_token::{Expiration, NAMESPACE, Stored, Token, USER_PREFIX, key};

use super::authenticator::{AUTHENTICATED_GROUP, Authenticator, Credentials};
use super::static_token::fingerprint;
use crate::cache::lookup::{Lookup, decode};
use crate::eventual::Eventual;
use crate::request::User;

/// The authenticator of bootstrap tokens. Reads one Secret by its name, of requests with such a token alone.
pub struct BootstrapTokens {
    lookup: Lookup,
    clock: Arc<dyn Clock>,
}

impl BootstrapTokens {
    pub fn new(lookup: Lookup, clock: Arc<dyn Clock>) -> Self {
        Self { lookup, clock }
    }

    /// The user of a token that is valid now. Why one that has a Secret is not is only logged: the client is told as
    /// little of it as of a token that nobody knows.
    fn user_of(&self, credentials: &Credentials<'_>) -> Option<Arc<User>> {
        let token = Token::parse(credentials.bearer_token?)?;
        let name = token.secret_name();
        let entry = self.lookup.entry("", "secrets", NAMESPACE, &name)?;
        let secret: Secret = decode(&entry)?;
        match user(&secret, &token, self.clock.now()) {
            Ok(user) => Some(Arc::new(user)),
            Err(why) => {
                tracing::info!(secret = name, why, "a bootstrap token is refused");
                None
            }
        }
    }
}

/// Who has shown the token.
fn user(secret: &Secret, token: &Token, now: Timestamp) -> Result<User, String> {
    let stored = Stored(secret);
    if secret.metadata.deletion_timestamp.is_some() {
        return Err("the Secret is being deleted".to_owned());
    }
    if !stored.is_token() {
        return Err("the Secret is of another type".to_owned());
    }
    // Comparing digests tells nothing about how much of a guessed token was right.
    if fingerprint(stored.text(key::SECRET)) != fingerprint(&token.secret) {
        return Err(format!("another value of {}", key::SECRET));
    }
    if stored.text(key::ID) != token.id {
        return Err(format!("another value of {}", key::ID));
    }
    if stored.expiration(now) == Expiration::Past {
        return Err("it has expired".to_owned());
    }
    if !stored.is_for("authentication") {
        return Err("it is not meant for authentication".to_owned());
    }
    let mut groups = stored.groups()?;
    groups.push(AUTHENTICATED_GROUP.to_owned());
    Ok(User { name: format!("{USER_PREFIX}{}", token.id), groups, ..User::default() })
}

impl Authenticator for BootstrapTokens {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>> {
        Ok(self.user_of(credentials)).into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(change: serde_json::Value) -> Secret {
        let mut whole = json!({
            "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {
                "token-id": "YWJjZGVm",
                "token-secret": "MDEyMzQ1Njc4OWFiY2RlZg==",
                "usage-bootstrap-authentication": "dHJ1ZQ==",
                // system:bootstrappers:a
                "auth-extra-groups": "c3lzdGVtOmJvb3RzdHJhcHBlcnM6YQ==",
            },
        });
        json_patch(&mut whole, &change);
        serde_json::from_value(whole).unwrap()
    }

    /// A merge patch.
    fn json_patch(whole: &mut serde_json::Value, change: &serde_json::Value) {
        let (Some(whole), Some(change)) = (whole.as_object_mut(), change.as_object()) else {
            *whole = change.clone();
            return;
        };
        for (key, value) in change {
            match value.is_null() {
                true => drop(whole.remove(key)),
                false => json_patch(whole.entry(key).or_insert(serde_json::Value::Null), value),
            }
        }
    }

    fn who(change: serde_json::Value) -> Result<User, String> {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        user(&secret(change), &token, "2026-06-01T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_valid_token_is_a_bootstrapper() {
        let user = who(json!({})).unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(user.groups, ["system:bootstrappers", "system:bootstrappers:a", "system:authenticated"]);
        // 2026-06-01T12:00:01Z
        assert!(who(json!({"data": {"expiration": "MjAyNi0wNi0wMVQxMjowMDowMVo="}})).is_ok());
    }

    #[test]
    fn whatever_is_wrong_with_its_secret_refuses_it() {
        let cases = [
            json!({"metadata": {"deletionTimestamp": "2026-06-01T11:00:00Z"}}),
            json!({"type": "Opaque"}),
            json!({"type": null}),
            json!({"data": null}),
            json!({"data": {"token-secret": "MDEyMzQ1Njc4OWFiY2RlZQ=="}}),
            json!({"data": {"token-secret": null}}),
            json!({"data": {"token-id": "YWJjZGVn"}}),
            json!({"data": {"token-id": null}}),
            // 2026-06-01T12:00:00Z, and a time that is none.
            json!({"data": {"expiration": "MjAyNi0wNi0wMVQxMjowMDowMFo="}}),
            json!({"data": {"expiration": "eA=="}}),
            json!({"data": {"usage-bootstrap-authentication": "ZmFsc2U="}}),
            json!({"data": {"usage-bootstrap-authentication": null}}),
            // system:masters
            json!({"data": {"auth-extra-groups": "c3lzdGVtOm1hc3RlcnM="}}),
        ];
        for case in cases {
            assert!(who(case.clone()).is_err(), "{case}");
        }
    }
}
