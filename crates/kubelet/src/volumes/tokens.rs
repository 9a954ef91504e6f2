//! Service account tokens for pods, from the API's TokenRequest, kept until 80 % of their life.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::Clock;
use base::backoff::Policy;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{Api, Client};

use super::sources::TokenKey;

/// A token is renewed at this age at the latest, as upstream.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// Of one request, and the waits between.
const ATTEMPTS: u32 = 4;
const AGAIN: Policy = Policy::new(Duration::from_millis(20), Duration::from_secs(1));
/// When a renewal failed.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// Why no token can be had, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(String);

struct Issued {
    token: String,
    renew_at: Timestamp,
    expires: Timestamp,
}

impl Issued {
    fn whole(&self) -> Whole {
        Whole { token: self.token.clone(), expires: self.expires }
    }
}

/// A token and its end.
pub struct Whole {
    pub token: String,
    pub expires: Timestamp,
}

/// Issues and remembers tokens. Never writes them anywhere.
pub struct Tokens {
    client: Client,
    clock: Arc<dyn Clock>,
    /// By pod uid and token.
    issued: Mutex<HashMap<(String, TokenKey), Issued>>,
}

impl Tokens {
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, issued: Mutex::default() }
    }

    /// A token of the pod's service account that is bound to the pod. The one that is there, while it
    /// is young enough; also when it is older but cannot be renewed and still valid.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn get(&self, pod: &Pod, key: &TokenKey) -> Result<String, TokenError> {
        self.whole(pod, key).await.map(|whole| whole.token)
    }

    /// As [`Tokens::get`], with the token's end.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn whole(&self, pod: &Pod, key: &TokenKey) -> Result<Whole, TokenError> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let now = self.clock.now();
        let slot = (uid, key.clone());
        if let Some(known) = self.lock().get(&slot)
            && now < known.renew_at
            && now < known.expires
        {
            return Ok(known.whole());
        }
        match self.request(pod, key).await {
            Ok(issued) => {
                let whole = issued.whole();
                self.lock().insert(slot, issued);
                Ok(whole)
            }
            Err(error) => {
                let mut issued = self.lock();
                let Some(known) = issued.get_mut(&slot) else { return Err(error) };
                known.renew_at = now + RETRY;
                if now >= known.expires {
                    return Err(error);
                }
                match pod.metadata.deletion_timestamp {
                    None => tracing::warn!(%error, "a service account token could not be renewed yet"),
                    Some(_) => {
                        tracing::debug!(%error, "a service account token is not renewed for a pod that goes")
                    }
                }
                Ok(known.whole())
            }
        }
    }

    async fn request(&self, pod: &Pod, key: &TokenKey) -> Result<Issued, TokenError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let account = pod.spec.as_ref().and_then(|s| s.service_account_name.as_deref());
        let account = account.filter(|a| !a.is_empty()).unwrap_or("default");
        let audiences = (!key.audience.is_empty()).then(|| vec![key.audience.clone()]);
        let wanted = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences,
                expiration_seconds: Some(key.expiration_s),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let mut failures = 0;
        let answer = loop {
            match api.create_token_request(account, &Default::default(), &wanted).await {
                Ok(answer) => break answer,
                Err(error) => {
                    failures += 1;
                    // The API has to learn first that the pod is bound here: it may need a moment.
                    if failures >= ATTEMPTS || client::is_not_found(&error) {
                        return Err(TokenError(client::message(&error)));
                    }
                    tokio::time::sleep(AGAIN.delay(failures)).await;
                }
            }
        };
        let status = answer.status.unwrap_or_default();
        let (Some(token), Some(expires)) = (status.token, status.expiration_timestamp) else {
            return Err(TokenError("the answer holds no token".into()));
        };
        Ok(Issued { token, renew_at: renew_at(self.clock.now(), expires.0), expires: expires.0 })
    }

    /// When the next token is due for renewal.
    pub fn next_renewal(&self) -> Option<Timestamp> {
        self.lock().values().map(|i| i.renew_at).min()
    }

    /// The pods that have a token due by now.
    pub fn due(&self) -> Vec<String> {
        let now = self.clock.now();
        self.lock().iter().filter(|(_, i)| i.renew_at <= now).map(|((uid, _), _)| uid.clone()).collect()
    }

    pub fn forget(&self, uid: &str) {
        self.lock().retain(|(owner, _), _| owner != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, TokenKey), Issued>> {
        self.issued.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn renew_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = now.duration_until(expires).max(SignedDuration::ZERO);
    let soon = (life * 4) / 5;
    now + soon.min(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_at_four_fifths_of_their_life() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            renew_at(now, now + SignedDuration::from_secs(3600)),
            now + SignedDuration::from_secs(2880)
        );
        assert_eq!(renew_at(now, now + SignedDuration::from_hours(1000)), now + MAX_AGE);
        assert_eq!(renew_at(now, now - SignedDuration::from_secs(5)), now);
    }
}
