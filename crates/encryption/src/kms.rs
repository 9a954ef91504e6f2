//! [`Kms`]: a provider whose keys a key management service keeps, asked over a plugin's unix socket (KMS v2).
//!
//! Values are encrypted here, with keys made of a seed; the service only encrypts the seed, which lies beside each value.
//! `envelope` has the bytes, `plugin` the calls. The service says by which key it works now; when that changes, a new
//! seed is made, and what older ones encrypted is outdated.
//!
//! Source: upstream's `k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2` and
//! `server/options/encryptionconfig/config.go`, also for times and limits.

mod envelope;
mod flight;
mod plugin;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use envelope::{Envelope, Seed, Source};
use flight::Flight;
use plugin::Plugin;
pub(crate) use plugin::Socket;

/// How often a service is asked how it is while it is well, and while it is not.
const WELL: Duration = Duration::from_secs(60);
const UNWELL: Duration = Duration::from_secs(3);
/// How long a seed is written with after the service last said that its key is the current one.
const SEED_LIFE: Duration = Duration::from_secs(180);
/// How long a seed that values were read with is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many of them.
const MAX_KEPT: usize = 4_096;

/// A service, and the seeds that it has opened.
pub struct Kms {
    name: String,
    prefix: Vec<u8>,
    plugin: Plugin,
    current: RwLock<Option<Current>>,
    known: RwLock<HashMap<Source, (Arc<Seed>, Instant)>>,
    /// The question for its key.
    asking: Flight,
    /// The questions for seeds that are asked now, or that failed not long ago.
    learning: RwLock<HashMap<Source, Arc<Flight>>>,
    health: RwLock<Result<(), String>>,
}

/// What is written with.
#[derive(Clone)]
struct Current {
    source: Source,
    seed: Arc<Seed>,
    until: Instant,
}

/// What came of reading.
pub(crate) enum Opened {
    Value {
        value: Vec<u8>,
        outdated: bool,
    },
    /// The seed is not known here: [`Kms::learn`] asks for it.
    Unknown,
}

impl Kms {
    pub(crate) fn new(name: &str, socket: Socket, timeout: Duration) -> Self {
        Self {
            name: name.to_owned(),
            prefix: format!("k8s:enc:kms:v2:{name}:").into_bytes(),
            plugin: Plugin::new(socket, timeout),
            current: RwLock::new(None),
            known: RwLock::default(),
            asking: Flight::default(),
            learning: RwLock::default(),
            health: RwLock::new(Err(format!("kmsv2 Provider {name} was not asked yet"))),
        }
    }

