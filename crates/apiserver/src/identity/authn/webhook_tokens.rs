//! [`WebhookTokens`]: asks a server whose token one is, by a TokenReview, as upstream's
//! `--authentication-token-webhook-config-file` does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::Error;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::authenticator::{AUTHENTICATED_GROUP, Authenticator, Credentials, ReviewedToken};
use super::static_token::fingerprint;
use crate::eventual::Eventual;
use crate::remembered::Remembered;
use crate::request::User;
use crate::webhook::Remote;

/// No token is longer, in bytes; longer ones are not asked about.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// Answers that are longer, in bytes, are not kept.
const MAX_KEPT: usize = 64 * 1024;
const MAX_ASKING: usize = 100;
/// How long the server may take, as upstream.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The server and how it is asked.
#[derive(Debug, Clone)]
pub struct TokenWebhook {
    /// A kubeconfig that names it.
    pub kubeconfig: PathBuf,
    /// The version of the review: `v1` or `v1beta1`.
    pub version: String,
    /// How long an answer counts.
    pub ttl: Duration,
}

/// See the module's documentation.
pub struct WebhookTokens {
    remote: Remote,
    version: String,
    ttl: Duration,
    /// The names of the API server, for which tokens are when nothing else is said.
    api_audiences: Vec<String>,
    /// By the digest of the token and the audiences asked for. Tokens of nobody are kept apart, so that many of them do
    /// not drive out the others.
    known: Remembered<[u8; 32], ReviewedToken>,
    unknown: Remembered<[u8; 32], ()>,
    /// Questions that may be on their way.
    asking: Semaphore,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Review {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: Told,
    audiences: Vec<String>,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl WebhookTokens {
    /// Reads the kubeconfig; nothing is asked yet.
    ///
    /// # Errors
    /// Why the kubeconfig or the version cannot be used.
    pub async fn open(settings: TokenWebhook, api_audiences: Vec<String>) -> Result<Self, String> {
        if !matches!(settings.version.as_str(), "v1" | "v1beta1") {
            return Err(format!("unsupported webhook authenticator version {:?}", settings.version));
        }
        let remote = Remote::open(&settings.kubeconfig).await;
        let remote = remote.map_err(|why| format!("{}: {why}", settings.kubeconfig.display()))?;
        let TokenWebhook { version, ttl, .. } = settings;
        let (known, unknown) = (Remembered::default(), Remembered::default());
        Ok(Self { remote, version, ttl, api_audiences, known, unknown, asking: Semaphore::new(MAX_ASKING) })
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let audiences = if audiences.is_empty() { self.api_audiences.as_slice() } else { audiences };
        let asked = fingerprint(&[&[token.to_owned()], audiences].concat().join("\n"));
        if let Some(answer) = self.known.get(&asked) {
            return Ok(Some(answer));
        }
        if self.unknown.get(&asked).is_some() {
            return Ok(None);
        }
        let review = json!({
            "kind": "TokenReview", "apiVersion": format!("authentication.k8s.io/{}", self.version),
            "metadata": {}, "spec": {"token": token, "audiences": audiences}, "status": {"user": {}},
        });
        let _place = self.asking.acquire().await.map_err(|error| error.to_string())?;
        let answer = self.remote.ask(review.to_string().into_bytes(), TIMEOUT).await;
        let answer = answer.map_err(|failure| failure.why)?;
        let kept = if answer.len() <= MAX_KEPT { self.ttl } else { Duration::ZERO };
        let review: Review = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let answer = self.user_of(review.status, audiences)?;
        match &answer {
            Some(known) => self.known.insert(asked, known.clone(), kept),
            None => self.unknown.insert(asked, (), kept),
        }
        Ok(answer)
    }

    /// The user that the answer tells.
    fn user_of(&self, status: Status, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
        if !status.authenticated {
            if !status.error.is_empty() {
                tracing::debug!(why = status.error, "the webhook of tokens refuses a token");
            }
            return if status.error.is_empty() { Ok(None) } else { Err("invalid bearer token".to_owned()) };
        }
        // A server that says nothing of audiences means the API server itself.
        let told = if status.audiences.is_empty() { &self.api_audiences } else { &status.audiences };
        let fitting: Vec<String> = audiences.iter().filter(|wanted| told.contains(wanted)).cloned().collect();
        if fitting.is_empty() {
            return Ok(None);
        }
        let Told { username: name, uid, mut groups, extra } = status.user;
        if !groups.iter().any(|group| group == AUTHENTICATED_GROUP) {
            groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        Ok(Some(ReviewedToken { user: Arc::new(User { name, uid, groups, extra }), audiences: fitting }))
    }
}

impl Authenticator for WebhookTokens {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        let Some(token) = credentials.bearer_token else { return Ok(None).into() };
        Eventual::later(async move {
            let answer = self.ask(token, &[]).await.map_err(|why| {
                tracing::warn!(why, "the webhook of tokens does not know a token");
                Error::unauthorized()
            })?;
            Ok(answer.map(|known| known.user))
        })
    }

    fn review_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        Eventual::later(self.ask(token, audiences))
    }
}
