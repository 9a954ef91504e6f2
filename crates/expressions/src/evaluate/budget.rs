//! [`Budget`]: what evaluations may still cost.

use super::Fault;

/// The most bytes that one evaluation makes, whether it still needs them or not.
const MADE_BYTES: usize = 64 * 1024 * 1024;

/// What evaluations may still cost, in steps. Each of them may make so many bytes besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    steps: u64,
    bytes: usize,
}

impl Budget {
    pub const fn steps(steps: u64) -> Self {
        Self { steps, bytes: MADE_BYTES }
    }

    /// Whether nothing is left.
    pub const fn is_spent(&self) -> bool {
        self.steps == 0
    }

    /// Takes a part of what is left for an evaluation of its own.
    pub fn part(&self, limit: u64) -> Self {
        Self::steps(self.steps.min(limit))
    }

    /// Takes away what a part has spent.
    pub fn spend(&mut self, before: &Budget, after: &Budget) {
        self.steps = self.steps.saturating_sub(before.steps - after.steps.min(before.steps));
    }

    /// The steps that are left.
    pub(super) const fn left(&self) -> u64 {
        self.steps
    }

    /// An evaluation begins: nothing that earlier ones made is held any more.
    pub(super) const fn begin(&mut self) {
        self.bytes = MADE_BYTES;
    }

    pub(super) fn charge(&mut self, steps: u64) -> Result<(), Fault> {
        let left = self.steps.checked_sub(steps).ok_or(Fault::Spent);
        self.steps = left.as_ref().copied().unwrap_or(0);
        left.map(drop)
    }

    /// Takes bytes that were made.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            // As when the steps are spent: it ends here.
            None => {
                self.steps = 0;
                Err(Fault::Spent)
            }
        }
    }

    /// Takes bytes that are to be made, and the steps of making them.
    pub(super) fn make(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.bytes {
            return self.hold(bytes);
        }
        self.charge(bytes as u64 / 10)
    }
}
