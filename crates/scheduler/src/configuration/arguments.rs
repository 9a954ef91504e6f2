//! The arguments of plugins, upstream's `pluginConfig`.

use std::collections::BTreeSet;
use std::time::Duration;

use api::Object;
use k8s_openapi::api::core::v1::Pod;
use pods::NodeRequirements;
use resources::{Builtin, ResourceSource};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{API_VERSION, Faults};
use crate::profile::{DefaultConstraint, DefaultSpread, Profile, Strategy, Weighed};

/// Upstream's scores of a shape are 0 to 10.
const SHAPE_SCALE: i64 = 10;

/// What is said to a plugin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Argument {
    name: String,
    #[serde(default)]
    args: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Preemption {
    min_candidate_nodes_percentage: Option<i64>,
    min_candidate_nodes_absolute: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PodAffinity {
    hard_pod_affinity_weight: Option<i64>,
    ignore_preferred_terms_of_existing_pods: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Nodes {
    added_affinity: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Balanced {
    resources: Vec<Resource>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Fit {
    ignored_resources: BTreeSet<String>,
    ignored_resource_groups: BTreeSet<String>,
    scoring_strategy: Option<Scoring>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Scoring {
    r#type: String,
    resources: Vec<Resource>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ratio {
    shape: Vec<Point>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Point {
    utilization: i64,
    score: i64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Resource {
    name: String,
    weight: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Spread {
    default_constraints: Vec<Constraint>,
    defaulting_type: Option<String>,
}

/// A spread constraint; what a constraint for all pods does not have here is named when it is given.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Constraint {
    max_skew: i32,
    topology_key: String,
    when_unsatisfiable: String,
    label_selector: Option<Value>,
    match_label_keys: Option<Value>,
    min_domains: Option<Value>,
    node_affinity_policy: Option<Value>,
    node_taints_policy: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Volumes {
    bind_timeout_seconds: Option<i64>,
}

/// Has a profile follow these arguments.
pub(super) fn apply(given: Vec<Argument>, path: &str, profile: &mut Profile, faults: &mut Faults) {
    let mut seen: Vec<String> = Vec::new();
    for (at, Argument { name, mut args }) in given.into_iter().enumerate() {
        let path = format!("{path}[{at}]");
        if seen.contains(&name) {
            faults.0.push(format!("{path}: Duplicate value: {name:?}"));
        }
        let (version, kind) = (args.remove("apiVersion"), args.remove("kind"));
        let is_version = version.is_none_or(|version| version == API_VERSION);
        if !is_version || kind.is_some_and(|kind| kind != format!("{name}Args")) {
            faults.0.push(format!("{path}.args: Invalid value: has to match plugin args"));
        }
        let path = format!("{path}.args");
        match name.as_str() {
            "DefaultPreemption" => faults.decode::<Preemption>(&path, args).apply(&path, profile, faults),
            "InterPodAffinity" => faults.decode::<PodAffinity>(&path, args).apply(&path, profile, faults),
            "NodeAffinity" => faults.decode::<Nodes>(&path, args).apply(&path, profile, faults),
            "NodeResourcesBalancedAllocation" => {
                faults.decode::<Balanced>(&path, args).apply(&path, profile, faults);
            }
            "NodeResourcesFit" => faults.decode::<Fit>(&path, args).apply(&path, profile, faults),
            "PodTopologySpread" => faults.decode::<Spread>(&path, args).apply(&path, profile, faults),
            "VolumeBinding" => faults.decode::<Volumes>(&path, args).apply(&path, profile, faults),
            _ => faults.invalid(&path, name.as_str(), "there is no plugin of that name with arguments here"),
        }
        seen.push(name);
    }
}

impl Preemption {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        let (percent, least) = profile.candidates;
        let mut given = |value: Option<i64>, default: usize, key: &str, most: i64, why: &str| match value {
            Some(value) if !(0..=most).contains(&value) => {
                faults.invalid(&format!("{path}.{key}"), value, why);
                default
            }
            Some(value) => usize::try_from(value).unwrap_or(default),
            None => default,
        };
        let (of_all, absolute) = (self.min_candidate_nodes_percentage, self.min_candidate_nodes_absolute);
        profile.candidates = (
            given(of_all, percent, "minCandidateNodesPercentage", 100, "not in valid range [0, 100]"),
            given(
                absolute,
                least,
                "minCandidateNodesAbsolute",
                i64::from(i32::MAX),
                "not in valid range [0, inf)",
            ),
        );
        if profile.candidates == (0, 0) {
            let (percentage, absolute) = ("minCandidateNodesPercentage", "minCandidateNodesAbsolute");
            for (one, other) in [(percentage, absolute), (absolute, percentage)] {
                faults.invalid(
                    &format!("{path}.{one}"),
                    0,
                    &format!("cannot be zero at the same time as {other}"),
                );
            }
        }
    }
}

impl PodAffinity {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        if let Some(weight) = self.hard_pod_affinity_weight {
            if !(0..=100).contains(&weight) {
                faults.invalid(
                    &format!("{path}.hardPodAffinityWeight"),
                    weight,
                    "not in valid range [0, 100]",
                );
            }
            profile.required_affinity_weight = weight;
        }
        profile.others_preferences = !self.ignore_preferred_terms_of_existing_pods;
    }
}

impl Nodes {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        let Some(affinity) = self.added_affinity else { return };
        // The rules of a pod's node affinity hold.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"affinity": {"nodeAffinity": affinity}, "containers": [{"name": "c", "image": "i"}]},
        });
        match pod_with_affinity(pod) {
            Ok(pod) => {
                let spec = pod.spec.unwrap_or_default();
                profile.required_nodes = NodeRequirements::of(&spec);
                profile.preferred_nodes = pods::preferences(&spec);
            }
            Err(all) => {
                let own = |fault: String| {
                    fault.replace("spec.affinity.nodeAffinity", &format!("{path}.addedAffinity"))
                };
                faults.0.extend(all.into_iter().map(own));
            }
        }
    }
}

/// A pod, or what is wrong with its node affinity.
fn pod_with_affinity(pod: Value) -> Result<Pod, Vec<String>> {
    const AFFINITY: &str = "spec.affinity.nodeAffinity";
    let one = |error: &dyn std::fmt::Display| vec![format!("{AFFINITY}: {error}")];
    let table = Builtin.table();
    let row = table.by_kind("", "v1", "Pod").ok_or_else(|| one(&"the kind Pod is not known"))?;
    let mut object = Object::from_value(pod).ok_or_else(|| one(&"no object"))?;
    let report = row.schema.check(&mut object).map_err(|error| one(&error.message))?;
    let unknown = report.unknown.iter().map(|field| format!("{field}: unknown field"));
    let invalid = row.logic.validate(&object);
    let invalid = invalid.iter().filter(|fault| fault.path.starts_with(AFFINITY)).map(ToString::to_string);
    let faults: Vec<String> = unknown.chain(invalid).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    serde_json::from_value(Value::Object(object.0)).map_err(|error| one(&error))
}

impl Balanced {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        if self.resources.is_empty() {
            return;
        }
        let mut names: Vec<String> = Vec::new();
        for (at, resource) in self.resources.into_iter().enumerate() {
            let path = format!("{path}.resources[{at}]");
            if names.contains(&resource.name) {
                faults.0.push(format!("{path}.name: Duplicate value: {:?}", resource.name));
            }
            if !matches!(resource.weight, 0 | 1) {
                faults.invalid(&format!("{path}.weight"), resource.weight, "must be 1");
            }
            names.push(resource.name);
        }
        profile.balanced = names.into();
    }
}

impl Fit {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        for (at, group) in
            self.ignored_resource_groups.iter().enumerate().filter(|(_, group)| group.contains('/'))
        {
            let path = format!("{path}.ignoredResourceGroups[{at}]");
            faults.invalid(&path, group.as_str(), "resource group name can't contain '/'");
        }
        profile.ignored = self.ignored_resources;
        profile.ignored_groups = self.ignored_resource_groups;
        if let Some(scoring) = self.scoring_strategy {
            scoring.apply(&format!("{path}.scoringStrategy"), profile, faults);
        }
    }
}

impl Scoring {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        const RATIO: &str = "RequestedToCapacityRatio";
        let ratio_path = format!("{path}.requestedToCapacityRatio");
        if self.r#type != RATIO && self.requested_to_capacity_ratio.is_some() {
            let why = "must be nil when type is not RequestedToCapacityRatio";
            faults.0.push(format!("{ratio_path}: Forbidden: {why}"));
        }
        match self.r#type.as_str() {
            "LeastAllocated" => profile.strategy = Strategy::LeastAllocated,
            "MostAllocated" => profile.strategy = Strategy::MostAllocated,
            RATIO => match self.requested_to_capacity_ratio {
                None => faults.0.push(format!(
                    "{ratio_path}: Required value: must be specified when type is RequestedToCapacityRatio"
                )),
                Some(ratio) => {
                    let points = shape(&ratio.shape, &format!("{ratio_path}.shape"), faults);
                    profile.strategy = Strategy::ByUtilization(points);
                }
            },
            other => {
                let supported = ["LeastAllocated", "MostAllocated", RATIO];
                faults.not_supported(&format!("{path}.type"), other, &supported);
            }
        }
        if self.resources.is_empty() {
            return;
        }
        let weighed = self.resources.into_iter().enumerate().map(|(at, Resource { name, weight })| {
            let weight = if weight == 0 { 1 } else { weight };
            if !(1..=100).contains(&weight) {
                let why = format!("resource weight of {name} not in valid range (0, 100]");
                faults.invalid(&format!("{path}.resources[{at}].weight"), weight, &why);
            }
            Weighed { name, weight }
        });
        profile.weighed = weighed.collect();
    }
}

