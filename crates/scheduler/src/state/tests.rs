//! No pod waits that would fit.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::causes::Causes;
use crate::profile::{Profile, Profiles};
use crate::samples;

/// A configuration whose only profile is chosen by this name.
fn choosing(name: &str) -> Configuration {
    let profile = Profile { scheduler_name: Arc::from(name), ..Profile::default() };
    Configuration { profiles: Profiles::new(vec![profile]).expect("a profile"), ..Configuration::default() }
}

/// What the API server would hold.
#[derive(Default)]
struct Cluster {
    state: State,
    pods: BTreeMap<String, Pod>,
    rounds: usize,
}

fn changed(pod: &Pod, change: Value) -> Pod {
    fn merge(into: &mut Value, from: Value) {
        match from {
            Value::Object(fields) => fields.into_iter().for_each(|(key, value)| merge(&mut into[key], value)),
            other => *into = other,
        }
    }
    let mut object = serde_json::to_value(pod).expect("JSON");
    merge(&mut object, change);
    serde_json::from_value(object).expect("a pod")
}

impl Cluster {
    fn new() -> Self {
        Self { state: State::new(&choosing("s"), &Metrics::default()), ..Self::default() }
    }

    fn put(&mut self, pod: Pod) {
        self.state.pod_changed(&Cached::of(&pod), Instant::now());
        self.pods.insert(pod.metadata.name.clone().expect("a name"), pod);
    }

    fn change(&mut self, name: &str, change: Value) {
        if let Some(pod) = self.pods.get(name) {
            let pod = changed(pod, change);
            self.put(pod);
        }
    }

    fn node(&mut self, number: usize, what: u8, change: u8) {
        let mut node = serde_json::to_value(samples::node(number, what % 4)).expect("JSON");
        match change % 4 {
            0 => node["spec"]["unschedulable"] = true.into(),
            1 => node["status"]["allocatable"]["cpu"] = format!("{}", what % 6).into(),
            2 => node["status"]["allocatable"]["pods"] = format!("{}", what % 6).into(),
            _ => {}
        }
        self.state.node_changed(&serde_json::from_value(node).expect("a node"), Instant::now());
    }

    /// All rounds there are, every other binding being refused where `refuse` says so.
    fn schedule(&mut self, tie: u64, refuse: bool) {
        while let Some(round) = self.state.round(tie, Instant::now()) {
            self.rounds += 1;
            let Round::Bind(attempt, node, _) = round else { continue };
            let name = attempt.pod.key.name.to_string();
            if refuse && self.rounds.is_multiple_of(2) {
                let present = self.pods.get(&name).map(Cached::of);
                self.state.not_bound(attempt, present.as_ref(), Instant::now());
            } else {
                self.state.bound(&attempt);
                self.change(&name, json!({"spec": {"nodeName": node}}));
            }
        }
    }

    /// Nobody who waits for a change would fit as things are.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let pending = self.pods.values().filter(|pod| pods::node_name(pod).is_empty());
        for pod in pending.filter(|pod| pods::is_active(pod)).map(PodInfo::new).collect::<Vec<_>>() {
            if !self.state.queue.waits_for_a_change(&pod.uid) {
                continue;
            }
            let (decision, _) = decide(&pod, &mut self.state.nodes, Chance::default());
            prop_assert!(
                matches!(decision, Decision::Unschedulable(_)),
                "{} would fit: {:?}",
                pod.key,
                decision
            );
        }
        Ok(())
    }
}

