//! Asking the API server who a client of the node's API is, and what the client may do: TokenReviews and
//! SubjectAccessReviews, as upstream's kubelet with webhook authentication and authorization. Answers are kept for a
//! while (the times are upstream's defaults), so that whoever reads figures every few seconds costs one request a few
//! minutes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base::Clock;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// How long it holds whose a token is, or that it is nobody's.
const TOKENS: Duration = Duration::from_secs(2 * 60);
/// How long a right holds.
const ALLOWED: Duration = Duration::from_secs(5 * 60);
/// How long a refusal holds.
const DENIED: Duration = Duration::from_secs(30);
/// Answers that are kept of each kind.
const KEPT: usize = 4096;
/// Questions on their way at a time: anybody may send tokens.
const ASKED: usize = 16;

/// A client that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What the API server knows of clients.
#[async_trait]
pub trait Reviews: Send + Sync {
    /// Whose a token is; `None` for one that is nobody's.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    async fn who(&self, token: &str) -> Result<Option<Identity>, String>;

    /// Whether the client may do what the verb says with this part of this node.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    async fn allows(&self, who: &Identity, verb: &str, subresource: &str) -> Result<bool, String>;
}

/// Asks the API server, and keeps its answers.
pub struct ApiReviews {
    client: Client,
    node_name: String,
    clock: Arc<dyn Clock>,
    tokens: Mutex<Kept<[u8; 32], Option<Identity>>>,
    rights: Mutex<Kept<(Identity, String, String), bool>>,
    asking: Semaphore,
}

impl ApiReviews {
    /// As the node, whose role lets it make both reviews.
    pub fn new(client: Client, node_name: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            node_name,
            clock,
            tokens: Mutex::default(),
            rights: Mutex::default(),
            asking: Semaphore::new(ASKED),
        }
    }

    async fn ask<K>(&self, review: &K) -> Result<K, String>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let _permit = self.asking.acquire().await.map_err(|error| error.to_string())?;
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), review).await;
        answer.map_err(|error| client::message(&error))
    }
}

#[async_trait]
impl Reviews for ApiReviews {
    async fn who(&self, token: &str) -> Result<Option<Identity>, String> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = lock(&self.tokens).get(&key, self.clock.now()) {
            return Ok(known);
        }
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
        let answer = self.ask(&TokenReview { spec, ..TokenReview::default() }).await?;
        let status = answer.status.unwrap_or_default();
        let who = match status.authenticated {
            Some(true) => status.user.map(identity),
            // Whose the token is could not be found out; the next one asks anew.
            _ if status.error.as_deref().is_some_and(|error| !error.is_empty()) => {
                tracing::debug!(error = status.error, "a token was not accepted");
                return Ok(None);
            }
            _ => None,
        };
        lock(&self.tokens).put(key, who.clone(), self.clock.now(), TOKENS);
        Ok(who)
    }

    async fn allows(&self, who: &Identity, verb: &str, subresource: &str) -> Result<bool, String> {
        let key = (who.clone(), verb.to_owned(), subresource.to_owned());
        if let Some(known) = lock(&self.rights).get(&key, self.clock.now()) {
            return Ok(known);
        }
        let asked = ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            name: Some(self.node_name.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(who.user.clone()),
            uid: Some(who.uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(who.groups.clone()),
            extra: (!who.extra.is_empty()).then(|| who.extra.clone()),
            resource_attributes: Some(asked),
            ..SubjectAccessReviewSpec::default()
        };
        let answer = self.ask(&SubjectAccessReview { spec, ..SubjectAccessReview::default() }).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let hold = if allowed { ALLOWED } else { DENIED };
        lock(&self.rights).put(key, allowed, self.clock.now(), hold);
        Ok(allowed)
    }
}

fn identity(user: UserInfo) -> Identity {
    Identity {
        user: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    }
}

fn lock<T>(kept: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers until they are too old, a bounded number.
struct Kept<K, V>(HashMap<K, (V, Timestamp)>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        self.0.get(key).filter(|(_, until)| now < *until).map(|(value, _)| value.clone())
    }

    fn put(&mut self, key: K, value: V, now: Timestamp, hold: Duration) {
        if self.0.len() >= KEPT {
            self.0.retain(|_, (_, until)| now < *until);
        }
        // What is asked in such a number is asked again instead.
        if self.0.len() >= KEPT {
            self.0.clear();
        }
        let until = now.checked_add(hold).unwrap_or(now);
        self.0.insert(key, (value, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_their_time_and_in_bounds() {
        let mut kept = Kept::default();
        let at = |s| Timestamp::from_second(s).expect("a time");
        kept.put(0, true, at(0), DENIED);
        assert_eq!(
            (kept.get(&0, at(29)), kept.get(&0, at(30)), kept.get(&1, at(0))),
            (Some(true), None, None)
        );
        for key in 1..KEPT {
            kept.put(key, true, at(10), DENIED);
        }
        kept.put(KEPT, true, at(35), DENIED);
        assert_eq!((kept.0.len(), kept.get(&1, at(35))), (KEPT, Some(true)));
        kept.put(KEPT + 1, true, at(36), DENIED);
        assert_eq!((kept.0.len(), kept.get(&(KEPT + 1), at(36))), (1, Some(true)));
    }
}
