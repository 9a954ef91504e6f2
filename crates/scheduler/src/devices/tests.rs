use informer::{Cache, Key};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use serde_json::{Value, json};

use super::Devices;
use crate::cycle::{Chance, Decision, decide};
use crate::nodes::Nodes;
use crate::pod::PodInfo;

struct Cluster {
    nodes: Nodes,
    claims: Cache<ResourceClaim>,
    slices: Cache<ResourceSlice>,
    versions: u64,
}

fn device(name: &str, with: &Value) -> Value {
    let mut device = json!({"name": name});
    for (key, value) in with.as_object().expect("an object") {
        device[key] = value.clone();
    }
    device
}

impl Cluster {
    /// Nodes `a` and `b`, a class of all devices and one that an expression selects.
    fn new() -> Self {
        let (claims, classes, slices) = (Cache::new(), Cache::<DeviceClass>::new(), Cache::new());
        let class = |name: &str, spec: Value| {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))
        };
        classes.apply(class("any", json!({})).expect("a class"));
        let config = json!({"opaque": {"driver": "d.io", "parameters": {"of": "class"}}});
        let gpus = json!({"selectors": [{"cel": {"expression": "has(device.attributes['d.io'].kind) && device.attributes['d.io'].kind == 'gpu'"}}],
            "config": [config]});
        classes.apply(class("gpu", gpus).expect("a class"));
        let mut nodes = Nodes::default();
        for name in ["a", "b"] {
            let node = json!({"metadata": {"name": name, "labels": {"zone": name}}, "status": {"allocatable": {"pods": "9"}}});
            nodes.set_node(&serde_json::from_value(node).expect("a node"));
        }
        nodes.devices = Devices::over(claims.clone(), classes, slices.clone());
        Self { nodes, claims, slices, versions: 0 }
    }

    fn slice(&mut self, name: &str, spec: &Value, devices: &[Value]) {
        self.versions += 1;
        let mut whole = json!({"driver": "d.io", "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
            "devices": devices});
        for (key, value) in spec.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        let meta = json!({"name": name, "resourceVersion": self.versions.to_string()});
        let slice = json!({"metadata": meta, "spec": whole});
        self.slices.apply(serde_json::from_value(slice).expect("a slice"));
    }

    fn claim(&mut self, name: &str, devices: &Value, status: &Value) {
        self.versions += 1;
        let meta = json!({"name": name, "namespace": "ns", "uid": name, "resourceVersion": self.versions.to_string()});
        let claim = json!({"metadata": meta, "spec": {"devices": devices}, "status": status});
        self.claims.apply(serde_json::from_value(claim).expect("a claim"));
    }

    /// Where a pod with the claims goes, and which devices each gets; or why it goes nowhere.
    fn place(&mut self, claims: &[&str]) -> String {
        let listed = |name: &&str| json!({"name": name, "resourceClaimName": name});
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {
            "containers": [], "resourceClaims": claims.iter().map(listed).collect::<Vec<_>>()}}),
        )
        .expect("a pod");
        let pod = PodInfo::new(&pod);
        match decide(&pod, &mut self.nodes, Chance::default()).0 {
            Decision::Unschedulable(refusal) => refusal.message(),
            Decision::Bind(node) => {
                let wanted = self.nodes.devices.wanted(&pod).expect("claims").expect("some");
                let choices = wanted.choose(self.nodes.get(&node).expect("the node")).expect("they fit");
                let of = |allocation: &super::AllocationResult| {
                    let results =
                        allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
                    let names: Vec<_> =
                        results.map(|one| format!("{}={}", one.request, one.device)).collect();
                    names.join(",")
                };
                let each: Vec<_> = choices
                    .allocations
                    .iter()
                    .map(|(claim, got)| format!("{} {}", claim.name, of(got)))
                    .collect();
                let text = format!("{node}: {}", each.join("; "));
                self.nodes.devices.assume(&choices);
                text
            }
        }
    }
}

