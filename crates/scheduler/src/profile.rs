//! [`Profile`]: which rules decide about a pod and how much each counts, chosen by the pod's `schedulerName`.
//!
//! The file that describes profiles, upstream's `KubeSchedulerConfiguration`, is read by [`crate::configuration`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pods::{Amounts, NodeRequirements, Preference};

/// The highest score of a rule.
pub const MAX: i64 = 100;
/// The name by which pods choose the profile that is there without a configuration.
pub const DEFAULT_NAME: &str = "default-scheduler";
/// Upstream's `minCandidateNodesPercentage` and `minCandidateNodesAbsolute`: so many nodes are enough to choose a
/// victim's from.
const ENOUGH_PERCENT: usize = 10;
const ENOUGH_NODES: usize = 100;
/// Upstream's `bindTimeoutSeconds`.
const BIND_TIMEOUT: Duration = Duration::from_secs(600);

/// A rule by which a node can refuse a pod and that a profile can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Filter {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    PodTopologySpread,
    InterPodAffinity,
}

/// The rules that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Filters(u8);

impl Filters {
    pub const ALL: Self = Self(u8::MAX);
    pub const NONE: Self = Self(0);

    pub const fn has(self, filter: Filter) -> bool {
        self.0 >> filter as u8 & 1 == 1
    }

    pub const fn with(self, filter: Filter) -> Self {
        Self(self.0 | 1 << filter as u8)
    }
}

/// How much each rule about which node is best counts; 0: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weights {
    pub taints: i64,
    pub node_affinity: i64,
    pub resources: i64,
    pub balance: i64,
    pub spread: i64,
    pub pod_affinity: i64,
    pub images: i64,
}

impl Weights {
    /// Upstream's.
    pub const DEFAULT: Self =
        Self { taints: 3, node_affinity: 2, resources: 1, balance: 1, spread: 2, pod_affinity: 2, images: 1 };
    pub const NONE: Self =
        Self { taints: 0, node_affinity: 0, resources: 0, balance: 0, spread: 0, pod_affinity: 0, images: 0 };
}

/// Which use of a node's resources is best.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Strategy {
    LeastAllocated,
    MostAllocated,
    /// Scores (0 to 100) by utilization in percent, in rising order; between them lie straight lines.
    ByUtilization(Box<[(i64, i64)]>),
}

/// A resource that nodes are compared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Weighed {
    pub name: String,
    pub weight: i64,
}

impl Weighed {
    fn defaults() -> Box<[Self]> {
        ["cpu", "memory"].map(|name| Self { name: name.to_owned(), weight: 1 }).into()
    }
}

/// A spread constraint for pods that have none of their own; whom it counts follows from the pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DefaultConstraint {
    pub topology_key: Arc<str>,
    pub max_skew: i64,
    /// Whether nodes that break it are refused.
    pub is_hard: bool,
}

/// The spread constraints of pods without any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DefaultSpread {
    pub constraints: Box<[DefaultConstraint]>,
    /// Nodes that lack a constraint's label count by the other constraints (upstream's `System` defaulting).
    pub tolerates_missing: bool,
}

impl DefaultSpread {
    /// Upstream's: softly over nodes and zones.
    pub fn system() -> Self {
        let soft = |key: &str, max_skew| DefaultConstraint {
            topology_key: Arc::from(key),
            max_skew,
            is_hard: false,
        };
        let constraints = [soft("kubernetes.io/hostname", 3), soft("topology.kubernetes.io/zone", 5)];
        Self { constraints: constraints.into(), tolerates_missing: true }
    }
}

/// See the module's documentation. Values of upstream's defaults come from [`Profile::default`].
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name by which pods choose it.
    pub scheduler_name: Arc<str>,
    pub filters: Filters,
    pub weights: Weights,
    pub strategy: Strategy,
    /// What [`Strategy`] looks at.
    pub weighed: Box<[Weighed]>,
    /// The resources whose use should be balanced.
    pub balanced: Box<[String]>,
    /// Extended resources that need not fit, by their names and by what stands before the `/` of their names.
    pub ignored: BTreeSet<String>,
    pub ignored_groups: BTreeSet<String>,
    /// What nodes all pods of the profile require, beside what they say themselves.
    pub required_nodes: NodeRequirements,
    pub preferred_nodes: Vec<Preference>,
    /// What a placed pod that must be near to another one adds to its attraction.
    pub required_affinity_weight: i64,
    /// Whether what placed pods prefer counts for pods that have no preferences about others themselves.
    pub others_preferences: bool,
    pub default_spread: DefaultSpread,
    /// Whether pods may be evicted for more important ones.
    pub preempts: bool,
    /// How many nodes on which pods could be evicted are enough to choose from: of 100 nodes, and at least.
    pub candidates: (usize, usize),
    /// Of how many of 100 nodes that suit the best is chosen; `None`: fewer of a hundred in larger clusters.
    pub percentage_of_nodes: Option<u8>,
    /// How long volumes may take to be made and bound.
    pub bind_timeout: Duration,
}

