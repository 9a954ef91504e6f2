//! Seats go where they are needed: while somebody waits, and for some time after that, each level's limit is figured anew
//! every ten seconds, from what each has needed. Nothing runs while no level is full.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::Shutdown;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::config::{Config, Entry};
use super::demand::Need;
use super::gate::{Handle, wake};
use super::shares::{Wanted, allocate, seats};

/// Upstream's.
const PERIOD: Duration = Duration::from_secs(10);
/// So many periods in which nobody has waited end it. By then half of what was needed is forgotten.
const QUIET: u32 = 30;

/// When limits are figured next.
#[derive(Debug, Default)]
pub(super) struct Balance {
    next: Option<Instant>,
    quiet: u32,
}

impl Shared {
    /// Notes that somebody cannot be let in at once.
    pub(super) fn contend(&self, level: &Handle) {
        level.contended.store(true, Ordering::Relaxed);
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        if balance.next.is_none() {
            // What was needed before is long past: only what is needed now counts.
            let now = Instant::now();
            for entry in &self.config.load().levels {
                entry.handle.level().take_demand(now);
            }
            *balance = Balance { next: Some(now), quiet: 0 };
            self.bell.notify_one();
        }
    }

    /// Does what is due, and returns when something is due next.
    fn turn(&self, now: Instant) -> Option<Instant> {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.config.load();
        if balance.next.is_some_and(|next| next <= now) {
            let contended =
                config.levels.iter().filter(|entry| entry.handle.contended.swap(false, Ordering::Relaxed));
            balance.quiet = if contended.count() > 0 { 0 } else { balance.quiet + 1 };
            balance.next = (balance.quiet < QUIET).then(|| now + PERIOD);
            if balance.next.is_none() {
                for entry in &config.levels {
                    *entry.handle.need() = Need::default();
                    entry.handle.level().take_demand(now);
                }
            }
            self.divide(&config, now);
        }
        let mut due = balance.next;
        drop(balance);
        let handles = config.levels.iter().map(|entry| &entry.handle).chain(&config.leaving);
        for handle in handles {
            handle.settle(now);
            due = due.into_iter().chain(handle.level().next_release()).min();
        }
        due
    }

    /// Gives each level its limit.
    pub(super) fn divide(&self, config: &Config, now: Instant) {
        let total: u32 = config.levels.iter().map(|entry| entry.bounds.nominal).sum();
        let wanted: Vec<Wanted> = config.levels.iter().map(|entry| wanted(entry, now)).collect();
        let divided = allocate(total.into(), &wanted);
        if divided.is_none() {
            tracing::error!(
                "the seats of the priority levels cannot be divided; the limits stay as they are"
            );
        }
        for (at, entry) in config.levels.iter().enumerate() {
            let mut level = entry.handle.level();
            let limit = divided.as_ref().map_or(level.limit(), |(parts, _)| seats(parts[at].round()));
            let started = level.configure(entry.mode, limit, now);
            drop(level);
            wake(started);
            let need = *entry.handle.need();
            self.metrics.show(&entry.handle.name, &entry.bounds, &need, wanted[at].target, limit);
        }
        if let Some((_, fraction)) = divided {
            self.metrics.show_fraction(fraction);
        }
    }
}

fn wanted(entry: &Entry, now: Instant) -> Wanted {
    let observed = entry.handle.level().take_demand(now);
    let mut need = entry.handle.need();
    need.note(&observed);
    let (lower, nominal) = (f64::from(entry.bounds.lower), f64::from(entry.bounds.nominal));
    // What a level has used of its own it keeps.
    let lower = lower.max(nominal.min(need.highest));
    Wanted { lower, upper: entry.bounds.upper.into(), target: lower.max(need.smoothed) }
}

/// Sleeps until something is due, or somebody waits.
pub(super) async fn run(shared: std::sync::Arc<Shared>, shutdown: Shutdown) {
    let work = async {
        loop {
            match shared.turn(Instant::now()) {
                None => shared.bell.notified().await,
                Some(due) => tokio::select! {
                    () = shared.bell.notified() => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    };
    tokio::select! {
        () = shutdown.started() => {}
        () = work => {}
    }
}