fn exactly(class: &str, with: Value) -> Value {
    let mut exactly = json!({"deviceClassName": class});
    for (key, value) in with.as_object().expect("an object") {
        exactly[key] = value.clone();
    }
    json!({"requests": [{"name": "r", "exactly": exactly}]})
}

fn gpu(name: &str) -> Value {
    device(name, &json!({"attributes": {"kind": {"string": "gpu"}, "d.io/numa": {"int": 0}}}))
}

const NOTHING: &str = "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: \
                       0/2 nodes are available: 2 Preemption is not helpful for scheduling.";

#[test]
fn two_claims_never_get_one_device() {
    let mut cluster = Cluster::new();
    cluster.slice("a", &json!({"nodeName": "a"}), &[gpu("g0"), device("nic", &json!({}))]);
    cluster.slice("b", &json!({"nodeName": "b"}), &[gpu("g1")]);
    for name in ["x", "y", "z"] {
        cluster.claim(name, &exactly("gpu", json!({})), &json!({}));
    }
    let got = [cluster.place(&["x"]), cluster.place(&["y"])];
    assert!(got.contains(&"a: x r=g0".to_owned()) || got.contains(&"a: y r=g0".to_owned()), "{got:?}");
    assert!(got.iter().any(|one| one.starts_with("b: ")), "{got:?}");
    assert_eq!(cluster.place(&["z"]), NOTHING);
    let again = cluster.place(&["x"]);
    assert!(again.contains("resource claim ns/x is in the process of being allocated."), "{again}");
    assert!(cluster.place(&["w"]).contains("resourceclaim.resource.k8s.io \"w\" not found."));
    cluster.claim("odd", &exactly("missing", json!({})), &json!({}));
    assert!(cluster.place(&["odd"]).contains("request r: device class missing does not exist."));
}