fn shape(written: &[Point], path: &str, faults: &mut Faults) -> Box<[(i64, i64)]> {
    if written.is_empty() {
        faults.0.push(format!("{path}: Required value: at least one point must be specified"));
    }
    if let Some(at) = written.windows(2).position(|pair| pair[0].utilization >= pair[1].utilization) {
        let path = format!("{path}[{}].utilization", at + 1);
        faults.invalid(&path, written[at + 1].utilization, "values must be sorted in increasing order");
    }
    for (at, point) in written.iter().enumerate() {
        for (key, value, most) in
            [("utilization", point.utilization, 100), ("score", point.score, SHAPE_SCALE)]
        {
            if !(0..=most).contains(&value) {
                let why = format!("not in valid range [0, {most}]");
                faults.invalid(&format!("{path}[{at}].{key}"), value, &why);
            }
        }
    }
    written.iter().map(|point| (point.utilization, point.score.saturating_mul(SHAPE_SCALE))).collect()
}

impl Spread {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        let type_path = format!("{path}.defaultingType");
        match self.defaulting_type.as_deref() {
            None | Some("" | "System") if !self.default_constraints.is_empty() => {
                faults.invalid(&type_path, "System", "when .defaultConstraints are not empty");
            }
            None | Some("" | "System") => {}
            Some("List") => {
                let constraints = self.default_constraints.iter().enumerate();
                let constraints = constraints.map(|(at, written)| {
                    let before = &self.default_constraints[..at];
                    default_constraint(written, before, &format!("{path}.defaultConstraints[{at}]"), faults)
                });
                let constraints = constraints.collect();
                profile.default_spread = DefaultSpread { constraints, tolerates_missing: false };
            }
            Some(other) => faults.not_supported(&type_path, other, &["System", "List"]),
        }
    }
}

