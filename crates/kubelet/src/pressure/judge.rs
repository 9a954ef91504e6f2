//! From observations to conditions of the node, and to what has to be won back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::thresholds::{Threshold, Thresholds};
use super::{Condition, Observations, Signal};

/// What the node is short of, so that it has to end pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starved {
    pub signal: Signal,
    /// No time is left for pods to end by themselves.
    pub is_hard: bool,
    /// How little may be left, and how much is.
    pub least: u64,
    pub available: u64,
}

/// What follows from a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub conditions: BTreeSet<Condition>,
    pub starved: Option<Starved>,
}

/// Remembers since when thresholds are met.
#[derive(Debug)]
pub struct Judge {
    thresholds: Thresholds,
    /// Since when a threshold is met, by its place.
    since: BTreeMap<usize, Timestamp>,
    /// Those on which the node has acted, and which count until what is to be won back is there.
    unresolved: BTreeSet<usize>,
    /// When a condition had its cause last.
    seen: BTreeMap<Condition, Timestamp>,
}

fn has_passed(since: Timestamp, now: Timestamp, time: Duration) -> bool {
    Duration::try_from(now.duration_since(since)).unwrap_or_default() >= time
}

impl Judge {
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, since: BTreeMap::new(), unresolved: BTreeSet::new(), seen: BTreeMap::new() }
    }

    /// Takes in what is observed now. What could not be observed changes nothing.
    pub fn look(&mut self, observed: &Observations, now: Timestamp) -> Verdict {
        let met: BTreeSet<usize> = self.met(observed, |at| self.unresolved.contains(&at));
        self.since.retain(|at, _| met.contains(at));
        for at in &met {
            self.since.entry(*at).or_insert(now);
            self.seen.insert(self.thresholds.all[*at].signal.condition(), now);
        }
        let transition = self.thresholds.transition;
        self.seen.retain(|_, seen| *seen == now || !has_passed(*seen, now, transition));
        let is_due = |at: &usize| {
            let grace = self.thresholds.all[*at].grace.unwrap_or_default();
            self.since.get(at).is_some_and(|since| has_passed(*since, now, grace))
        };
        self.unresolved = met.into_iter().filter(is_due).collect();
        let due = self.unresolved.iter().map(|at| &self.thresholds.all[*at]);
        // Hard ones first among those of one signal.
        let first = due.min_by_key(|threshold| (threshold.signal, threshold.grace.is_some()));
        let starved = first.and_then(|threshold| starved(threshold, observed));
        Verdict { conditions: self.seen.keys().copied().collect(), starved }
    }

    /// Whether nothing is left to be won back, whatever grace periods say.
    pub fn is_resolved(&self, observed: &Observations) -> bool {
        self.met(observed, |_| true).is_empty()
    }

    /// The longest grace period of a pod that is ended.
    pub fn grace_s(&self, starved: &Starved) -> i64 {
        if starved.is_hard { 1 } else { self.thresholds.max_pod_grace_s }
    }

    fn met(&self, observed: &Observations, resolving: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        let all = self.thresholds.all.iter().enumerate();
        let met = all.filter(|(at, threshold)| {
            observed.get(&threshold.signal).is_some_and(|now| threshold.is_met(*now, resolving(*at)))
        });
        met.map(|(at, _)| at).collect()
    }
}

