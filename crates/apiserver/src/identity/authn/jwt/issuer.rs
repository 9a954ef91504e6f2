//! [`Issuer`]: the keys of an OpenID Connect issuer, which its discovery document leads to.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base::{Shutdown, Supervisor, TaskKind};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use serde::Deserialize;
use tokio::time::Instant;

use super::configuration::IssuerSettings;
use crate::webhook::Fetcher;

/// How long to wait before an issuer that did not answer is asked again, as upstream.
const AGAIN: Duration = Duration::from_secs(10);
/// How often at most an issuer is asked for new keys because of tokens that no key fits.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long a request waits for new keys.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many keys of an issuer are taken.
const MAX_KEYS: usize = 100;
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// An issuer's keys at some time.
pub(super) struct Keys {
    keys: Vec<(Option<String>, DecodingKey)>,
}

impl Keys {
    fn read(json: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("the keys: {error}"))?;
        // Keys of sorts that are not known here are for others (RFC 7517, 5).
        let known = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let signing = known.filter(|key| key.common.public_key_use != Some(PublicKeyUse::Encryption));
        let usable =
            signing.filter_map(|key| Some((key.common.key_id.clone(), DecodingKey::from_jwk(&key).ok()?)));
        Ok(Self { keys: usable.take(MAX_KEYS).collect() })
    }

    /// Those that may have signed a token which names a key, or none.
    pub(super) fn of(&self, id: Option<&str>) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&(Option<String>, DecodingKey)| id.is_none() || key.0.as_deref() == id;
        self.keys.iter().filter(fits).map(|(_, key)| key)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The parts of the discovery document that matter.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// See the module's documentation.
pub(super) struct Issuer {
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    discovery_url: String,
    fetcher: Fetcher,
    keys: ArcSwapOption<Keys>,
    /// When keys were last asked for; whoever asks holds it.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Issuer {
    pub(super) fn start(settings: &IssuerSettings, supervisor: &Supervisor) -> Result<Self, String> {
        let discovery_url = match settings.discovery_url.as_str() {
            "" => format!("{}{WELL_KNOWN}", settings.url.trim_end_matches('/')),
            other => other.to_owned(),
        };
        let shared = Arc::new(Shared {
            url: settings.url.clone(),
            discovery_url,
            fetcher: Fetcher::new(settings.certificate_authority.as_bytes(), supervisor)?,
            keys: ArcSwapOption::empty(),
            asked: tokio::sync::Mutex::default(),
        });
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "token issuer", first(Arc::clone(&shared), shutdown));
        Ok(Self { shared })
    }

    /// The keys that are known; `None` before the issuer has answered.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.shared.keys.load_full()
    }

    /// The keys after those: asked for now, unless somebody has just done so.
    pub(super) async fn renewed(&self, known: &Arc<Keys>) -> Result<Arc<Keys>, String> {
        let mut asked = self.shared.asked.lock().await;
        let newest = self.keys().ok_or("the issuer has not told its keys yet")?;
        if !Arc::ptr_eq(&newest, known) || asked.is_some_and(|at| at.elapsed() < RENEWAL) {
            return Ok(newest);
        }
        let renewed = tokio::time::timeout(PATIENCE, self.shared.ask()).await;
        // Whoever waited meanwhile does not ask again, whatever came of it.
        *asked = Some(Instant::now());
        renewed.unwrap_or_else(|_| Err("the issuer does not answer".to_owned()))
    }
}

/// Asks until there is an answer.
async fn first(shared: Arc<Shared>, shutdown: Shutdown) {
    loop {
        let answered = tokio::select! {
            answered = shared.ask() => answered,
            () = shutdown.started() => return,
        };
        match answered {
            Ok(_) => return tracing::info!(issuer = shared.url, "tokens of the issuer are taken"),
            Err(why) => tracing::warn!(issuer = shared.url, why, "tokens of the issuer are not taken yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = shutdown.started() => return,
        }
    }
}

impl Shared {
    async fn ask(&self) -> Result<Arc<Keys>, String> {
        let document = self.fetcher.get(&self.discovery_url).await?;
        let document: Document =
            serde_json::from_slice(&document).map_err(|error| format!("{}: {error}", self.discovery_url))?;
        if document.issuer != self.url {
            return Err(format!(
                "issuer did not match the issuer returned by provider, expected {:?} got {:?}",
                self.url, document.issuer
            ));
        }
        let keys = Arc::new(Keys::read(&self.fetcher.get(&document.jwks_uri).await?)?);
        self.keys.store(Some(Arc::clone(&keys)));
        Ok(keys)
    }
}