/// `before`: the constraints that stand before it.
fn default_constraint(
    written: &Constraint,
    before: &[Constraint],
    path: &str,
    faults: &mut Faults,
) -> DefaultConstraint {
    if written.max_skew <= 0 {
        faults.invalid(&format!("{path}.maxSkew"), written.max_skew, "not in valid range (0, inf)");
    }
    if written.topology_key.is_empty() {
        faults.0.push(format!("{path}.topologyKey: Required value: can not be empty"));
    }
    match written.when_unsatisfiable.as_str() {
        "DoNotSchedule" | "ScheduleAnyway" => {}
        "" => faults.0.push(format!("{path}.whenUnsatisfiable: Required value: can not be empty")),
        other => {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            faults.not_supported(&format!("{path}.whenUnsatisfiable"), other, &supported);
        }
    }
    if written.label_selector.is_some() {
        let why = "constraint must not define a selector, as they deduced for each pod";
        faults.0.push(format!("{path}.labelSelector: Forbidden: {why}"));
    }
    let more = [
        ("matchLabelKeys", written.match_label_keys.is_some()),
        ("minDomains", written.min_domains.is_some()),
        ("nodeAffinityPolicy", written.node_affinity_policy.is_some()),
        ("nodeTaintsPolicy", written.node_taints_policy.is_some()),
    ];
    for (key, _) in more.into_iter().filter(|(_, is_said)| *is_said) {
        faults.0.push(format!("{path}.{key}: Forbidden: a constraint for all pods has none here"));
    }
    let same = |other: &Constraint| {
        other.topology_key == written.topology_key && other.when_unsatisfiable == written.when_unsatisfiable
    };
    if before.iter().any(same) {
        let (key, action) = (&written.topology_key, &written.when_unsatisfiable);
        faults.0.push(format!("{path}: Duplicate value: \"{{{key}, {action}}}\""));
    }
    DefaultConstraint {
        topology_key: written.topology_key.as_str().into(),
        max_skew: i64::from(written.max_skew),
        is_hard: written.when_unsatisfiable == "DoNotSchedule",
    }
}

impl Volumes {
    fn apply(self, path: &str, profile: &mut Profile, faults: &mut Faults) {
        let Some(seconds) = self.bind_timeout_seconds else { return };
        match u64::try_from(seconds) {
            Ok(seconds) => profile.bind_timeout = Duration::from_secs(seconds),
            Err(_) => {
                let why = "invalid BindTimeoutSeconds, should not be a negative value";
                faults.invalid(&format!("{path}.bindTimeoutSeconds"), seconds, why);
            }
        }
    }
}
