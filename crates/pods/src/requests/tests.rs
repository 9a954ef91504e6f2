use serde_json::{Value, json};

use super::*;

fn pod(spec: Value, status: Value) -> Pod {
    serde_json::from_value(json!({"spec": spec, "status": status})).expect("a pod")
}

fn cpu(amount: &str) -> Value {
    json!({"requests": {"cpu": amount}})
}

fn cpu_milli(spec: Value) -> i64 {
    requests(&pod(spec, json!({}))).cpu_milli
}

#[test]
fn init_containers_peak_and_sidecars_add() {
    let spec = json!({
        "overhead": {"cpu": "10m"},
        "initContainers": [
            {"name": "i1", "resources": cpu("700m")},
            {"name": "s", "restartPolicy": "Always", "resources": cpu("100m")},
            {"name": "i2", "resources": cpu("650m")},
        ],
        "containers": [{"name": "a", "resources": cpu("200m")}, {"name": "b", "resources": cpu("0.3")}],
    });
    assert_eq!(cpu_milli(spec), 760);
    let two_sidecars = json!({
        "initContainers": [
            {"name": "s1", "restartPolicy": "Always", "resources": cpu("1")},
            {"name": "s2", "restartPolicy": "Always", "resources": cpu("2")},
            {"name": "i", "resources": cpu("3")},
        ],
        "containers": [{"name": "a", "resources": cpu("1")}],
    });
    assert_eq!(cpu_milli(two_sidecars), 6000);
}

#[test]
fn amounts_are_rounded_once() {
    let spec = json!({"containers": [
        {"name": "a", "resources": cpu("100u")}, {"name": "b", "resources": cpu("100u")},
    ]});
    assert_eq!(cpu_milli(spec), 1);
}

/// `IsSupportedPodLevelResource`: CPU, memory and huge pages; what else stands there does not count.
#[test]
fn what_the_pod_asks_for_as_a_whole_wins() {
    let list = |cpu: &str| {
        json!({"cpu": cpu, "memory": "1Gi", "ephemeral-storage": "9Gi", "hugepages-2Mi": "4Mi",
        "example.com/gpu": "3"})
    };
    let spec = json!({
        "resources": {"requests": list("2")},
        "overhead": {"cpu": "500m"},
        "containers": [{"name": "a", "resources": {"requests":
            {"cpu": "3", "ephemeral-storage": "1Gi", "hugepages-2Mi": "2Mi", "example.com/gpu": "1"}}}],
    });
    let asked = requests(&pod(spec, json!({})));
    assert_eq!((asked.cpu_milli, asked.memory_bytes, asked.ephemeral_bytes), (2500, 1 << 30, 1 << 30));
    assert_eq!((asked.scalar("hugepages-2Mi"), asked.scalar("example.com/gpu")), (4 << 20, 1));
}

#[test]
fn a_resize_counts_with_the_largest_figure() {
    let spec =
        json!({"containers": [{"name": "a", "resources": cpu("2")}, {"name": "b", "resources": cpu("1")}]});
    let resized = |allocated: &str, actual: &str, conditions: Value| {
        let status = json!({"conditions": conditions, "containerStatuses": [{
            "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": {"cpu": allocated}, "resources": cpu(actual),
        }]});
        let pod = pod(spec.clone(), status);
        (requests(&pod).cpu_milli, is_settled(&pod))
    };
    assert_eq!(resized("2", "2", json!([])), (3000, true));
    assert_eq!(resized("2", "4", json!([])), (5000, false), "it has more than it asks for by now");
    assert_eq!(resized("1", "1", json!([])), (3000, false), "it will have more");
    let pending = |reason: &str| json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    assert_eq!(resized("1", "1", pending("Deferred")), (3000, false));
    assert_eq!(resized("1", "1", pending("Infeasible")), (1000, false), "it will never have more");
}

#[test]
fn containers_that_ask_for_nothing_weigh_something() {
    const MI: i64 = 1024 * 1024;
    let nonzero = |spec: Value| nonzero_requests(&pod(spec, json!({})));
    let two = json!([{"name": "a", "resources": cpu("300m")}, {"name": "b"}]);
    assert_eq!(nonzero(json!({"containers": two})), (400, 400 * MI));
    let zero = json!([{"name": "a", "resources": {"requests": {"cpu": "0", "memory": "0"}}}]);
    assert_eq!(nonzero(json!({"containers": zero})), (0, 0), "nothing is asked for, and says so");
    let whole = json!({"requests": {"cpu": "1"}});
    assert_eq!(nonzero(json!({"containers": two, "resources": whole})), (1000, 400 * MI));
    let whole = json!({"requests": {"hugepages-2Mi": "2Mi"}});
    assert_eq!(nonzero(json!({"containers": two, "resources": whole})), (300, 400 * MI));
}

#[test]
fn an_init_container_runs_beside_the_sidecars_before_it() {
    let spec = json!({
        "initContainers": [
            {"name": "s", "restartPolicy": "Always", "resources": cpu("500m")}, {"name": "i", "resources": cpu("1")},
        ],
        "containers": [{"name": "c", "resources": cpu("200m")}],
    });
    assert_eq!(cpu_milli(spec), 1500);
}
