//! Electing who leads, among the servers of one store, through a Lease, as upstream's components do
//! (`k8s.io/client-go/tools/leaderelection`): same durations, same fields, same Event.
//!
//! Start with [`Election::run`]. What leads runs under a supervisor of its own, for one term: a leader that cannot renew
//! its lease in time ends the term, and everything in it, before another server may begin one. Which server acts is
//! decided by [`judge`], pure.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::{Clock, Shutdown, Supervisor, random};
use client::events::{EventType, Recorder, reference};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

/// Upstream's `--leader-elect-lease-duration`: others wait so long after the last sign of life.
const LEASE: Duration = Duration::from_secs(15);
/// Upstream's `--leader-elect-renew-deadline`: a leader gives up after so long without a renewal.
const DEADLINE: Duration = Duration::from_secs(10);
/// Upstream's `--leader-elect-retry-period`.
pub const RETRY: Duration = Duration::from_secs(2);
/// How long what runs in a term may take to end by itself. With the deadline, less than the lease.
pub const END: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kube-system";

/// One server's part in the election of one leader.
pub struct Election {
    /// Of the component that leads.
    pub client: Client,
    /// The lease's name, and the component's.
    pub name: &'static str,
    /// This server's name in the lease.
    pub identity: String,
    pub clock: Arc<dyn Clock>,
    /// Of the server. It stops when what leads has failed for good.
    pub supervisor: Supervisor,
    /// Started when the server is about to stop, while it still answers: others are to lead from then on.
    pub handover: Shutdown,
}

/// Stops the server when the election panics: nobody here would lead any more, and nobody would say so.
struct PanicGuard(Shutdown);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.start();
        }
    }
}

/// A name that no other server has, nor this one after its next start: `HOST_UUID`, as upstream's.
pub fn identity(host: &str) -> String {
    format!("{host}_{}", random::uuid())
}

/// The lease as it was seen last, and since when it has been so.
#[derive(Debug, Clone)]
struct Seen {
    lease: Lease,
    since: Instant,
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// Write that this server holds it.
    Take,
    /// Another server holds it.
    Leave,
}

/// Whether `identity` may take the lease. Clocks of machines differ: a holder is given up when its lease has not changed
/// for as long as it says that it lasts, by this machine's own time.
fn judge(seen: &Seen, identity: &str, now: Instant) -> Judgement {
    let spec = seen.lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    if holder.is_empty() || holder == identity {
        return Judgement::Take;
    }
    let lasts = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let lasts = lasts.map_or(LEASE, Duration::from_secs);
    if now.saturating_duration_since(seen.since) >= lasts { Judgement::Take } else { Judgement::Leave }
}

/// The lease as `identity` holds it from `now` on.
fn taken(before: &LeaseSpec, identity: &str, now: MicroTime) -> LeaseSpec {
    let same = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    // The first holder is no change of holders, nor is one that follows nobody.
    let changed = !same && before.holder_identity.is_some();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        acquire_time: before.acquire_time.clone().filter(|_| same).or_else(|| Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(transitions + i32::from(changed)),
        ..before.clone()
    }
}

impl Election {
    /// Takes part until the handover or shutdown; `lead` starts what a leader does, under the supervisor that it is given.
    pub async fn run<F>(self, lead: impl Fn(Supervisor) -> F)
    where
        F: Future<Output = Result<()>>,
    {
        let _guard = PanicGuard(self.supervisor.shutdown().clone());
        let host = None;
        let recorder =
            Recorder::start(self.client.clone(), self.name, host, self.clock.clone(), &self.supervisor);
        let mut seen = None;
        loop {
            let renewed = tokio::select! {
                renewed = self.acquire(&mut seen) => renewed,
                // What was written a moment ago may have taken the lease.
                () = self.ends() => return self.give_back().await,
            };
            tracing::info!(lease = self.name, identity = self.identity, "this server leads");
            if let Some(seen) = &seen {
                let message = format!("{} became leader", self.identity);
                recorder.event(&reference(&seen.lease), EventType::Normal, "LeaderElection", message);
            }
            self.serve_term(&lead, &mut seen, renewed).await;
            if self.supervisor.shutdown().is_started() || self.handover.is_started() {
                return;
            }
            if let Some(seen) = &seen {
                let message = format!("{} stopped leading", self.identity);
                recorder.event(&reference(&seen.lease), EventType::Normal, "LeaderElection", message);
            }
        }
    }

    async fn ends(&self) {
        tokio::select! {
            () = self.supervisor.shutdown().started() => {}
            () = self.handover.started() => {}
        }
    }

