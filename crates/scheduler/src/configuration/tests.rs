use super::*;
use crate::profile::{DefaultSpread, Filter, Strategy, Weights};

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

fn parse(text: &str) -> Result<Configuration, String> {
    Configuration::parse(&format!("{HEAD}{text}"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err("faulty")
}

#[test]
fn nothing_said_is_upstreams_default() {
    let read = parse("").expect("valid");
    let profiles: Vec<&Profile> = read.profiles.iter().map(|profile| &**profile).collect();
    assert_eq!(profiles, [&Profile::default()]);
    assert_eq!((read.backoff.initial.as_secs(), read.backoff.max.as_secs()), (1, 10));
    assert!(read.without_effect.is_empty());
    let named = parse("profiles: [{schedulerName: default-scheduler, plugins: {}, pluginConfig: []}]");
    assert_eq!(
        *named.expect("valid").profiles.of("x"),
        read.profiles.iter().next().cloned().expect("a profile")
    );
}

#[test]
fn profiles_say_which_rules_count() {
    let read = parse(
        "podInitialBackoffSeconds: 2\npodMaxBackoffSeconds: 20\npercentageOfNodesToScore: 0\nparallelism: 4\n\
         leaderElection: {leaderElect: false}\n\
         profiles:\n\
         - schedulerName: packed\n  percentageOfNodesToScore: 70\n\
         \x20 plugins:\n    score: {disabled: [{name: '*'}], enabled: [{name: NodeResourcesFit, weight: 5}]}\n\
         \x20   postFilter: {disabled: [{name: DefaultPreemption}]}\n\
         \x20   multiPoint: {disabled: [{name: InterPodAffinity}], enabled: [{name: TaintToleration}]}\n\
         \x20 pluginConfig:\n  - name: NodeResourcesFit\n\
         \x20   args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: NodeResourcesFitArgs, ignoredResourceGroups: [a.b],\n\
         \x20     scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}, {name: a.b/c}]}}\n\
         - schedulerName: other\n\
         \x20 plugins: {multiPoint: {enabled: [{name: ImageLocality, weight: 7}, {name: NodeAffinity}]}}\n\
         \x20 pluginConfig:\n\
         \x20 - {name: InterPodAffinity, args: {hardPodAffinityWeight: 9, ignorePreferredTermsOfExistingPods: true}}\n\
         \x20 - {name: VolumeBinding, args: {bindTimeoutSeconds: 5}}\n\
         \x20 - {name: DefaultPreemption, args: {minCandidateNodesPercentage: 1, minCandidateNodesAbsolute: 0}}\n\
         \x20 - {name: PodTopologySpread, args: {defaultingType: List}}\n",
    )
    .expect("valid");
    assert_eq!((read.backoff.initial.as_secs(), read.backoff.max.as_secs()), (2, 20));
    assert_eq!(read.without_effect, ["parallelism", "leaderElection"]);
    let packed = read.profiles.find("packed").expect("a profile");
    assert_eq!(packed.weights, Weights { resources: 5, ..Weights::NONE });
    assert_eq!((packed.strategy.clone(), packed.percentage_of_nodes), (Strategy::MostAllocated, Some(70)));
    let weighed: Vec<_> =
        packed.weighed.iter().map(|weighed| (weighed.name.as_str(), weighed.weight)).collect();
    assert_eq!((weighed.as_slice(), packed.preempts), ([("cpu", 3), ("a.b/c", 1)].as_slice(), false));
    let counts = [Filter::InterPodAffinity, Filter::TaintToleration, Filter::NodePorts];
    assert_eq!(counts.map(|filter| packed.filters.has(filter)), [false, true, true]);
    assert!(packed.ignores("a.b/c"));
    let other = read.profiles.find("other").expect("a profile");
    assert_eq!(other.weights, Weights { images: 7, node_affinity: 1, ..Weights::DEFAULT });
    assert_eq!((other.required_affinity_weight, other.others_preferences), (9, false));
    assert_eq!(
        (other.bind_timeout.as_secs(), other.candidates, other.percentage_of_nodes),
        (5, (1, 0), None)
    );
    assert_eq!(other.default_spread, DefaultSpread { constraints: [].into(), tolerates_missing: false });
    assert!(read.profiles.find("default-scheduler").is_none());
}

#[test]
fn faults_are_named_by_their_place() {
    let many = refused(
        "parallelism: 0\npercentageOfNodesToScore: 101\npodInitialBackoffSeconds: 0\nextenders: [{urlPrefix: 'http://x'}]\n\
         profiles: [{schedulerName: a}, {}, {schedulerName: a}]\n",
    );
    let expected = [
        "extenders: Forbidden: this scheduler asks no extenders",
        "parallelism: Invalid value: 0: should be an integer value greater than zero",
        "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0",
        "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
        "profiles[1].schedulerName: Required value",
        "profiles[2].schedulerName: Duplicate value: \"profiles[0].schedulerName\"",
    ];
    assert_eq!(many, expected.join("; "));
    assert!(refused("profile: []").contains("profile"));
    assert_eq!(
        refused("podMaxBackoffSeconds: 9223372036854775807"),
        "podMaxBackoffSeconds: Invalid value: 9223372036854775807: must be at most 86400"
    );
    assert!(Configuration::parse("apiVersion: v1\nkind: Pod\n").expect_err("faulty").contains("are known"));
    let plugins = |plugins: &str| refused(&format!("profiles: [{{plugins: {{{plugins}}}}}]"));
    assert_eq!(
        plugins("score: {enabled: [{name: Coscheduling}]}"),
        "profiles[0].plugins.score.enabled[0]: Invalid value: \"Coscheduling\": there is no such plugin here"
    );
    assert_eq!(
        plugins("filter: {disabled: [{name: VolumeZone}]}"),
        "profiles[0].plugins.filter.disabled: Forbidden: VolumeZone cannot be left out here"
    );
    assert_eq!(
        plugins("score: {enabled: [{name: NodeName}]}"),
        "profiles[0].plugins.score.enabled[0]: Invalid value: \"NodeName\": plugin \"NodeName\" does not extend score plugin"
    );
    assert_eq!(
        plugins("bind: {disabled: [{name: '*'}]}"),
        "profiles[0].plugins.bind.disabled: Forbidden: DefaultBinder cannot be left out here"
    );
    assert_eq!(
        plugins("preScore: {disabled: [{name: PodTopologySpread}]}"),
        "profiles[0].plugins.preScore.disabled: Forbidden: PodTopologySpread cannot be left out here alone, \
         without \"score\""
    );
    assert!(parse("profiles: [{plugins: {preScore: {disabled: [{name: PodTopologySpread}]}, score: {disabled: [{name: PodTopologySpread}]}}}]").is_ok());
}

#[test]
fn arguments_are_checked_as_upstream_does() {
    let args = |name: &str, args: &str| {
        let all = refused(&format!("profiles: [{{pluginConfig: [{{name: {name}, args: {{{args}}}}}]}}]"));
        all.replace("profiles[0].pluginConfig[0].args", "~")
    };
    assert_eq!(
        args("InterPodAffinity", "hardPodAffinityWeight: 101"),
        "~.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]"
    );
    assert_eq!(
        args("NodeResourcesFit", "scoringStrategy: {type: Least, resources: [{name: cpu, weight: 101}]}"),
        "~.scoringStrategy.type: Unsupported value: \"Least\": supported values: \"LeastAllocated\", \
         \"MostAllocated\", \"RequestedToCapacityRatio\"; ~.scoringStrategy.resources[0].weight: Invalid value: \
         101: resource weight of cpu not in valid range (0, 100]"
    );
    let shape = "scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: \
                 [{utilization: 50, score: 3}, {utilization: 50, score: 11}]}}";
    assert_eq!(
        args("NodeResourcesFit", shape),
        "~.scoringStrategy.requestedToCapacityRatio.shape[1].utilization: Invalid value: 50: values must be sorted \
         in increasing order; ~.scoringStrategy.requestedToCapacityRatio.shape[1].score: Invalid value: 11: not in \
         valid range [0, 10]"
    );
    assert_eq!(
        args(
            "PodTopologySpread",
            "defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule}]"
        ),
        "~.defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty"
    );
    assert_eq!(
        args("NodeResourcesBalancedAllocation", "resources: [{name: cpu, weight: 2}, {name: cpu}]"),
        "~.resources[0].weight: Invalid value: 2: must be 1; ~.resources[1].name: Duplicate value: \"cpu\""
    );
    let affinity = "addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: \
                    [{matchExpressions: [{key: pool, operator: in, values: [x]}]}]}}";
    let term = "~.addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]";
    let refused = args("NodeAffinity", affinity);
    assert!(
        refused.starts_with(&format!("{term}.matchExpressions[0].operator: Invalid value: \"in\"")),
        "{refused}"
    );
    let refused = args("NodeAffinity", "addedAffinity: {requiredDuringScheduling: {}}");
    assert_eq!(refused, "~.addedAffinity.requiredDuringScheduling: unknown field");
    let misspelt = "defaultingType: List, defaultConstraints: [{maxSkw: 1}]";
    assert!(args("PodTopologySpread", misspelt).contains("unknown field `maxSkw`"));
    assert!(args("NodeResourcesFit", "scoringStrateg: {}").starts_with("~: unknown field"));
    assert!(args("NodeAffinity", "kind: OtherArgs").contains("has to match plugin args"));
}
