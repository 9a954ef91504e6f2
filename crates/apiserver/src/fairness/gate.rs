//! The way in: [`enter`] takes the seats of a request, or waits for them; a [`Seat`] gives them back when dropped.
//!
//! The lock of a level is held for a few instructions; whoever is let in by somebody's end is told after that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::Error;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Shared;
use super::demand::Need;
use super::level::{Arrival, Level, Mode, Place, Placed, Refusal, Started, Work};
use super::metrics::Figures;
use super::retry::Retry;
use super::schema::Matcher;

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// A priority level, for as long as requests use it.
pub(super) struct Handle {
    pub name: Arc<str>,
    level: Mutex<Level<Waiter>>,
    /// Somebody has waited, or was refused, since this was looked at last.
    pub contended: AtomicBool,
    pub need: Mutex<Need>,
    retry: Mutex<Retry>,
}

impl Handle {
    pub fn new(name: Arc<str>, mode: Mode, limit: u32, now: Instant) -> Self {
        Self {
            name,
            level: Mutex::new(Level::new(mode, limit, now)),
            contended: AtomicBool::new(false),
            need: Mutex::default(),
            retry: Mutex::new(Retry::new(now)),
        }
    }

    pub fn level(&self) -> MutexGuard<'_, Level<Waiter>> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn need(&self) -> MutexGuard<'_, Need> {
        self.need.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees what has lingered long enough.
    pub fn settle(&self, now: Instant) {
        let started = self.level().settle(now);
        wake(started);
    }
}

/// A flow schema with its level: the class of a request.
pub(crate) struct Class {
    pub(super) name: Arc<str>,
    pub(super) uid: HeaderValue,
    pub(super) level_uid: HeaderValue,
    pub(super) matcher: Matcher,
    pub(super) level: Arc<Handle>,
    pub(super) exempt: bool,
    /// The most seats of a request, where the level says so.
    pub(super) most: Option<u32>,
    pub(super) figures: Figures,
}

impl std::fmt::Debug for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Class").field("schema", &self.name).field("level", &self.level.name).finish()
    }
}

impl Class {
    /// Notes in an answer what its request was taken for: by uid, as names may say more than the user is to know.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(SCHEMA_UID, self.uid.clone());
        headers.insert(LEVEL_UID, self.level_uid.clone());
    }
}

/// What is shown of a request that waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    pub flow: String,
    pub arrived: String,
    pub user: String,
    pub verb: &'static str,
    pub path: String,
    pub namespace: String,
    pub name: String,
    pub api_version: String,
    pub resource: String,
    pub subresource: String,
}

/// What is to be known of a request that comes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming {
    pub hash: u64,
    pub work: Work,
    pub read_only: bool,
    pub watch: bool,
    /// How long the request may wait.
    pub patience: Duration,
}

/// A request that waits, as its level knows it.
pub(super) struct Waiter {
    pub class: Arc<Class>,
    pub details: Box<Details>,
    incoming: Incoming,
    shared: Arc<Shared>,
    reply: oneshot::Sender<Seat>,
}

/// Tells those who have been let in. Nobody's lock is held.
pub(super) fn wake(started: Started<Waiter>) {
    for (waiter, placed) in started {
        waiter.class.figures.waiting.dec();
        let seat = Seat::taken(waiter.shared, waiter.class, placed, &waiter.incoming);
        // One that nobody waits for any more is given back by its drop.
        let _gone = waiter.reply.send(seat);
    }
}

/// The seats of a request that is worked on.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    class: Arc<Class>,
    placed: Placed,
    read_only: bool,
    watch: bool,
}