    /// Waits until this server has the lease; returns since when.
    async fn acquire(&self, seen: &mut Option<Seen>) -> Instant {
        loop {
            let begun = Instant::now();
            match tokio::time::timeout(DEADLINE, self.try_take(seen)).await {
                Ok(Ok(true)) => return begun,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, error = %format!("{error:#}"), "the election goes on");
                }
                Err(_) => {
                    tracing::warn!(lease = self.name, "no answer about the lease; the election goes on")
                }
            }
            // Up to a fifth later, so that servers do not ask at once.
            let jitter = random::below(u64::try_from(RETRY.as_millis()).unwrap_or(0) / 5);
            tokio::time::sleep(RETRY + Duration::from_millis(jitter)).await;
        }
    }

    /// Leads until the lease is lost or the server stops; everything of the term has ended when this returns.
    async fn serve_term<F>(&self, lead: &impl Fn(Supervisor) -> F, seen: &mut Option<Seen>, renewed: Instant)
    where
        F: Future<Output = Result<()>>,
    {
        let shutdown = self.supervisor.shutdown();
        let term = Supervisor::new(Shutdown::new());
        let led = async {
            match lead(term.clone()).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        let mut pause = Duration::ZERO;
        tokio::select! {
            error = led => {
                tracing::error!(component = self.name, error = %format!("{error:#}"), "the leader could not start");
                // Others may be able to.
                pause = LEASE + RETRY;
            }
            () = self.renew(seen, renewed) => {
                tracing::error!(lease = self.name, "the lease is lost: this server stops acting");
            }
            () = term.shutdown().started() => {
                tracing::error!(component = self.name, "an essential part of the leader ended; stopping");
                shutdown.start();
            }
            () = self.ends() => {}
        }
        term.shutdown().start();
        term.drain(END).await;
        if self.handover.is_started() || !pause.is_zero() {
            self.give_back().await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.ends() => {}
        }
    }

    /// Renews the lease while that succeeds in time.
    async fn renew(&self, seen: &mut Option<Seen>, mut renewed: Instant) {
        loop {
            tokio::time::sleep(RETRY).await;
            let begun = Instant::now();
            match tokio::time::timeout_at(renewed + DEADLINE, self.try_take(seen)).await {
                Ok(Ok(true)) => renewed = begun,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, error = %format!("{error:#}"), "the lease is not renewed yet");
                }
            }
            if renewed.elapsed() >= DEADLINE {
                return;
            }
        }
    }

    /// Takes or renews the lease; `false` where another server has it.
    async fn try_take(&self, seen: &mut Option<Seen>) -> Result<bool> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let Some(lease) = api.get_opt(self.name).await.context("reading the lease")? else {
            let spec = taken(&LeaseSpec::default(), &self.identity, self.now());
            let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            return self.note(seen, api.create(&PostParams::default(), &lease).await);
        };
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        if seen.as_ref().is_none_or(|seen| version(&seen.lease) != version(&lease)) {
            *seen = Some(Seen { lease, since: Instant::now() });
        }
        let Some(present) = seen.as_ref() else { bail!("the lease was just read") };
        if judge(present, &self.identity, Instant::now()) == Judgement::Leave {
            return Ok(false);
        }
        let mut lease = present.lease.clone();
        lease.spec = Some(taken(&lease.spec.unwrap_or_default(), &self.identity, self.now()));
        self.note(seen, api.replace(self.name, &PostParams::default(), &lease).await)
    }

    /// Keeps what was written. Who was faster has the lease.
    fn note(&self, seen: &mut Option<Seen>, written: kube::Result<Lease>) -> Result<bool> {
        match written {
            Ok(lease) => {
                *seen = Some(Seen { lease, since: Instant::now() });
                Ok(true)
            }
            Err(error) if client::is_conflict(&error) || client::is_already_exists(&error) => {
                bail!("another server has changed the lease meanwhile")
            }
            Err(error) => Err(error).context("writing the lease"),
        }
    }

    /// Lets others take the lease at once, if this server holds it.
    async fn give_back(&self) {
        match tokio::time::timeout(RETRY, self.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(error = %format!("{error:#}"), "the lease runs out by itself"),
            Err(_) => tracing::info!("no answer about the lease, which runs out by itself"),
        }
    }

    async fn release(&self) -> Result<()> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let Some(mut lease) = api.get_opt(self.name).await.context("reading the lease")? else {
            return Ok(());
        };
        let Some(before) = lease.spec.take_if(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
        else {
            return Ok(());
        };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(self.now()),
            renew_time: Some(self.now()),
            ..before
        });
        api.replace(self.name, &PostParams::default(), &lease).await.context("releasing the lease")?;
        Ok(())
    }

    fn now(&self) -> MicroTime {
        MicroTime(self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(by: &str, lasts_s: i32) -> Seen {
        let spec = LeaseSpec {
            holder_identity: Some(by.to_owned()),
            lease_duration_seconds: Some(lasts_s),
            ..LeaseSpec::default()
        };
        Seen { lease: Lease { spec: Some(spec), ..Lease::default() }, since: Instant::now() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_from_who_is_silent_for_as_long_as_it_lasts() {
        let after = |seen: &Seen, s| judge(seen, "me", seen.since + Duration::from_secs(s));
        let other = held("other", 15);
        assert_eq!((after(&other, 0), after(&other, 14)), (Judgement::Leave, Judgement::Leave));
        assert_eq!(after(&other, 15), Judgement::Take);
        assert_eq!(after(&held("me", 15), 0), Judgement::Take);
        assert_eq!(after(&held("", 1), 0), Judgement::Take, "released");
        assert_eq!(after(&held("other", 60), 15), Judgement::Leave, "its own word counts");
        let nobody = Seen { lease: Lease::default(), since: Instant::now() };
        assert_eq!(after(&nobody, 0), Judgement::Take);
    }

    #[test]
    fn renewals_keep_the_beginning_and_changes_of_holders_are_counted() {
        let at = |s: i64| MicroTime(jiff::Timestamp::from_second(s).expect("a time"));
        let first = taken(&LeaseSpec::default(), "a", at(1));
        assert_eq!((first.lease_transitions, first.acquire_time.clone()), (Some(0), Some(at(1))));
        let renewed = taken(&first, "a", at(3));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time.clone()), (Some(0), Some(at(1))));
        assert_eq!(renewed.renew_time, Some(at(3)));
        let other = taken(&renewed, "b", at(30));
        assert_eq!((other.lease_transitions, other.acquire_time), (Some(1), Some(at(30))));
        assert!(DEADLINE + END < LEASE, "who loses the lease has stopped before another begins");
    }
}
