//! [`History`]: the last samples of a node, and what was used between two of them. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// The shortest time over which use is measured, where there are samples for it: a glance of somebody else must not
/// make a controller's figures jump.
const WINDOW: SignedDuration = SignedDuration::from_secs(10);
/// The least time between samples that are kept beside the two newest.
const STEP: SignedDuration = SignedDuration::from_secs(5);
/// The longest time over which use is measured: what is older says nothing of now.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// Counters at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub at: Timestamp,
    /// When the counters were zero, if that is known.
    pub started: Option<Timestamp>,
    pub cpu_ns: u64,
    pub memory_bytes: u64,
}

/// Points by container; that of a node has no name.
pub(crate) type Points = BTreeMap<String, Point>;

/// What an agent says of its node at a time.
#[derive(Debug)]
pub(crate) struct Sample {
    /// By the server's clock.
    pub taken: Timestamp,
    pub node: Points,
    /// By namespace and name.
    pub pods: HashMap<(String, String), Points>,
}

/// What is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// On average over the window.
    pub cpu_nanocores: u64,
    /// At its end.
    pub memory_bytes: u64,
}

/// What was used in the `window` that ended at `timestamp`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    pub timestamp: Timestamp,
    pub window: SignedDuration,
    pub used: Vec<(String, Used)>,
}

/// Samples of one node, the newest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    samples: VecDeque<Arc<Sample>>,
}

impl History {
    /// When the newest was taken.
    pub(crate) fn taken(&self) -> Option<Timestamp> {
        Some(self.samples.back()?.taken)
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<&Sample> {
        self.samples.back().map(|sample| &**sample)
    }

    /// Whether use may still be measured from the newest on.
    pub(crate) fn is_useful(&self, now: Timestamp) -> bool {
        self.taken().is_some_and(|taken| now.duration_since(taken).abs() <= LONGEST)
    }

    /// Adds the newest, and forgets what no measurement needs any more.
    pub(crate) fn add(&mut self, sample: Sample) {
        let now = sample.taken;
        let age = |sample: &Arc<Sample>| now.duration_since(sample.taken);
        // A clock that was set back makes all others of no use.
        self.samples.retain(|old| (SignedDuration::ZERO..=LONGEST).contains(&age(old)));
        // The two newest are for what has started between the others.
        if let n @ 3.. = self.samples.len()
            && self.samples[n - 2].taken.duration_since(self.samples[n - 3].taken) < STEP
        {
            self.samples.remove(n - 2);
        }
        while self.samples.get(1).is_some_and(|next| age(next) >= WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back(Arc::new(sample));
    }

    /// What something used of late; `None` where it is not in two samples.
    pub(crate) fn measure(&self, of: impl Fn(&Sample) -> Option<&Points>) -> Option<Measured> {
        let (last, earlier) = (self.last()?, self.samples.iter().rev().skip(1));
        let points = of(last).filter(|points| !points.is_empty())?;
        let bases = earlier.filter_map(|sample| Some((sample.taken, of(sample)?)));
        let mut bases =
            bases.filter(|(_, base)| points.iter().all(|(name, point)| follows(point, base.get(name))));
        let mut base = bases.next()?;
        while last.taken.duration_since(base.0) < WINDOW {
            let Some(older) = bases.next() else { break };
            base = older;
        }
        let each = points.iter().filter_map(|(name, point)| Some((name, point, base.1.get(name)?)));
        let used = each.clone().map(|(name, point, base)| (name.clone(), used(point, base))).collect();
        let (_, point, base) = each.min_by_key(|(_, point, _)| point.at)?;
        Some(Measured { timestamp: point.at, window: point.at.duration_since(base.at), used })
    }
}

/// Whether both are of one run, one after the other. An agent may not know yet when something has started.
fn follows(point: &Point, base: Option<&Point>) -> bool {
    base.is_some_and(|base| {
        (base.started.is_none() || base.started == point.started)
            && base.at < point.at
            && base.cpu_ns <= point.cpu_ns
    })
}

fn used(point: &Point, base: &Point) -> Used {
    let window_ns = point.at.duration_since(base.at).as_nanos().unsigned_abs().max(1);
    let nanocores = u128::from(point.cpu_ns.saturating_sub(base.cpu_ns)) * 1_000_000_000 / window_ns;
    Used { cpu_nanocores: u64::try_from(nanocores).unwrap_or(u64::MAX), memory_bytes: point.memory_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).expect("in range")
    }

    /// A node that has used half a core since 0.
    fn sample(ms: i64) -> Sample {
        let cpu_ns = u64::try_from(ms).expect("a time") * 500_000;
        let point = Point { at: at(ms), started: None, cpu_ns, memory_bytes: 7 };
        Sample { taken: at(ms), node: Points::from([(String::new(), point)]), pods: HashMap::new() }
    }

    fn window_ms(history: &History) -> Option<i128> {
        let measured = history.measure(|sample| Some(&sample.node))?;
        let used = Used { cpu_nanocores: 500_000_000, memory_bytes: 7 };
        assert_eq!(measured.used, [(String::new(), used)]);
        assert_eq!(Some(measured.timestamp), history.taken());
        Some(measured.window.as_millis())
    }

    #[test]
    fn windows_grow_to_ten_seconds_and_stay_there() {
        let mut history = History::default();
        let mut windows = Vec::new();
        for second in 0..40 {
            history.add(sample(second * 1000));
            windows.push(window_ms(&history));
            assert!(history.samples.len() <= 6, "{second}: {}", history.samples.len());
        }
        assert_eq!(windows[..3], [None, Some(1000), Some(2000)]);
        assert!(
            windows[10..].iter().all(|w| w.is_some_and(|w| (10_000..=15_000).contains(&w))),
            "{windows:?}"
        );
        // Who asks each quarter of a minute is measured over that.
        for second in [60, 75, 90] {
            history.add(sample(second * 1000));
        }
        assert_eq!(window_ms(&history), Some(15_000));
        // A glance in between does not change it much.
        history.add(sample(91_000));
        assert_eq!(window_ms(&history), Some(16_000));
        history.add(sample(300_000));
        assert_eq!(window_ms(&history), None);
        assert!(history.is_useful(at(360_000)) && !history.is_useful(at(360_001)));
        // The clock is set back.
        history.add(sample(200_000));
        assert_eq!(window_ms(&history), None);
    }

    #[test]
    fn a_restarted_container_is_measured_from_its_start_on() {
        let key = ("d".to_owned(), "p".to_owned());
        let mut history = History::default();
        for (ms, started, cpu_ns) in [(1000, 0, 900), (2000, 1500, 950), (3000, 1500, 1950), (4000, 1500, 10)]
        {
            let point = Point { at: at(ms), started: Some(at(started)), cpu_ns, memory_bytes: 1 };
            let pods = HashMap::from([(key.clone(), Points::from([("c".to_owned(), point)]))]);
            history.samples.push_back(Arc::new(Sample { taken: at(ms), node: Points::new(), pods }));
            let measured = history.measure(|sample| sample.pods.get(&key));
            let nanocores = measured.map(|m| m.used[0].1.cpu_nanocores);
            assert_eq!(nanocores, (ms == 3000).then_some(1000), "{ms}");
        }
    }
}
