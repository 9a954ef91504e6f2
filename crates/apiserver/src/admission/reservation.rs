//! What a write takes exclusively: addresses, ports, quota. A [`Reserver`] reserves it before the
//! commit; the [`Reservation`] is confirmed by the commit, and released if there is none.
//!
//! The order is reserve → commit → confirm, release or leave open. Every [`Reservation`] ends by exactly one of the
//! three, also when the request fails: dropping a reservation releases it, and a commit with an unknown outcome
//! leaves it open.

use std::any::Any;
use std::sync::Arc;

use api::{Error, Object};
use store::Revision;

use super::plugin::Review;
use crate::eventual::Eventual;

/// When a reserver is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// After mutating admission and before validation: what is reserved may be written into the object.
    Allocation,
    /// After validating admission, right before the commit: the object is final. Deletes do not come here.
    Final,
}

/// Sets aside what a write will use up.
pub trait Reserver: Send + Sync + 'static {
    /// When this reserver is asked.
    fn stage(&self) -> Stage {
        Stage::Allocation
    }

    /// Asked at its stage; in [`Stage::Allocation`] it may write what it has reserved into the object
    /// (`None` on delete). Dry runs ask too: what they reserve is released.
    ///
    /// `held` is what this reserver reserved in an earlier attempt of the same request, whose commit lost a race:
    /// returned again it is kept, so that no attempt reserves twice; dropped it is released.
    ///
    /// Cancellation safe: a request may be given up while this waits.
    ///
    /// # Errors
    /// When there is nothing to be had; the request fails with the error.
    fn reserve<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
        held: Option<Reservation>,
    ) -> Eventual<'a, Result<Option<Reservation>, Error>>;
}

/// What a write comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The object is stored as it was reviewed. A delete that finalizers or a grace period hold up is one too.
    Written,
    /// The object is gone from the store.
    Removed,
}

/// One thing set aside. Exactly one of the methods is called, once. Neither may wait or panic: what takes long is
/// handed to a task.
pub trait Hold: Any + Send {
    /// The write is on disk.
    fn confirm(self: Box<Self>, committed: Committed);

    /// There was no write: the request was refused, failed, changed nothing, was a dry run or was given up.
    fn release(self: Box<Self>);

    /// Nobody knows whether the write is on disk, or whether it still will be: the store's answer was lost. What is
    /// held is in doubt until the reserver has found out, and must not be given to others before. An object that is
    /// there as attempted confirms it; anything that changed the object after [`Attempt::base`], or for a create
    /// another object of the name, rules the attempt out.
    fn leave_open(self: Box<Self>, attempt: &Attempt);
}

/// A write as it was sent to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The revision that the write is bound to: it can only take place while that is the object's. `None` for a
    /// create, which can only take place while there is no object of the name.
    pub base: Option<Revision>,
    /// What it comes to if it takes place.
    pub committed: Committed,
}

/// A [`Hold`] that is released unless it is confirmed.
#[must_use = "a reservation that is dropped is released"]
pub struct Reservation(Option<Box<dyn Hold>>);

impl Reservation {
    pub fn new(hold: impl Hold) -> Self {
        Self(Some(Box::new(hold)))
    }

    /// What is held, for the reserver that made it.
    pub fn hold<T: Hold>(&self) -> Option<&T> {
        let hold: &dyn Any = self.0.as_deref()?;
        hold.downcast_ref()
    }

    fn confirm(mut self, committed: Committed) {
        if let Some(hold) = self.0.take() {
            hold.confirm(committed);
        }
    }

    fn leave_open(mut self, attempt: &Attempt) {
        if let Some(hold) = self.0.take() {
            hold.leave_open(attempt);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.release();
        }
    }
}

/// All that one write holds, with the place of each reserver in the list. Dropped, all is released.
#[derive(Default)]
pub(crate) struct Reservations(Vec<(usize, Reservation)>);

impl Reservations {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks every reserver of the stage. What an earlier attempt holds is handed back to whom it belongs to.
    ///
    /// # Errors
    /// The first refusal. What was reserved before it stays held until this is dropped.
    pub(crate) async fn reserve(
        &mut self,
        reservers: &[Arc<dyn Reserver>],
        stage: Stage,
        review: &Review<'_>,
        mut object: Option<&mut Object>,
    ) -> Result<(), Error> {
        for (index, reserver) in
            reservers.iter().enumerate().filter(|(_, reserver)| reserver.stage() == stage)
        {
            let known = self.0.iter().position(|(owner, _)| *owner == index);
            let held = known.map(|position| self.0.swap_remove(position).1);
            if let Some(reservation) = reserver.reserve(review, object.as_deref_mut(), held).await? {
                self.0.push((index, reservation));
            }
        }
        Ok(())
    }

    /// Begins the commit.
    pub(crate) fn committing(self, attempt: Attempt) -> Committing {
        Committing { reservations: self, attempt }
    }
}

/// What a write holds while the store has it. Dropped without an outcome (the commit panicked or was broken off), all
/// is left open.
pub(crate) struct Committing {
    reservations: Reservations,
    attempt: Attempt,
}

impl Committing {
    /// Takes the store's answer; returns what is still held, which is what a write that did not take place leaves.
    pub(crate) fn end<T>(mut self, answer: &Result<T, store::Error>) -> Reservations {
        match answer {
            Ok(_) => {
                for (_, reservation) in std::mem::take(&mut self.reservations).0 {
                    reservation.confirm(self.attempt.committed);
                }
                Reservations::default()
            }
            Err(error) if error.leaves_outcome_open() => Reservations::default(),
            Err(_) => std::mem::take(&mut self.reservations),
        }
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        for (_, reservation) in std::mem::take(&mut self.reservations).0 {
            reservation.leave_open(&self.attempt);
        }
    }
}
