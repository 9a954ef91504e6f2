//! The settings: how little may be left of what, for how long, and what is to be won back.

use std::collections::BTreeMap;
use std::time::Duration;

use api::quantity::Quantity;

use super::{Observation, Signal};

/// Ten in a hundred of a large disk is more than a node needs: with this much left, none is under pressure by default.
/// (Upstream has no such limit; tools that run nodes on a developer's machine switch the threshold off.)
const STORAGE_ENOUGH_BYTES: u64 = 1 << 30;
/// How long a condition stays after the cause has gone, as upstream.
pub const TRANSITION: Duration = Duration::from_mins(5);

/// The hard thresholds where none are given, as they would be written. Upstream has none for process ids; a node with none
/// left cannot run anything.
pub const USUAL: [(&str, &str); 4] = [
    ("memory.available", "100Mi"),
    ("nodefs.available", "10%"),
    ("nodefs.inodesFree", "5%"),
    ("pid.available", "2%"),
];

/// An amount, or a share of all there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    Whole(u64),
    /// Between 0 and 1.
    Share(f64),
}

impl Amount {
    /// In units of what is observed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of what there is, to a few bytes; neither is negative"
    )]
    pub fn of(self, observed: Observation) -> u64 {
        match self {
            Self::Whole(amount) => amount,
            Self::Share(share) => (observed.capacity as f64 * share) as u64,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            let share = percent.parse::<f64>().ok()? / 100.0;
            return (0.0..=1.0).contains(&share).then_some(Self::Share(share));
        }
        u64::try_from(text.parse::<Quantity>().ok()?.value()).ok().map(Self::Whole)
    }
}

/// How little of something may be left.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    pub least: Amount,
    /// With this much left it is not met, whatever share that is.
    pub enough: Option<u64>,
    /// How long it must be met before pods are ended; at once where it is hard.
    pub grace: Option<Duration>,
    /// How much more than the least must be there before it counts as resolved: the largest of these. There may be
    /// several, since two names are taken for one signal.
    pub reclaim: Vec<Amount>,
}

impl Threshold {
    /// Whether too little is left; `resolving` asks for what is to be won back, too.
    pub fn is_met(&self, observed: Observation, resolving: bool) -> bool {
        let wanted = self.reclaim.iter().filter(|_| resolving).map(|reclaim| reclaim.of(observed));
        let more = wanted.max().unwrap_or(0);
        let least = self.least.of(observed).saturating_add(more);
        observed.available < least
            && self.enough.is_none_or(|enough| observed.available < enough.saturating_add(more))
    }
}

/// All of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    pub all: Vec<Threshold>,
    /// The longest grace period of a pod that a soft threshold ends, in seconds.
    pub max_pod_grace_s: i64,
    /// How long a condition of the node stays after its cause.
    pub transition: Duration,
}

/// The settings as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub hard: Option<BTreeMap<String, String>>,
    pub soft: BTreeMap<String, String>,
    pub soft_grace: BTreeMap<String, Duration>,
    pub reclaim: BTreeMap<String, String>,
    pub max_pod_grace_s: i64,
    pub transition: Option<Duration>,
}

impl Default for Thresholds {
    fn default() -> Self {
        let of =
            |signal, least, enough| Threshold { signal, least, enough, grace: None, reclaim: Vec::new() };
        let all = vec![
            of(Signal::MemoryAvailable, Amount::Whole(100 << 20), None),
            of(Signal::NodefsAvailable, Amount::Share(0.1), Some(STORAGE_ENOUGH_BYTES)),
            of(Signal::NodefsInodesFree, Amount::Share(0.05), None),
            of(Signal::PidAvailable, Amount::Share(0.02), None),
        ];
        Self { all, max_pod_grace_s: 0, transition: TRANSITION }
    }
}

impl Thresholds {
    /// Reads settings. Where hard thresholds are given, they take the place of all default ones, as upstream.
    ///
    /// # Errors
    /// Names what cannot be used.
    pub fn parse(written: &Written) -> Result<Self, String> {
        let mut thresholds = Self { max_pod_grace_s: written.max_pod_grace_s, ..Self::default() };
        if let Some(transition) = written.transition {
            thresholds.transition = transition;
        }
        if let Some(hard) = &written.hard {
            thresholds.all = hard
                .iter()
                .map(|(name, text)| threshold("evictionHard", name, text))
                .filter_map(Result::transpose)
                .collect::<Result<_, _>>()?;
        }
        for (name, text) in &written.soft {
            let Some(mut soft) = threshold("evictionSoft", name, text)? else { continue };
            let grace = written.soft_grace.get(name);
            soft.grace = Some(*grace.ok_or_else(|| {
                format!("evictionSoft: grace period must be specified for the soft eviction threshold {name}")
            })?);
            thresholds.all.push(soft);
        }
        for name in written.soft_grace.keys() {
            signal("evictionSoftGracePeriod", name)?;
        }
        for (name, text) in &written.reclaim {
            let wanted = signal("evictionMinimumReclaim", name)?;
            let amount = Amount::parse(text)
                .ok_or_else(|| format!("evictionMinimumReclaim: {name}: {text:?} is no amount"))?;
            let concerned = thresholds.all.iter_mut().filter(|threshold| threshold.signal == wanted);
            concerned.for_each(|threshold| threshold.reclaim.push(amount));
        }
        Ok(thresholds)
    }
}