#[test]
fn what_is_allocated_stays_where_it_is() {
    let mut cluster = Cluster::new();
    cluster.slice("a", &json!({"nodeName": "a"}), &[gpu("g0")]);
    let result = json!({"request": "r", "driver": "d.io", "pool": "a", "device": "g0"});
    let on = |node: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        json!({"devices": {"results": [result]}, "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]}})
    };
    cluster.claim("held", &exactly("gpu", json!({})), &json!({"allocation": on("b")}));
    assert_eq!(cluster.place(&["held"]), "b: ");
    cluster.claim("other", &exactly("gpu", json!({})), &json!({}));
    assert_eq!(cluster.place(&["other"]), NOTHING);
    cluster.claim("held", &exactly("gpu", json!({})), &json!({"allocation": on("gone")}));
    let moved = "0/2 nodes are available: 2 resourceclaim not available on the node. deallocation of ResourceClaim completed";
    assert!(cluster.place(&["held"]).starts_with(moved));
    let user = json!([{"resource": "pods", "name": "o", "uid": "o"}]);
    cluster.claim(
        "held",
        &exactly("gpu", json!({})),
        &json!({"allocation": on("gone"), "reservedFor": user}),
    );
    assert!(cluster.place(&["held"]).contains("still not schedulable"), "another pod uses it");
}

#[test]
fn counts_alternatives_and_all() {
    let mut cluster = Cluster::new();
    let devices = [gpu("g0"), gpu("g1"), device("nic", &json!({}))];
    cluster.slice("a", &json!({"nodeName": "a"}), &devices);
    cluster.claim("three", &exactly("gpu", json!({"count": 3})), &json!({}));
    assert_eq!(cluster.place(&["three"]), NOTHING);
    let first = json!({"requests": [{"name": "r", "firstAvailable": [
        {"name": "many", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
        {"name": "few", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}]}]});
    cluster.claim("first", &first, &json!({}));
    assert_eq!(cluster.place(&["first"]), "a: first r/few=g0");
    cluster.claim("all", &exactly("any", json!({"allocationMode": "All"})), &json!({}));
    assert_eq!(cluster.place(&["all"]), NOTHING, "one of them is taken");
    cluster.claim(
        "watch",
        &exactly("any", json!({"allocationMode": "All", "adminAccess": true})),
        &json!({}),
    );
    assert_eq!(cluster.place(&["watch"]), "a: watch r=g0,r=g1,r=nic");
    cluster.claim("two", &exactly("any", json!({"count": 2})), &json!({}));
    assert_eq!(cluster.place(&["two"]), "a: two r=g1,r=nic", "administrators take nothing away");
}

#[test]
fn expressions_choose_and_their_faults_are_told() {
    let mut cluster = Cluster::new();
    let with = |memory: &str, version: &str| json!({"capacity": {"memory": {"value": memory}}, "attributes": {"driverVersion": {"version": version}}});
    let devices = [device("small", &with("8Gi", "1.2.0")), device("large", &with("80Gi", "2.0.0"))];
    cluster.slice("a", &json!({"nodeName": "a"}), &devices);
    let cel = |text: &str| exactly("any", json!({"selectors": [{"cel": {"expression": text}}]}));
    let large = "cel.bind(c, device.capacity['d.io'], c.memory.compareTo(quantity('40Gi')) >= 0) && \
                 device.attributes['d.io'].driverVersion.isGreaterThan(semver('1.9.0')) && !has(device.attributes['x.io'].y)";
    cluster.claim("large", &cel(large), &json!({}));
    assert_eq!(cluster.place(&["large"]), "a: large r=large");
    cluster.claim("odd", &cel("device.attributes['d.io'].none == 1"), &json!({}));
    let odd = cluster.place(&["odd"]);
    let expected = "running \"DynamicResources\" filter plugin: claim ns/odd, request r: selector #0: runtime error: no such key: none";
    assert_eq!(odd, expected);
}

#[test]
fn constraints_hold_for_all_devices_of_a_claim() {
    let mut cluster = Cluster::new();
    let on = |numa: i64| json!({"attributes": {"numa": {"int": numa}}});
    let devices =
        [device("a0", &on(0)), device("b1", &on(1)), device("c1", &on(1)), device("none", &json!({}))];
    cluster.slice("a", &json!({"nodeName": "a"}), &devices);
    let constrained = |count: i64, key: &str| {
        let mut spec = exactly("any", json!({"count": count}));
        spec["constraints"] = json!([{key: "d.io/numa"}]);
        spec
    };
    cluster.claim("three", &constrained(3, "matchAttribute"), &json!({}));
    assert_eq!(cluster.place(&["three"]), NOTHING);
    cluster.claim("same", &constrained(2, "matchAttribute"), &json!({}));
    assert_eq!(cluster.place(&["same"]), "a: same r=b1,r=c1");
    let mut cluster = Cluster::new();
    cluster.slice("a", &json!({"nodeName": "a"}), &devices);
    cluster.claim("other", &constrained(2, "distinctAttribute"), &json!({}));
    assert_eq!(cluster.place(&["other"]), "a: other r=a0,r=b1");
}

#[test]
fn taints_counters_and_capacities_limit_what_can_be_had() {
    let mut cluster = Cluster::new();
    let taint = json!({"taints": [{"key": "sick", "effect": "NoSchedule"}]});
    cluster.slice("a", &json!({"nodeName": "a"}), &[device("sick", &taint)]);
    cluster.claim("plain", &exactly("any", json!({})), &json!({}));
    assert_eq!(cluster.place(&["plain"]), NOTHING);
    cluster.claim(
        "brave",
        &exactly("any", json!({"tolerations": [{"key": "sick", "operator": "Exists"}]})),
        &json!({}),
    );
    assert_eq!(cluster.place(&["brave"]), "a: brave r=sick");

    let mut cluster = Cluster::new();
    let part = |amount: &str| json!({"consumesCounters": [{"counterSet": "gpu", "counters": {"memory": {"value": amount}}}]});
    let two = json!({"nodeName": "a", "pool": {"name": "a", "generation": 1, "resourceSliceCount": 2}});
    cluster.slice(
        "a",
        &two,
        &[device("half0", &part("20Gi")), device("half1", &part("20Gi")), device("whole", &part("40Gi"))],
    );
    let mut shared = two.clone();
    shared["sharedCounters"] = json!([{"name": "gpu", "counters": {"memory": {"value": "40Gi"}}}]);
    cluster.slice("a-counters", &shared, &[]);
    for name in ["x", "y", "z"] {
        cluster.claim(name, &exactly("any", json!({})), &json!({}));
    }
    assert_eq!(cluster.place(&["x", "y"]), "a: x r=half0; y r=half1");
    assert_eq!(cluster.place(&["z"]), NOTHING, "nothing is left of the whole");

    let mut cluster = Cluster::new();
    cluster.slice(
        "a",
        &json!({"nodeName": "a"}),
        &[device("d", &json!({"capacity": {"memory": {"value": "8Gi"}}}))],
    );
    let asks = |amount: &str| exactly("any", json!({"capacity": {"requests": {"memory": amount}}}));
    cluster.claim("much", &asks("9Gi"), &json!({}));
    assert_eq!(cluster.place(&["much"]), NOTHING);
    cluster.claim("little", &asks("7Gi"), &json!({}));
    assert_eq!(cluster.place(&["little"]), "a: little r=d");
}

#[test]
fn pools_are_whole_and_of_the_newest_generation() {
    let mut cluster = Cluster::new();
    let of = |generation: i64, count: i64| json!({"nodeName": "a", "pool": {"name": "p", "generation": generation, "resourceSliceCount": count}});
    cluster.slice("old", &of(1, 1), &[device("old", &json!({}))]);
    cluster.slice("new", &of(2, 2), &[device("new", &json!({}))]);
    cluster.claim("one", &exactly("any", json!({})), &json!({}));
    assert_eq!(cluster.place(&["one"]), "a: one r=new");
    cluster.claim("all", &exactly("any", json!({"allocationMode": "All"})), &json!({}));
    let all = cluster.place(&["all"]);
    assert!(all.contains("claim ns/all, request r: asks for all devices, but resource pool d.io/p is currently being updated"), "{all}");
    cluster.slice("newer", &of(2, 2), &[device("new", &json!({}))]);
    cluster.claim("two", &exactly("any", json!({})), &json!({}));
    assert!(cluster.place(&["two"]).contains("pool d.io/p is invalid: duplicate device name new"));
}

#[test]
fn allocations_say_where_they_hold_and_what_drivers_are_told() {
    let mut cluster = Cluster::new();
    let zone = json!({"key": "zone", "operator": "In", "values": ["b"]});
    let selector = json!({"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}});
    cluster.slice("net", &selector, &[gpu("far")]);
    let mut spec = exactly("gpu", json!({}));
    let config = |of: &str| json!({"opaque": {"driver": "d.io", "parameters": {"of": of}}});
    spec["config"] = json!([config("claim")]);
    cluster.claim("x", &spec, &json!({}));
    assert_eq!(cluster.place(&["x"]), "b: x r=far");
    let allocation = cluster.nodes.devices.assumed[&Key::new("ns", "x")].clone();
    let told = serde_json::to_value(&*allocation).expect("JSON");
    assert_eq!(told["nodeSelector"], selector["nodeSelector"]);
    let (mut of_class, mut of_claim) = (config("class"), config("claim"));
    (of_class["source"], of_class["requests"]) = ("FromClass".into(), json!(["r"]));
    of_claim["source"] = "FromClaim".into();
    assert_eq!(told["devices"]["config"], json!([of_class, of_claim]));
    cluster.slice("everywhere", &json!({"allNodes": true}), &[gpu("any")]);
    cluster.claim("y", &exactly("gpu", json!({})), &json!({}));
    cluster.place(&["y"]);
    let allocation = cluster.nodes.devices.assumed[&Key::new("ns", "y")].clone();
    assert_eq!(allocation.node_selector, None);
}
