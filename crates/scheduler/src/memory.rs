//! [`Memory`]: results of earlier decisions that are still valid, for pods of equal shape.

use std::sync::Arc;

use crate::filters::check;
use crate::merits::{Merits, merits};
use crate::node::NodeInfo;
use crate::pod::{Needs, Shape};
use crate::refusal::Refusal;
use crate::verdict::Verdict;

/// How many different needs, and how many failures, are remembered; the one used least lately goes.
const REMEMBERED: usize = 32;

/// The result for one node and all pods with the same needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry {
    /// When the node last changed as this was worked out; 0: never worked out.
    stamp: u64,
    pub verdict: Verdict,
    /// Present only if the node suits.
    pub merits: Merits,
}

#[derive(Debug)]
struct Row {
    needs: Arc<Needs>,
    entries: Vec<Entry>,
    used: u64,
}

#[derive(Debug)]
struct Failure {
    shape: Shape,
    /// When anything last changed as the pod fitted nowhere.
    stamp: u64,
    refusal: Refusal,
    used: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Memory {
    rows: Vec<Row>,
    failures: Vec<Failure>,
    used: u64,
}

/// The entries for the needs of one pod.
#[derive(Debug)]
pub struct Entries<'m> {
    needs: &'m Needs,
    entries: &'m mut Vec<Entry>,
}

impl Memory {
    pub fn entries(&mut self, needs: &Arc<Needs>, slots: usize) -> Entries<'_> {
        self.used += 1;
        let at = self.rows.iter().position(|row| row.needs == *needs).unwrap_or_else(|| {
            let row = Row { needs: Arc::clone(needs), entries: Vec::new(), used: 0 };
            insert(&mut self.rows, row, |row| row.used)
        });
        let row = &mut self.rows[at];
        row.used = self.used;
        row.entries.resize(slots, Entry::default());
        Entries { needs: &row.needs, entries: &mut row.entries }
    }

    /// Why a pod of this shape fitted nowhere, if no change has occurred since.
    pub fn failure(&mut self, shape: &Shape, stamp: u64) -> Option<Refusal> {
        let failure = self.failures.iter_mut().find(|f| f.stamp == stamp && f.shape == *shape)?;
        self.used += 1;
        failure.used = self.used;
        Some(failure.refusal.clone())
    }

    pub fn failed(&mut self, shape: &Shape, stamp: u64, refusal: &Refusal) {
        self.failures.retain(|failure| failure.stamp == stamp);
        self.used += 1;
        let failure = Failure { shape: shape.clone(), stamp, refusal: refusal.clone(), used: self.used };
        insert(&mut self.failures, failure, |failure| failure.used);
    }
}

impl Memory {
    /// No pods were found whose eviction would help pods of this shape.
    pub fn has_no_victims(&mut self, shape: &Shape) {
        if let Some(failure) = self.failures.iter_mut().find(|failure| failure.shape == *shape) {
            failure.refusal.may_preempt = false;
        }
    }
}

/// Where it was put: at the end, or in the place of the one used least lately.
fn insert<T>(held: &mut Vec<T>, fresh: T, used: impl Fn(&T) -> u64) -> usize {
    if held.len() >= REMEMBERED
        && let Some((at, oldest)) = held.iter_mut().enumerate().min_by_key(|(_, value)| used(value))
    {
        *oldest = fresh;
        return at;
    }
    held.push(fresh);
    held.len() - 1
}

impl Entries<'_> {
    /// `stamp`: when the node last changed.
    pub fn at(&mut self, slot: usize, stamp: u64, nodes: &[NodeInfo]) -> Entry {
        let entry = &mut self.entries[slot];
        if entry.stamp != stamp {
            let node = &nodes[slot];
            let verdict = check(self.needs, node);
            let merits = if verdict.fits() { merits(self.needs, node) } else { Merits::default() };
            *entry = Entry { stamp, verdict, merits };
        }
        *entry
    }
}