fn new_pod(name: &str, sort: u8) -> Pod {
    changed(&samples::pod(name, sort, false), json!({"spec": {"schedulerName": "s"}}))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nobody_waits_who_would_fit(
        events in proptest::collection::vec((0u8..10, any::<u8>(), any::<u8>(), any::<u8>()), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        let mut cluster = Cluster::new();
        for number in 0..3 {
            cluster.node(number, u8::try_from(number).expect("small"), 3);
        }
        for (i, (what, a, b, c)) in events.into_iter().enumerate() {
            let known = format!("p{}", usize::from(b) % (i + 1));
            match what {
                0 => cluster.node(usize::from(a) % 5, b, c),
                1 => cluster.state.node_gone(&format!("n{}", a % 5), Instant::now()),
                2 => {
                    if cluster.pods.remove(&known).is_some() {
                        cluster.state.pod_gone(&known, Instant::now());
                    }
                }
                3 => cluster.change(&known, json!({"metadata": {"labels": {"app": (["a", "b"][usize::from(a % 2)])}}})),
                4 => cluster.change(&known, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
                5 => cluster.change(&known, json!({"status": {"phase": "Succeeded"}})),
                6 => {
                    let labels = [("team".to_owned(), (a % 2).to_string())].into();
                    cluster.state.namespace_changed("ns", Some(labels), Instant::now());
                }
                7 => {
                    let elsewhere = json!({"spec": {"nodeName": format!("n{}", a % 5)}});
                    cluster.put(changed(&new_pod(&format!("p{i}"), b), elsewhere));
                }
                _ => cluster.put(new_pod(&format!("p{i}"), b)),
            }
            if c.is_multiple_of(3) {
                continue;
            }
            cluster.schedule(u64::from(c), c.is_multiple_of(5));
            cluster.check()?;
        }
    }
}

#[test]
fn a_pods_status_alone_is_not_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let mut cluster = Cluster::new();
    let generation = json!({"metadata": {"generation": 1}});
    cluster.put(changed(&new_pod("waits", 0), generation.clone()));
    cluster.put(changed(&changed(&new_pod("placed", 0), generation), json!({"spec": {"nodeName": "n0"}})));
    for name in ["waits", "placed"] {
        // Read whole, this would be no pod.
        let mut object = serde_json::to_value(&cluster.pods[name]).expect("JSON");
        object["spec"]["volumes"] = "odd".into();
        object["metadata"]["resourceVersion"] = "7".into();
        let odd = informer::Cache::<Pod>::new();
        odd.objects().apply(informer::Item::read(object.to_string().into()).expect("an object"));
        let odd = odd.find(&informer::Key::new("ns", name)).expect("the pod");
        cluster.state.pod_changed(&odd, Instant::now());
    }
    let attempt = cluster.state.queue.pop(Instant::now()).expect("it waits");
    assert_eq!(attempt.pod.resource_version.as_deref(), Some("7"), "events tell of its newest state");
    cluster.state.queue.unschedulable(attempt, Causes::default(), Instant::now());
    assert!(cluster.state.queue.waits_for_a_change("waits"));
    assert!(cluster.state.nodes.remove_pod("placed").is_some());
}

#[test]
fn where_pods_wait_is_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let mut cluster = Cluster::new();
    let waiting = |cluster: &Cluster| {
        [Queue::Active, Queue::BackingOff, Queue::Unschedulable, Queue::Gated]
            .map(|queue| cluster.state.waiting(queue))
    };
    cluster.put(new_pod("p", 0));
    let gates = json!({"spec": {"schedulingGates": [{"name": "g"}]}});
    for name in ["held", "gone"] {
        cluster.put(changed(&new_pod(name, 0), gates.clone()));
    }
    assert_eq!(waiting(&cluster), [1, 0, 0, 2]);
    cluster.state.pod_gone("gone", Instant::now());
    let round = cluster.state.round(0, Instant::now());
    assert!(matches!(round, Some(Round::Unschedulable(..))), "{round:?}");
    assert_eq!(waiting(&cluster), [0, 0, 1, 1]);
    cluster.node(0, 0, 3);
    assert_eq!(waiting(&cluster), [0, 1, 0, 1]);
    cluster.change("held", json!({"spec": {"schedulingGates": []}}));
    assert_eq!(
        (waiting(&cluster), cluster.state.sizes()),
        ([1, 1, 0, 0], Sizes { nodes: 1, pods: 0, assumed: 0 })
    );
    let Some(Round::Bind(first, node, _)) = cluster.state.round(0, Instant::now()) else { panic!("it fits") };
    assert_eq!((&*first.pod.uid, cluster.state.sizes()), ("held", Sizes { nodes: 1, pods: 1, assumed: 1 }));
    cluster.state.bound(&first);
    cluster.change("held", json!({"spec": {"nodeName": node}}));
    cluster.schedule(0, false);
    assert_eq!((waiting(&cluster), cluster.state.sizes()), ([0; 4], Sizes { nodes: 1, pods: 2, assumed: 0 }));
    let counted = [
        (Queue::Active, Why::PodAdd, 2),
        (Queue::Gated, Why::PodAdd, 2),
        (Queue::Unschedulable, Why::AttemptFailure, 1),
        (Queue::BackingOff, Why::NodeAdd, 1),
        (Queue::Active, Why::PopFromBackoff, 1),
    ];
    for (queue, why, count) in counted {
        assert_eq!(cluster.state.incoming.count(queue, why), count, "{queue:?} {why:?}");
    }
}

/// A pod with a priority.
fn ranked(name: &str, priority: i32, cpu: &str) -> Pod {
    let mut pod = samples::pod(name, 0, false);
    let spec = pod.spec.as_mut().expect("a specification");
    spec.priority = Some(priority);
    spec.scheduler_name = Some("s".to_owned());
    let requests = json!({"requests": {"cpu": cpu}});
    spec.containers[0].resources = Some(serde_json::from_value(requests).expect("resources"));
    pod
}

