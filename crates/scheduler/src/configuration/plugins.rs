//! The plugins of a profile: which rules are asked at which of upstream's extension points.

use serde::Deserialize;

use super::Faults;
use crate::profile::{Filter, Filters, Profile, Weights};

/// What a profile says about plugins, by extension point.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Plugins {
    multi_point: Set,
    pre_enqueue: Set,
    queue_sort: Set,
    pre_filter: Set,
    filter: Set,
    post_filter: Set,
    pre_score: Set,
    score: Set,
    reserve: Set,
    permit: Set,
    pre_bind: Set,
    bind: Set,
    post_bind: Set,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Set {
    enabled: Vec<Named>,
    disabled: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    weight: Option<i64>,
}

/// Upstream's plugins that refuse nodes, and the rules that they are here. Volumes and devices are looked at in any case.
const FILTERS: [(&str, Option<Filter>); 13] = [
    ("NodeUnschedulable", Some(Filter::NodeUnschedulable)),
    ("NodeName", Some(Filter::NodeName)),
    ("TaintToleration", Some(Filter::TaintToleration)),
    ("NodeAffinity", Some(Filter::NodeAffinity)),
    ("NodePorts", Some(Filter::NodePorts)),
    ("NodeResourcesFit", Some(Filter::NodeResourcesFit)),
    ("PodTopologySpread", Some(Filter::PodTopologySpread)),
    ("InterPodAffinity", Some(Filter::InterPodAffinity)),
    ("VolumeRestrictions", None),
    ("VolumeBinding", None),
    ("VolumeZone", None),
    ("NodeVolumeLimits", None),
    ("DynamicResources", None),
];

/// Whether the plugin of a name extends a point.
type Extends = fn(&str) -> bool;
type Weight = fn(&mut Weights) -> &mut i64;

/// Upstream's plugins that compare nodes.
const SCORES: [(&str, Weight); 7] = [
    ("TaintToleration", |weights| &mut weights.taints),
    ("NodeAffinity", |weights| &mut weights.node_affinity),
    ("NodeResourcesFit", |weights| &mut weights.resources),
    ("NodeResourcesBalancedAllocation", |weights| &mut weights.balance),
    ("PodTopologySpread", |weights| &mut weights.spread),
    ("InterPodAffinity", |weights| &mut weights.pod_affinity),
    ("ImageLocality", |weights| &mut weights.images),
];

const PREEMPTION: &str = "DefaultPreemption";
/// Plugins that are no choice here.
const FIXED: [&str; 3] = ["SchedulingGates", "PrioritySort", "DefaultBinder"];

fn is_known(name: &str) -> bool {
    let filter = FILTERS.iter().any(|(known, _)| *known == name);
    filter || SCORES.iter().any(|(known, _)| *known == name) || name == PREEMPTION || FIXED.contains(&name)
}

impl Set {
    fn leaves_out(&self, name: &str) -> bool {
        self.disabled.iter().any(|disabled| disabled.name == name || disabled.name == "*")
    }

    fn names(&self, name: &str) -> Option<&Named> {
        self.enabled.iter().find(|enabled| enabled.name == name)
    }

    fn check(&self, path: &str, faults: &mut Faults) {
        for (at, named) in self.enabled.iter().enumerate() {
            let path = format!("{path}.enabled[{at}]");
            if !is_known(&named.name) {
                faults.invalid(&path, named.name.as_str(), "there is no such plugin here");
            }
            if self.enabled[..at].iter().any(|before| before.name == named.name) {
                faults.0.push(format!("{path}: Duplicate value: {:?}", named.name));
            }
            if let Some(weight) = named.weight.filter(|weight| !(0..=1_000_000).contains(weight)) {
                faults.invalid(&format!("{path}.weight"), weight, "not in valid range [0, 1000000]");
            }
        }
        for (at, named) in
            self.disabled.iter().enumerate().filter(|(_, n)| n.name != "*" && !is_known(&n.name))
        {
            faults.invalid(
                &format!("{path}.disabled[{at}]"),
                named.name.as_str(),
                "there is no such plugin here",
            );
        }
    }
}