    /// The name that the configuration gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the service was when it was last asked.
    ///
    /// # Errors
    /// Why it is not well.
    pub fn health(&self) -> Result<(), String> {
        self.health.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the service how it is, again and again. Never returns.
    pub async fn follow(&self) {
        loop {
            let wait = match self.ask().await {
                Ok(()) => WELL,
                Err(why) => {
                    tracing::warn!(provider = %self.name, why, "a key management service is not well");
                    UNWELL
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether the bytes are this provider's.
    pub(crate) fn is_of(&self, stored: &[u8]) -> bool {
        stored.starts_with(&self.prefix)
    }

    /// Sees to it that values can be encrypted.
    ///
    /// # Errors
    /// When the service does not say by which key it works.
    pub(crate) async fn get_ready(&self) -> Result<(), String> {
        if self.writes_with().is_some() {
            return Ok(());
        }
        self.asking.ask_once(|| self.writes_with().is_some(), UNWELL, self.ask_now()).await
    }

    /// Encrypts. Without a seed that may still be written with there is no value.
    pub(crate) fn seal(&self, key: &str, value: &[u8]) -> Option<Vec<u8>> {
        let current = self.writes_with()?;
        let data = current.seed.seal(key, value)?;
        Some([self.prefix.as_slice(), &Envelope { source: current.source, data }.encode()].concat())
    }

    /// Decrypts bytes that are this provider's.
    ///
    /// # Errors
    /// When they are not what it has written.
    pub(crate) fn open(&self, key: &str, stored: &[u8]) -> Result<Opened, String> {
        let envelope = self.envelope(stored)?;
        let Some(seed) = self.seed(&envelope.source) else { return Ok(Opened::Unknown) };
        let value = seed.open(key, &envelope.data)?;
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let outdated = current.as_ref().is_none_or(|current| !current.source.is_by_key_of(&envelope.source));
        Ok(Opened::Value { value, outdated })
    }

    /// Has the service open the seed of bytes that are this provider's, where that was not done before.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn learn(&self, stored: &[u8]) -> Result<(), String> {
        let source = self.envelope(stored)?.source;
        if self.seed(&source).is_some() {
            return Ok(());
        }
        let flight = self.learning_of(&source);
        let question = async {
            let secret = self.plugin.decrypt(&source).await;
            let secret = secret.map_err(|why| format!("failed to decrypt DEK, error: {why}"))?;
            self.keep(source.clone(), Arc::new(Seed::read(&source, secret)?));
            Ok(())
        };
        flight.ask_once(|| self.seed(&source).is_some(), UNWELL, question).await
    }

    /// The question for a seed, the same one for all who ask at the same time or soon after it failed.
    fn learning_of(&self, source: &Source) -> Arc<Flight> {
        let mut learning = self.learning.write().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody asks now, and whose failure counts no more, are forgotten.
        learning.retain(|_, flight| Arc::strong_count(flight) > 1 || flight.failed_within(UNWELL));
        if learning.len() >= MAX_KEPT {
            learning.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(learning.entry(source.clone()).or_default())
    }

    fn envelope(&self, stored: &[u8]) -> Result<Envelope, String> {
        Envelope::decode(stored.strip_prefix(self.prefix.as_slice()).unwrap_or_default())
    }

    fn writes_with(&self) -> Option<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|current| Instant::now() < current.until)
    }

    fn seed(&self, source: &Source) -> Option<Arc<Seed>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(source).map(|(seed, _)| Arc::clone(seed))
    }

    fn keep(&self, source: Source, seed: Arc<Seed>) {
        let now = Instant::now();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, since)| now.duration_since(*since) < KEPT);
        if known.len() >= MAX_KEPT
            && let Some(oldest) = known.iter().min_by_key(|(_, (_, since))| *since).map(|(of, _)| of.clone())
        {
            known.remove(&oldest);
        }
        known.insert(source, (seed, now));
    }

    async fn ask(&self) -> Result<(), String> {
        self.asking.ask(self.ask_now()).await
    }

    async fn ask_now(&self) -> Result<(), String> {
        let answer = self.key_of_now().await;
        *self.health.write().unwrap_or_else(PoisonError::into_inner) = answer.clone();
        answer
    }

    /// Asks by which key the service works, and has a new seed encrypted by it where that is another one than before.
    async fn key_of_now(&self) -> Result<(), String> {
        let name = &self.name;
        let status = self.plugin.status().await.map_err(|why| {
            format!(
                "failed to perform status section of the healthz check for KMS Provider {name}, error: {why}"
            )
        })?;
        let mut wrong = Vec::new();
        if status.healthz != "ok" {
            wrong.push(format!("got unexpected healthz status: {}", status.healthz));
        }
        if !["v2", "v2beta1"].contains(&status.version.as_str()) {
            wrong.push(format!("expected KMSv2 API version v2, got {}", status.version));
        }
        if let Err(why) = envelope::check_key_id(&status.key_id) {
            wrong.push(format!("expected KMSv2 KeyID to be set, got {why}"));
        }
        if !wrong.is_empty() {
            return Err(format!("kmsv2 Provider {name} is not healthy, error: {}", wrong.join(", ")));
        }
        let until = Instant::now() + SEED_LIFE;
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(current) = current.as_mut().filter(|current| current.source.key_id == status.key_id) {
                current.until = until;
                return Ok(());
            }
        }
        let (seed, secret) = Seed::make();
        let source = self.plugin.encrypt(secret.to_vec()).await;
        let source = source.map_err(|why| format!("failed to encrypt DEK, error: {why}"))?;
        source.check()?;
        if source.key_id != status.key_id {
            return Err(format!(
                "failed to rotate DEK: kmsv2 Provider {name} encrypts by another key than its status names"
            ));
        }
        let seed = Arc::new(seed);
        self.keep(source.clone(), Arc::clone(&seed));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Current { source, seed, until });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