impl Seat {
    fn taken(shared: Arc<Shared>, class: Arc<Class>, placed: Placed, incoming: &Incoming) -> Self {
        let Incoming { read_only, watch, .. } = *incoming;
        shared.lane(read_only).fetch_add(1, Ordering::Relaxed);
        let figures = &class.figures;
        figures.dispatched.inc();
        figures.executing.inc();
        figures.seats.inc_by(placed.work.most().into());
        Self { shared, class, placed, read_only, watch }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = Instant::now();
        let (started, lingers) = {
            let mut level = self.class.level.level();
            (level.finish(&self.placed, now), level.next_release().is_some())
        };
        wake(started);
        if lingers {
            self.shared.bell.notify_one();
        }
        self.shared.lane(self.read_only).fetch_sub(1, Ordering::Relaxed);
        let figures = &self.class.figures;
        figures.executing.dec();
        figures.seats.dec_by(self.placed.work.most().into());
        figures.executed(self.watch, now.saturating_duration_since(self.placed.started));
    }
}

/// A wait that has not ended; leaves the queue when dropped.
struct Queued<'a> {
    class: &'a Class,
    place: Place,
    since: Instant,
    over: bool,
}

impl Queued<'_> {
    /// Ends the wait; false if the request has been let in.
    fn leave(&mut self, reason: &'static str) -> bool {
        self.over = true;
        let now = Instant::now();
        let (left, started) = self.class.level.level().forget(self.place, now);
        wake(started);
        if left {
            self.class.figures.waiting.dec();
            self.class.figures.reject(reason);
            self.class.figures.waited(false, now.saturating_duration_since(self.since));
        }
        left
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.leave("cancelled");
        }
    }
}

/// Takes the seats of a request, at once or when its turn has come.
///
/// # Errors
/// 429 when there are no seats and no place to wait, or the request has waited too long.
pub(super) async fn enter(
    shared: &Arc<Shared>,
    class: &Arc<Class>,
    incoming: Incoming,
    details: impl FnOnce() -> Details,
) -> Result<Seat, Error> {
    let now = Instant::now();
    if !class.exempt {
        class.figures.widths.observe(incoming.work.most().into());
    }
    let mut receiver = None;
    let waiter = || {
        let (reply, receive) = oneshot::channel();
        receiver = Some(receive);
        class.figures.waiting.inc();
        let (class, shared) = (class.clone(), shared.clone());
        Waiter { class, details: Box::new(details()), incoming, shared, reply }
    };
    let (arrival, started, lingers) = {
        let mut level = class.level.level();
        let (arrival, started) = level.arrive(incoming.hash, incoming.work, now, waiter);
        (arrival, started, level.next_release().is_some())
    };
    wake(started);
    if lingers {
        // Seats become free by time alone.
        shared.bell.notify_one();
    }
    let place = match arrival {
        Arrival::Started(placed) => {
            if !class.exempt {
                class.figures.waited(true, Duration::ZERO);
            }
            return Ok(Seat::taken(shared.clone(), class.clone(), placed, &incoming));
        }
        Arrival::Refused(refusal) => {
            shared.contend(&class.level);
            class.figures.reject(match refusal {
                Refusal::Full => "concurrency-limit",
                Refusal::QueueFull => "queue-full",
            });
            return Err(refused(&class.level, now));
        }
        Arrival::Waits(place) => place,
    };
    shared.contend(&class.level);
    class.figures.lengths.observe(f64::from(u32::try_from(place.length).unwrap_or(u32::MAX)));
    let mut queued = Queued { class, place, since: now, over: false };
    let receiver = receiver.expect("who waits has been given a place to hear of its turn");
    match tokio::time::timeout_at(now + incoming.patience, receiver).await {
        Ok(Ok(seat)) => {
            queued.over = true;
            class.figures.waited(true, seat.placed.started.saturating_duration_since(now));
            Ok(seat)
        }
        // The level has gone with the server; or the time is over.
        Ok(Err(_)) | Err(_) => {
            queued.leave("time-out");
            Err(refused(&class.level, Instant::now()))
        }
    }
}

fn refused(level: &Handle, now: Instant) -> Error {
    let seconds = level.retry.lock().unwrap_or_else(PoisonError::into_inner).refuse(now);
    Error::too_many_requests("Too many requests, please try again later.", seconds)
}
