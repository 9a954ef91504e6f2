//! [`WebhookTokens`]: asks a server whose token one is, by a TokenReview, as upstream's
//! `--authentication-token-webhook-config-file` does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::Error;
use serde::Deserialize;
use serde_json::json;

use super::authenticator::{AUTHENTICATED_GROUP, Authenticator, Credentials, ReviewedToken};
use super::static_token::fingerprint;
use crate::eventual::Eventual;
use crate::remembered::Remembered;
use crate::request::User;
use crate::webhook::Remote;

/// No token is longer, in bytes; longer ones are not asked about.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
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
    /// By the token's digest and the audiences asked for.
    answers: Remembered<([u8; 32], Vec<String>), Option<ReviewedToken>>,
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
    pub async fn open(settings: TokenWebhook) -> Result<Self, String> {
        if !matches!(settings.version.as_str(), "v1" | "v1beta1") {
            return Err(format!("unsupported webhook authenticator version {:?}", settings.version));
        }
        let remote = Remote::open(&settings.kubeconfig).await;
        let remote = remote.map_err(|why| format!("{}: {why}", settings.kubeconfig.display()))?;
        let (version, ttl) = (settings.version, settings.ttl);
        Ok(Self { remote, version, ttl, answers: Remembered::default() })
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let asked = (fingerprint(token), audiences.to_vec());
        if let Some(answer) = self.answers.get(&asked) {
            return Ok(answer);
        }
        let mut spec = json!({"token": token});
        if !audiences.is_empty() {
            spec["audiences"] = json!(audiences);
        }
        let review = json!({
            "kind": "TokenReview", "apiVersion": format!("authentication.k8s.io/{}", self.version),
            "metadata": {}, "spec": spec, "status": {"user": {}},
        });
        let answer = self.remote.post(review.to_string().into_bytes(), TIMEOUT).await;
        let answer = answer.map_err(|failure| failure.why)?;
        let review: Review = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let answer = known(review.status, audiences)?;
        self.answers.insert(asked, answer.clone(), self.ttl);
        Ok(answer)
    }
}

/// The user that the answer tells.
fn known(status: Status, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
    if !status.authenticated {
        return if status.error.is_empty() { Ok(None) } else { Err(status.error) };
    }
    // A server that says nothing of audiences means the API server itself.
    let fitting: Vec<String> =
        audiences.iter().filter(|wanted| status.audiences.contains(wanted)).cloned().collect();
    if !audiences.is_empty() && fitting.is_empty() {
        return Ok(None);
    }
    let Told { username: name, uid, mut groups, extra } = status.user;
    if !groups.iter().any(|group| group == AUTHENTICATED_GROUP) {
        groups.push(AUTHENTICATED_GROUP.to_owned());
    }
    Ok(Some(ReviewedToken { user: Arc::new(User { name, uid, groups, extra }), audiences: fitting }))
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
