//! [`Keeper`]: has a node's certificate renewed in time, and for new addresses, while the node runs.
//!
//! As upstream's certificate manager (`client-go/util/certificate`), each certificate is renewed at a moment between 70 and
//! 90 % of its life, so that the nodes of a cluster do not all come at once. A renewal that fails is tried again, with
//! growing waits; the old certificate stays in use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use base::{Clock, Shutdown, backoff};
use jiff::{SignedDuration, Timestamp};
use kubelet::metrics::certificates::Figures;
use tokio::sync::watch;

use super::wanted::Wanted;
use crate::pki::Pair;
use crate::pki::facts::Facts;

/// The waits between attempts.
const RETRY: backoff::Policy = backoff::Policy::new(Duration::from_secs(2), Duration::from_mins(10));

/// Gives certificates, and puts them to use.
#[async_trait]
pub trait Source: Send + Sync {
    /// A new certificate. Cancellation safe: what was asked for is forgotten.
    ///
    /// # Errors
    /// Why there is none.
    async fn issue(&self, wanted: &Wanted) -> Result<Pair>;

    /// Writes the certificate down and uses it from now on.
    ///
    /// # Errors
    /// When it cannot be written or used; the old one stays then.
    fn put(&self, pair: &Pair) -> Result<()>;
}

/// The certificate that a node with these addresses wants.
pub type WantedAt = Box<dyn Fn(&[IpAddr]) -> Wanted + Send + Sync>;

/// See the module's documentation.
pub struct Keeper {
    /// Of the certificate, for the log.
    pub name: &'static str,
    pub wanted: WantedAt,
    /// The node's own addresses.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
    pub source: Box<dyn Source>,
    pub figures: Figures,
    pub clock: Arc<dyn Clock>,
}

/// What ended a wait.
enum News {
    Due,
    /// Addresses may have changed.
    Addresses,
    Stop,
}

impl Keeper {
    /// Keeps the certificate, starting with the one that is in use, until shutdown.
    pub async fn run(mut self, first: Option<Facts>, shutdown: Shutdown) {
        let mut present = first;
        let mut failures = 0;
        let (mut due, mut wanted) = self.plan(present.as_ref());
        loop {
            let wait = if failures == 0 {
                due.duration_since(self.clock.now()).max(SignedDuration::ZERO).unsigned_abs()
            } else {
                RETRY.delay(failures)
            };
            match self.wait(wait, &shutdown).await {
                News::Stop => return,
                News::Addresses => {
                    let (next, other) = self.plan(present.as_ref());
                    if other != wanted {
                        (due, wanted, failures) = (next, other, 0);
                    }
                    continue;
                }
                News::Due => {}
            }
            let issued = tokio::select! {
                issued = self.source.issue(&wanted) => issued,
                () = shutdown.started() => return,
                Ok(()) = self.addresses.changed() => {
                    (due, wanted) = self.plan(present.as_ref());
                    continue;
                }
            };
            match issued.and_then(|pair| self.take(&pair, present.as_ref())) {
                Ok(facts) => {
                    tracing::info!(certificate = self.name, ends = %facts.ends, "the certificate is new");
                    present = Some(facts);
                    failures = 0;
                    (due, wanted) = self.plan(present.as_ref());
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.figures.failed();
                    let ends = present.as_ref().map(|facts| facts.ends.to_string());
                    let (error, again) = (format!("{error:#}"), RETRY.delay(failures));
                    tracing::error!(
                        certificate = self.name,
                        ends,
                        error,
                        ?again,
                        "the certificate is not renewed"
                    );
                }
            }
        }
    }

    /// When a certificate is to be asked for, and which.
    fn plan(&mut self, present: Option<&Facts>) -> (Timestamp, Wanted) {
        let wanted = (self.wanted)(&self.addresses.borrow_and_update());
        let now = self.clock.now();
        let Some(present) = present.filter(|facts| wanted.is(facts)) else { return (now, wanted) };
        self.figures.uses(present.ends);
        (renewal(present, base::random::below(1_000_000)), wanted)
    }

    async fn wait(&mut self, wait: Duration, shutdown: &Shutdown) -> News {
        tokio::select! {
            () = tokio::time::sleep(wait) => News::Due,
            Ok(()) = self.addresses.changed() => News::Addresses,
            () = shutdown.started() => News::Stop,
        }
    }

    fn take(&self, pair: &Pair, former: Option<&Facts>) -> Result<Facts> {
        let facts = Facts::read(&pair.certificate_pem).context("the new certificate cannot be read")?;
        self.source.put(pair)?;
        if let Some(former) = former {
            self.figures.used(former.begins, self.clock.now());
        }
        Ok(facts)
    }
}

/// The moment of renewal. `millionths`, below a million, decides where between 70 and 90 % of the life it is.
fn renewal(facts: &Facts, millionths: u64) -> Timestamp {
    let life_s = facts.life().as_secs().max(0);
    let part = 700_000 + i64::try_from(millionths / 5).unwrap_or_default();
    let after_s = i64::try_from(i128::from(life_s) * i128::from(part) / 1_000_000).unwrap_or(life_s);
    facts.begins.checked_add(SignedDuration::from_secs(after_s)).unwrap_or(facts.ends)
}

#[cfg(test)]
mod tests;