impl Plugins {
    fn points(&self) -> [(&'static str, &Set); 13] {
        [
            ("multiPoint", &self.multi_point),
            ("preEnqueue", &self.pre_enqueue),
            ("queueSort", &self.queue_sort),
            ("preFilter", &self.pre_filter),
            ("filter", &self.filter),
            ("postFilter", &self.post_filter),
            ("preScore", &self.pre_score),
            ("score", &self.score),
            ("reserve", &self.reserve),
            ("permit", &self.permit),
            ("preBind", &self.pre_bind),
            ("bind", &self.bind),
            ("postBind", &self.post_bind),
        ]
    }

    /// Whether a plugin is asked at a point, and with which weight, if one is given: what is said of the point counts
    /// before what is said of all.
    fn at(&self, point: &Set, name: &str) -> Option<Option<i64>> {
        if let Some(named) = point.names(name) {
            return Some(named.weight);
        }
        if point.leaves_out(name) {
            return None;
        }
        match self.multi_point.names(name) {
            Some(named) => Some(named.weight),
            None => (!self.multi_point.leaves_out(name)).then_some(None),
        }
    }

    /// Has a profile ask what is said here.
    pub(super) fn apply(&self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        for (point, set) in self.points() {
            set.check(&format!("{path}.{point}"), faults);
        }
        self.check_points(path, faults);
        profile.filters = Filters::NONE;
        for (name, filter) in FILTERS {
            match (self.at(&self.filter, name), filter) {
                (Some(_), Some(filter)) => profile.filters = profile.filters.with(filter),
                (None, None) if name.starts_with("Volume") => {
                    faults
                        .0
                        .push(format!("{path}.filter.disabled: Forbidden: {name} cannot be left out here"));
                }
                _ => {}
            }
        }
        let mut weights = Weights::NONE;
        for (name, weight) in SCORES {
            let mut default = Weights::DEFAULT;
            if let Some(given) = self.at(&self.score, name) {
                // A plugin that is named loses upstream's weight for it; one without a weight has 1.
                let is_named = self.score.names(name).or_else(|| self.multi_point.names(name)).is_some();
                let otherwise = if is_named { 1 } else { *weight(&mut default) };
                *weight(&mut weights) = given.filter(|given| *given > 0).unwrap_or(otherwise);
            }
        }
        profile.weights = weights;
        profile.preempts = self.at(&self.post_filter, PREEMPTION).is_some();
        self.check_the_rest(path, profile, faults);
    }

    /// A plugin cannot be asked at a point that it does not extend.
    fn check_points(&self, path: &str, faults: &mut Faults) {
        let points: [(&str, &Set, Extends); 3] = [
            ("filter", &self.filter, |name| FILTERS.iter().any(|(known, _)| *known == name)),
            ("score", &self.score, |name| SCORES.iter().any(|(known, _)| *known == name)),
            ("postFilter", &self.post_filter, |name| name == PREEMPTION),
        ];
        for (point, set, extends) in points {
            for (at, Named { name, .. }) in set.enabled.iter().enumerate() {
                if is_known(name) && !extends(name) {
                    let why = format!("plugin {name:?} does not extend {point} plugin");
                    faults.invalid(&format!("{path}.{point}.enabled[{at}]"), name.as_str(), &why);
                }
            }
        }
    }

    /// At the other points nothing can be left out that is not left out where it decides.
    fn check_the_rest(&self, path: &str, profile: &Profile, faults: &mut Faults) {
        let fixed = [("queueSort", &self.queue_sort, "PrioritySort"), ("bind", &self.bind, "DefaultBinder")];
        let fixed = fixed.into_iter().chain([("preEnqueue", &self.pre_enqueue, "SchedulingGates")]);
        for (point, set, name) in fixed {
            if self.at(set, name).is_none() {
                faults.0.push(format!("{path}.{point}.disabled: Forbidden: {name} cannot be left out here"));
            }
        }
        for (point, set) in [("reserve", &self.reserve), ("preBind", &self.pre_bind)] {
            if self.at(set, "VolumeBinding").is_none() {
                faults.0.push(format!(
                    "{path}.{point}.disabled: Forbidden: VolumeBinding cannot be left out here"
                ));
            }
        }
        for (name, filter) in FILTERS {
            let counts = filter.is_none_or(|filter| profile.filters.has(filter));
            if counts && self.pre_filter.leaves_out(name) && self.pre_filter.names(name).is_none() {
                let why = format!("{name} cannot be left out here alone, without \"filter\"");
                faults.0.push(format!("{path}.preFilter.disabled: Forbidden: {why}"));
                break;
            }
        }
        for (name, weight) in SCORES {
            let mut weights = profile.weights;
            let left_out = self.pre_score.leaves_out(name) && self.pre_score.names(name).is_none();
            if *weight(&mut weights) > 0 && left_out {
                let why = format!("{name} cannot be left out here alone, without \"score\"");
                faults.0.push(format!("{path}.preScore.disabled: Forbidden: {why}"));
                break;
            }
        }
    }
}