// Requirements of nodes have an equality that is one.
impl Eq for Profile {}

impl Default for Profile {
    fn default() -> Self {
        Self {
            scheduler_name: Arc::from(DEFAULT_NAME),
            filters: Filters::ALL,
            weights: Weights::DEFAULT,
            strategy: Strategy::LeastAllocated,
            weighed: Weighed::defaults(),
            balanced: Weighed::defaults().into_iter().map(|weighed| weighed.name).collect(),
            ignored: BTreeSet::new(),
            ignored_groups: BTreeSet::new(),
            required_nodes: NodeRequirements::default(),
            preferred_nodes: Vec::new(),
            required_affinity_weight: 1,
            others_preferences: true,
            default_spread: DefaultSpread::system(),
            preempts: true,
            candidates: (ENOUGH_PERCENT, ENOUGH_NODES),
            percentage_of_nodes: None,
            bind_timeout: BIND_TIMEOUT,
        }
    }
}

impl Profile {
    /// Whether an extended resource need not fit.
    pub fn ignores(&self, resource: &str) -> bool {
        let group = || resource.split_once('/').map(|(group, _)| group);
        self.ignored.contains(resource) || group().is_some_and(|group| self.ignored_groups.contains(group))
    }

    /// Whether every resource has to fit.
    pub fn ignores_nothing(&self) -> bool {
        self.ignored.is_empty() && self.ignored_groups.is_empty()
    }

    /// The amounts that have to fit.
    pub fn counted(&self, asked: &Amounts) -> Amounts {
        let mut counted = asked.clone();
        counted.scalar.retain(|name, _| !self.ignores(name));
        counted
    }

    /// The score of a resource of which `used` is used once the pod is there; `None` where the strategy leaves
    /// resources of this score out.
    pub fn score(&self, used: i64, capacity: i64) -> Option<i64> {
        let share = |part: i64| {
            let share = i128::from(part) * i128::from(MAX) / i128::from(capacity);
            i64::try_from(share).unwrap_or(MAX)
        };
        match &self.strategy {
            Strategy::LeastAllocated => Some(if used > capacity { 0 } else { share(capacity - used) }),
            Strategy::MostAllocated => Some(share(used.min(capacity))),
            Strategy::ByUtilization(shape) => {
                let utilization = if used > capacity { MAX } else { share(used) };
                Some(on_lines(shape, utilization)).filter(|score| *score > 0)
            }
        }
    }
}

/// The value at `x` on the straight lines between the points.
fn on_lines(points: &[(i64, i64)], x: i64) -> i64 {
    let after = points.iter().position(|(at, _)| x <= *at);
    match after {
        Some(0) => points[0].1,
        Some(end) => {
            let ((from, low), (to, high)) = (points[end - 1], points[end]);
            low + (high - low) * (x - from) / (to - from)
        }
        None => points.last().map_or(0, |(_, last)| *last),
    }
}

/// All profiles, by name; one of them is there at least.
#[derive(Debug, Clone)]
pub struct Profiles(Vec<Arc<Profile>>);

impl Default for Profiles {
    fn default() -> Self {
        Self(vec![Arc::default()])
    }
}

impl Profiles {
    /// `None` if there are none.
    pub fn new(profiles: Vec<Profile>) -> Option<Self> {
        (!profiles.is_empty()).then(|| Self(profiles.into_iter().map(Arc::new).collect()))
    }

    /// The profile that pods choose by this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Profile>> {
        self.0.iter().find(|profile| *profile.scheduler_name == *name)
    }

    /// The profile of a pod that is placed, or that another scheduler places: of those, no rule of the profile counts.
    pub fn of(&self, name: &str) -> &Arc<Profile> {
        self.find(name).unwrap_or(&self.0[0])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_scores_by_the_strategy() {
        let scores = |strategy: Strategy| {
            let profile = Profile { strategy, ..Profile::default() };
            [0, 25, 50, 100, 150].map(|used| profile.score(used, 100))
        };
        assert_eq!(scores(Strategy::LeastAllocated), [100, 75, 50, 0, 0].map(Some));
        assert_eq!(scores(Strategy::MostAllocated), [0, 25, 50, 100, 100].map(Some));
        let shape = Strategy::ByUtilization([(0, 0), (50, 80), (100, 20)].into());
        assert_eq!(scores(shape), [None, Some(40), Some(80), Some(20), Some(20)]);
    }

    #[test]
    fn resources_are_ignored_by_name_and_by_group() {
        let profile = Profile {
            ignored: BTreeSet::from(["example.com/foo".to_owned()]),
            ignored_groups: BTreeSet::from(["vendor.io".to_owned()]),
            ..Profile::default()
        };
        let ignored = ["example.com/foo", "example.com/bar", "vendor.io/gpu", "vendor.io"];
        assert_eq!(ignored.map(|name| profile.ignores(name)), [true, false, true, false]);
        assert!(!profile.ignores_nothing() && Profile::default().ignores_nothing());
    }
}