fn starved(threshold: &Threshold, observed: &Observations) -> Option<Starved> {
    let now = observed.get(&threshold.signal)?;
    Some(Starved {
        signal: threshold.signal,
        is_hard: threshold.grace.is_none(),
        least: threshold.least.of(*now),
        available: now.available,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::Observation;
    use super::super::thresholds::Written;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn observed(memory_mib: u64, disk_mib: u64) -> Observations {
        let at = |mib: u64, capacity: u64| Observation { available: mib * MIB, capacity };
        [(Signal::MemoryAvailable, at(memory_mib, 8 << 30)), (Signal::NodefsAvailable, at(disk_mib, 5 << 30))]
            .into()
    }

    fn judge(hard: &[(&str, &str)], soft: &[(&str, &str, u64)], reclaim: &[(&str, &str)]) -> Judge {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let pairs: Vec<(&str, &str)> = soft.iter().map(|(name, text, _)| (*name, *text)).collect();
        let written = Written {
            hard: Some(map(hard)),
            soft: map(&pairs),
            soft_grace: soft
                .iter()
                .map(|(name, _, s)| ((*name).to_owned(), Duration::from_secs(*s)))
                .collect(),
            reclaim: map(reclaim),
            max_pod_grace_s: 20,
            transition: Some(Duration::from_mins(1)),
        };
        Judge::new(Thresholds::parse(&written).expect("thresholds"))
    }

    /// A line a look: the second, memory and disk left in MiB, and what follows.
    fn told(judge: &mut Judge, looks: &[(i64, u64, u64)]) -> String {
        let mut out = String::new();
        for (second, memory, disk) in looks {
            let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(*second);
            let verdict = judge.look(&observed(*memory, *disk), now);
            let conditions: Vec<&str> = verdict.conditions.iter().map(|c| c.as_str()).collect();
            let starved = verdict.starved.map(|s| {
                let (least, left) = (s.signal.amount(s.least), s.signal.amount(s.available));
                format!("{} {left} of {least} grace {}", s.signal.resource(), judge.grace_s(&s))
            });
            let starved = starved.unwrap_or_else(|| "-".to_owned());
            writeln!(out, "{second}: {} | {starved}", conditions.join(" ")).expect("a text");
        }
        out
    }

    #[test]
    fn a_hard_threshold_counts_at_once_and_its_condition_stays_a_while() {
        let mut judge = judge(&[("memory.available", "100Mi"), ("nodefs.available", "10%")], &[], &[]);
        let looks = [
            (0, 500, 4000),
            (10, 90, 4000),
            (20, 500, 4000),
            (69, 500, 4000),
            (70, 500, 4000),
            (80, 50, 400),
        ];
        assert_eq!(
            told(&mut judge, &looks),
            "0:  | -\n10: MemoryPressure | memory 90Mi of 100Mi grace 1\n20: MemoryPressure | -\n\
             69: MemoryPressure | -\n70:  | -\n80: MemoryPressure DiskPressure | memory 50Mi of 100Mi grace 1\n"
        );
    }

    #[test]
    fn a_soft_threshold_waits_and_begins_anew() {
        let mut judge = judge(&[], &[("memory.available", "1Gi", 30)], &[]);
        let looks = [(0, 900, 4000), (20, 900, 4000), (25, 2000, 4000), (30, 900, 4000), (60, 900, 4000)];
        assert_eq!(
            told(&mut judge, &looks),
            "0: MemoryPressure | -\n20: MemoryPressure | -\n25: MemoryPressure | -\n30: MemoryPressure | -\n\
             60: MemoryPressure | memory 900Mi of 1Gi grace 20\n"
        );
    }

    #[test]
    fn what_is_to_be_won_back_counts_once_the_node_acts() {
        let mut judge = judge(&[("nodefs.available", "1Gi")], &[], &[("nodefs.available", "500Mi")]);
        let looks = [(0, 900, 1200), (10, 900, 1000), (20, 900, 1200), (30, 900, 1524), (40, 900, 1200)];
        assert_eq!(
            told(&mut judge, &looks),
            "0:  | -\n10: DiskPressure | ephemeral-storage 1000Mi of 1Gi grace 1\n\
             20: DiskPressure | ephemeral-storage 1200Mi of 1Gi grace 1\n30: DiskPressure | -\n40: DiskPressure | -\n"
        );
        assert!(!judge.is_resolved(&observed(900, 1200)) && judge.is_resolved(&observed(900, 1600)));
    }
}