impl Cluster {
    /// All rounds there are; pods that are told to go are gone at once, or as `going` collects them.
    fn preempting(&mut self, tie: u64, going: &mut Vec<String>) {
        for _ in 0..10_000 {
            let Some(round) = self.state.round(tie, Instant::now()) else { return };
            match round {
                Round::Bind(attempt, node, _) => {
                    self.state.bound(&attempt);
                    self.change(&attempt.pod.key.name, json!({"spec": {"nodeName": node}}));
                }
                Round::Preempt(_, _, preemption) => {
                    let told = preemption.victims.iter().filter(|victim| !victim.is_going);
                    going.extend(told.map(|victim| victim.key.name.to_string()));
                }
                Round::Unschedulable(..) | Round::Panicked(_) => {}
            }
        }
        panic!("no end");
    }

    fn gone(&mut self, name: &str) {
        if let Some(pod) = self.pods.remove(name) {
            self.state.pod_gone(pod.metadata.uid.as_deref().expect("a uid"), Instant::now());
        }
    }

    fn node_of(&self, name: &str) -> &str {
        self.pods.get(name).map_or("", |pod| pods::node_name(pod))
    }
}

#[tokio::test(start_paused = true)]
async fn room_that_is_made_is_kept() {
    let mut cluster = Cluster::new();
    cluster.node(0, 1, 3);
    let mut going = Vec::new();
    for name in ["a", "b"] {
        cluster.put(ranked(name, 0, "2"));
    }
    cluster.preempting(0, &mut going);
    cluster.put(ranked("important", 9, "2"));
    cluster.preempting(0, &mut going);
    assert_eq!(going.len(), 1);
    // While it waits nobody else has to go for it, and nobody of less importance comes.
    cluster.put(ranked("late", 5, "2"));
    cluster.change("important", json!({"metadata": {"labels": {"changed": "x"}}}));
    let victim = going.remove(0);
    cluster.change(&victim, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    cluster.preempting(0, &mut going);
    assert_eq!(going.len(), 1, "the late one has another go");
    assert_ne!(going[0], victim);
    cluster.gone(&victim);
    cluster.preempting(0, &mut going);
    assert_eq!((cluster.node_of("important"), cluster.node_of("late")), ("n0", ""));
    let other = going.remove(0);
    cluster.gone(&other);
    cluster.preempting(0, &mut going);
    assert_eq!((cluster.node_of("late"), going.len()), ("n0", 0));
}

#[tokio::test(start_paused = true)]
async fn who_is_more_important_takes_room_that_is_kept_for_others() {
    let mut cluster = Cluster::new();
    cluster.node(0, 1, 3);
    let mut going = Vec::new();
    cluster.put(ranked("a", 0, "4"));
    cluster.preempting(0, &mut going);
    cluster.put(ranked("middle", 5, "4"));
    cluster.preempting(0, &mut going);
    assert_eq!(going, ["a"]);
    cluster.gone("a");
    cluster.put(ranked("high", 9, "4"));
    cluster.preempting(0, &mut going);
    assert_eq!((cluster.node_of("high"), cluster.node_of("middle"), going.len()), ("n0", "", 1));
    // A scheduler that starts again knows for whom room is kept by what it wrote.
    let mut cluster = Cluster::new();
    cluster.node(0, 1, 3);
    cluster.put(changed(&ranked("middle", 5, "4"), json!({"status": {"nominatedNodeName": "n0"}})));
    cluster.put(ranked("low", 1, "1"));
    cluster.preempting(0, &mut going);
    assert_eq!((cluster.node_of("middle"), cluster.node_of("low")), ("n0", ""));
}

/// Claims, slices and a class, as they come over the watches.
struct Equipment {
    claims: informer::Cache<k8s_openapi::api::resource::v1::ResourceClaim>,
    slices: informer::Cache<k8s_openapi::api::resource::v1::ResourceSlice>,
}

impl Equipment {
    fn of(cluster: &mut Cluster) -> Self {
        let (claims, classes, slices) =
            (informer::Cache::new(), informer::Cache::new(), informer::Cache::new());
        let class = json!({"metadata": {"name": "any"}, "spec": {}});
        classes.apply(serde_json::from_value(class).expect("a class"));
        cluster.state.equip_from(Devices::over(claims.clone(), classes, slices.clone()));
        Self { claims, slices }
    }

    fn claim(&self, cluster: &mut Cluster, version: u64, name: &str, status: &Value) {
        let devices = json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "any"}}]});
        let meta =
            json!({"name": name, "namespace": "ns", "uid": name, "resourceVersion": version.to_string()});
        let claim = json!({"metadata": meta, "spec": {"devices": devices}, "status": status});
        let was = self.claims.get("ns", name).is_some_and(|held| pods::devices::allocation(&held).is_some());
        let claim: k8s_openapi::api::resource::v1::ResourceClaim =
            serde_json::from_value(claim).expect("a claim");
        let freed = was && pods::devices::allocation(&claim).is_none();
        self.claims.apply(claim);
        cluster.state.device_claim_changed(&Key::new("ns", name), freed, Instant::now());
    }

    fn slice(&self, cluster: &mut Cluster, node: &str) {
        let spec = json!({"driver": "d.io", "nodeName": node, "devices": [{"name": "d"}],
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}});
        let slice = json!({"metadata": {"name": node, "resourceVersion": "1"}, "spec": spec});
        self.slices.apply(serde_json::from_value(slice).expect("a slice"));
        cluster.state.devices_changed(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_its_claim_then_for_a_device_then_for_one_that_is_given_back() {
    let mut cluster = Cluster::new();
    let equipment = Equipment::of(&mut cluster);
    cluster.node(0, 1, 3);
    let with = |name: &str| {
        let pod = changed(
            &ranked(name, 0, "1"),
            json!({"spec": {"resourceClaims": [{"name": "r", "resourceClaimName": name}]}}),
        );
        changed(&pod, json!({"metadata": {"namespace": "ns"}}))
    };
    cluster.put(with("first"));
    assert!(cluster.state.round(0, Instant::now()).is_none(), "its claim is not there, which is no failure");
    assert_eq!(cluster.state.waiting(Queue::Gated), 1);
    equipment.claim(&mut cluster, 1, "first", &json!({}));
    let Some(Round::Unschedulable(_, waits)) = cluster.state.round(0, Instant::now()) else {
        panic!("no device")
    };
    assert!(
        waits.message.starts_with("0/1 nodes are available: 1 cannot allocate all claims."),
        "{}",
        waits.message
    );
    assert!(cluster.state.round(0, Instant::now()).is_none(), "it waits for a change");
    equipment.slice(&mut cluster, "n0");
    let Some(Round::Bind(first, _, chosen)) = cluster.state.round(0, Instant::now()) else {
        panic!("it fits")
    };
    assert_eq!((chosen.devices.allocations.len(), chosen.devices.reserve.len()), (1, 1));

    // In the same moment somebody else asks for the only device.
    cluster.put(with("second"));
    equipment.claim(&mut cluster, 2, "second", &json!({}));
    let Some(Round::Unschedulable(..)) = cluster.state.round(0, Instant::now()) else {
        panic!("it is promised")
    };
    let result = json!({"request": "r", "driver": "d.io", "pool": "n0", "device": "d"});
    let held = json!({"allocation": {"devices": {"results": [result]}}});
    equipment.claim(&mut cluster, 3, "first", &held);
    cluster.state.settled(&chosen);
    cluster.state.bound(&first);
    assert!(cluster.state.round(0, Instant::now()).is_none(), "it is held");
    equipment.claim(&mut cluster, 4, "first", &json!({}));
    let Some(Round::Bind(_, node, _)) = cluster.state.round(0, Instant::now()) else {
        panic!("it was given back")
    };
    assert_eq!(node, "n0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens, in the end nobody waits who would fit, or for whom others should go.
    #[test]
    fn nobody_waits_for_whom_others_should_go(
        steps in proptest::collection::vec((0u8..6, 0usize..12, 0i32..4, 1u8..5, any::<u32>()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async move {
            let mut cluster = Cluster::new();
            let mut going = Vec::new();
            for number in 0..3 {
                cluster.node(number, 1, 3);
            }
            for (step, number, priority, cpu, tie) in steps {
                let name = format!("p{number}");
                match step {
                    0..3 if !cluster.pods.contains_key(&name) => {
                        cluster.put(ranked(&name, priority, &cpu.to_string()));
                    }
                    3 => cluster.gone(&name),
                    4 => {
                        if let Some(name) = going.pop() {
                            let name: String = name;
                            cluster.gone(&name);
                        }
                    }
                    _ => {}
                }
                cluster.preempting(u64::from(tie) << 32, &mut going);
            }
            while let Some(name) = going.pop() {
                cluster.gone(&name);
                cluster.preempting(0, &mut going);
            }
            cluster.check()?;
            let waiting: Vec<PodInfo> = cluster.pods.values().filter(|pod| pods::node_name(pod).is_empty()).map(PodInfo::new).collect();
            for pod in waiting {
                prop_assert!(cluster.state.nominations.get(&pod.uid).is_none(), "{} waits for nobody", pod.key);
                let found = find(&pod, &mut cluster.state.nodes, &cluster.state.nominations, &cluster.state.budgets, 0);
                prop_assert_eq!(found, None);
            }
            Ok(())
        })?;
    }
}