/// Nothing where the setting switches the signal off.
fn threshold(setting: &str, name: &str, text: &str) -> Result<Option<Threshold>, String> {
    let signal = signal(setting, name)?;
    if matches!(text, "0%" | "100%") {
        return Ok(None);
    }
    match Amount::parse(text) {
        None => Err(format!("{setting}: {name}: {text:?} is no amount")),
        Some(Amount::Whole(0)) => {
            Err(format!("{setting}: eviction threshold {name} must be positive: {text}"))
        }
        Some(least) => Ok(Some(Threshold { signal, least, enough: None, grace: None, reclaim: Vec::new() })),
    }
}

fn signal(setting: &str, name: &str) -> Result<Signal, String> {
    match name {
        "memory.available" => Ok(Signal::MemoryAvailable),
        // Images and containers are on the node's own file system.
        "nodefs.available" | "imagefs.available" => Ok(Signal::NodefsAvailable),
        "nodefs.inodesFree" | "imagefs.inodesFree" => Ok(Signal::NodefsInodesFree),
        "pid.available" => Ok(Signal::PidAvailable),
        "containerfs.available" | "containerfs.inodesFree" | "allocatableMemory.available" => {
            Err(format!("{setting}: {name} is not observed by this node"))
        }
        _ => Err(format!("{setting}: unsupported eviction signal {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_said_as_it_is() {
        let hard = Some(map(&USUAL));
        let mut written = Thresholds::parse(&Written { hard, ..Written::default() }).expect("thresholds");
        for threshold in &mut written.all {
            if threshold.signal == Signal::NodefsAvailable {
                threshold.enough = Some(STORAGE_ENOUGH_BYTES);
            }
        }
        assert_eq!(written, Thresholds::default());
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn given_thresholds_take_the_place_of_the_default_ones() {
        let written = Written {
            hard: Some(map(&[("memory.available", "5%"), ("nodefs.inodesFree", "0%")])),
            soft: map(&[("nodefs.available", "2Gi")]),
            soft_grace: [("nodefs.available".to_owned(), Duration::from_secs(90))].into(),
            reclaim: map(&[("nodefs.available", "500Mi")]),
            max_pod_grace_s: 60,
            transition: Some(Duration::ZERO),
        };
        let read = Thresholds::parse(&written).expect("thresholds");
        assert_eq!((read.all.len(), read.max_pod_grace_s, read.transition), (2, 60, Duration::ZERO));
        assert_eq!((read.all[0].signal, read.all[0].least), (Signal::MemoryAvailable, Amount::Share(0.05)));
        let soft = &read.all[1];
        assert_eq!(soft.grace, Some(Duration::from_secs(90)));
        let at = |available| Observation { available, capacity: 1 << 40 };
        let mib = 1 << 20;
        assert!(soft.is_met(at(2047 * mib), false) && !soft.is_met(at(2048 * mib), false));
        assert!(soft.is_met(at(2547 * mib), true) && !soft.is_met(at(2548 * mib), true));
        assert_eq!(Thresholds::parse(&Written::default()), Ok(Thresholds::default()));
    }

    #[test]
    fn the_larger_reclaim_counts_where_two_names_are_one_signal() {
        let resolved_at = |nodefs: &str, imagefs: &str| {
            let written = Written {
                hard: Some(map(&[("nodefs.available", "100")])),
                reclaim: map(&[("nodefs.available", nodefs), ("imagefs.available", imagefs)]),
                ..Written::default()
            };
            let read = Thresholds::parse(&written).expect("thresholds");
            let at = |available| Observation { available, capacity: 1000 };
            (0..1000).find(|available| !read.all[0].is_met(at(*available), true))
        };
        assert_eq!(resolved_at("50", "20"), Some(150));
        assert_eq!(resolved_at("20", "50"), Some(150));
        assert_eq!(resolved_at("10%", "50"), Some(200), "a share counts by what it comes to");
        assert_eq!(resolved_at("50", "10%"), Some(200));
    }

    #[test]
    fn a_large_disk_has_enough_left() {
        let disk = &Thresholds::default().all[1];
        let at = |available| Observation { available, capacity: 1 << 40 };
        assert!(disk.is_met(at(1 << 29), false) && !disk.is_met(at(2 << 30), false));
        let small = Observation { available: 99, capacity: 1000 };
        assert!(disk.is_met(small, false));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let hard = |name: &str, text: &str| {
            let written = Written { hard: Some(map(&[(name, text)])), ..Written::default() };
            Thresholds::parse(&written).expect_err("refused")
        };
        assert_eq!(hard("memory.free", "1Gi"), "evictionHard: unsupported eviction signal memory.free");
        assert_eq!(
            hard("containerfs.available", "1Gi"),
            "evictionHard: containerfs.available is not observed by this node"
        );
        assert_eq!(
            hard("memory.available", "0"),
            "evictionHard: eviction threshold memory.available must be positive: 0"
        );
        assert_eq!(hard("memory.available", "101%"), "evictionHard: memory.available: \"101%\" is no amount");
        let soft = Written { soft: map(&[("memory.available", "1Gi")]), ..Written::default() };
        assert!(Thresholds::parse(&soft).expect_err("refused").contains("grace period must be specified"));
    }
}
