//! Which calls and watches of a handle of the store in memory fail, and when: by order
//! ([`Faults::next_write`], [`Faults::hold`], [`Faults::break_watches`], [`Faults::cut_off`]) or by chance
//! ([`Faults::by_chance`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch as signal;

use crate::types::Error;

/// What happens to one write.
#[derive(Debug, Clone)]
pub enum WriteFault {
    /// Nothing is written, and the caller gets the error.
    Refused(Error),
    /// The write takes effect, and the caller gets the error: the caller does not know the outcome.
    AnswerLost(Error),
    /// The write takes effect after the first delay, and is answered after the second.
    Slow { before: Duration, after: Duration },
}

/// A part of the store that can be held up until it is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Writes, before they take effect.
    Writes,
    /// Answers to writes that have taken effect.
    Answers,
    /// Watches: they lag behind.
    Watches,
    /// Progress of watches that have nothing else to yield.
    Progress,
}

/// How often something happens by chance, in 1/1000.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    pub refused: u64,
    pub answer_lost: u64,
    /// Writes that are slow before and after they take effect, by up to [`Rates::slowness`] each.
    pub slow: u64,
    pub watch_broken: u64,
    /// Watches that pause before they go on, by up to [`Rates::slowness`].
    pub watch_slow: u64,
    pub slowness: Duration,
}

/// A function that returns a number below its argument.
type Dice = Box<dyn FnMut(u64) -> u64 + Send>;

/// The faults of one handle. Clones are the same.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    planned: Mutex<VecDeque<WriteFault>>,
    chance: Mutex<Option<(Rates, Dice)>>,
    /// What is held, one flag a [`Part`].
    held: signal::Sender<[bool; 4]>,
    /// Why watches broke last.
    broken: signal::Sender<Option<Error>>,
    /// Whether the store is out of reach.
    cut_off: signal::Sender<bool>,
}

/// Whether a watch goes on.
pub(super) enum WatchStep {
    Go,
    Break(Error),
}

impl Faults {
    /// The next write that has no fault planned for it yet meets this one.
    pub fn next_write(&self, fault: WriteFault) {
        lock(&self.inner.planned).push_back(fault);
    }

    /// Holds up a part until [`Faults::let_go`].
    pub fn hold(&self, part: Part) {
        self.inner.held.send_modify(|held| held[part as usize] = true);
    }

    pub fn let_go(&self, part: Part) {
        self.inner.held.send_modify(|held| held[part as usize] = false);
    }

    /// Ends every watch of the handle with the error.
    pub fn break_watches(&self, error: Error) {
        self.inner.broken.send_replace(Some(error));
    }

    /// Takes the store out of reach: calls get [`Error::Unavailable`], watches end with it.
    pub fn cut_off(&self) {
        self.inner.cut_off.send_replace(true);
        self.break_watches(unreachable());
    }

    /// Undoes [`Faults::cut_off`].
    pub fn reconnect(&self) {
        self.inner.cut_off.send_replace(false);
    }

    /// From now on faults also happen by chance. `dice` returns a number below its argument; the same numbers
    /// make the same faults.
    pub fn by_chance(&self, rates: Rates, dice: impl FnMut(u64) -> u64 + Send + 'static) {
        *lock(&self.inner.chance) = Some((rates, Box::new(dice)));
    }

    /// Ends all faults: whatever is held goes on, and nothing more fails by chance or by plan.
    pub fn heal(&self) {
        lock(&self.inner.planned).clear();
        *lock(&self.inner.chance) = None;
        self.inner.held.send_replace([false; 4]);
        self.reconnect();
    }

    pub(super) fn check_reachable(&self) -> Result<(), Error> {
        if *self.inner.cut_off.borrow() { Err(unreachable()) } else { Ok(()) }
    }

    pub(super) fn broken(&self) -> signal::Receiver<Option<Error>> {
        self.inner.broken.subscribe()
    }

    /// Waits until the part is not held.
    pub(super) async fn passed(&self, part: Part) {
        let mut held = self.inner.held.subscribe();
        // The sender lives as long as `self`: there is always an end to wait for.
        let _ = held.wait_for(|held| !held[part as usize]).await;
    }

    /// What happens to a write that begins; `Err` refuses it.
    pub(super) async fn before_write(&self) -> Result<Option<WriteFault>, Error> {
        let fault = self.next_fault();
        if let Some(WriteFault::Slow { before, .. }) = &fault {
            tokio::time::sleep(*before).await;
        }
        self.passed(Part::Writes).await;
        match fault {
            Some(WriteFault::Refused(error)) => Err(error),
            other => Ok(other),
        }
    }

    /// What happens to the answer of a write that has taken effect.
    pub(super) async fn after_write(&self, fault: Option<WriteFault>) -> Result<(), Error> {
        if let Some(WriteFault::Slow { after, .. }) = &fault {
            tokio::time::sleep(*after).await;
        }
        self.passed(Part::Answers).await;
        match fault {
            Some(WriteFault::AnswerLost(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn next_fault(&self) -> Option<WriteFault> {
        let planned = lock(&self.inner.planned).pop_front();
        planned.or_else(|| {
            let mut chance = lock(&self.inner.chance);
            let (rates, dice) = chance.as_mut()?;
            let mut roll = dice(1000);
            let mut happens = |rate: u64| {
                let hit = roll < rate;
                roll = roll.wrapping_sub(rate);
                hit
            };
            if happens(rates.refused) {
                Some(WriteFault::Refused(unreachable()))
            } else if happens(rates.answer_lost) {
                Some(WriteFault::AnswerLost(Error::Timeout("the answer was lost".into())))
            } else if happens(rates.slow) {
                let (before, after) = (some_of(rates.slowness, dice), some_of(rates.slowness, dice));
                Some(WriteFault::Slow { before, after })
            } else {
                None
            }
        })
    }

    pub(super) async fn before_watch_step(&self) -> WatchStep {
        let pause = {
            let mut chance = lock(&self.inner.chance);
            let Some((rates, dice)) = chance.as_mut() else { return WatchStep::Go };
            let roll = dice(1000);
            if roll < rates.watch_broken {
                return WatchStep::Break(unreachable());
            }
            if roll >= rates.watch_broken + rates.watch_slow {
                return WatchStep::Go;
            }
            some_of(rates.slowness, dice)
        };
        tokio::time::sleep(pause).await;
        WatchStep::Go
    }
}

fn some_of(most: Duration, dice: &mut Dice) -> Duration {
    let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(dice(most_ms.saturating_add(1)))
}

fn unreachable() -> Error {
    Error::Unavailable("no connection".into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
