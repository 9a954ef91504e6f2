use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;

fn time(seconds: i64) -> Time {
    Time(Timestamp::from_second(seconds).expect("a time"))
}

fn part() -> Part {
    Part {
        name: "kube-apiserver",
        labels: [("component", "kube-apiserver"), ("tier", "control-plane")].into(),
        port: Some(("https", 6443)),
    }
}

fn at(ip: &str) -> watch::Receiver<Vec<IpAddr>> {
    watch::channel(vec![ip.parse().expect("an address")]).1
}

fn process(started: i64) -> Process {
    Process {
        node: "n1".into(),
        ips: at("192.0.2.1"),
        started: time(started),
        program: "knarr:1.0".into(),
        log: None,
    }
}

fn node(uid: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n1", "uid": uid}})).expect("a node")
}

fn step(process: &Process, node: &Node, current: Option<&Pod>) -> Step {
    object::step(&part(), process, node, current, time(7).0)
}

/// The object as the API keeps it.
fn created() -> Pod {
    let Step::Create(mut pod) = step(&process(1), &node("u"), None) else { panic!("there is none") };
    pod.metadata.uid = Some("p".into());
    pod.metadata.generation = Some(1);
    pod.status = Some(
        serde_json::from_value(json!({"phase": "Pending", "qosClass": "BestEffort"})).expect("a status"),
    );
    *pod
}

/// The object after its status was patched.
fn told(mut pod: Pod, process: &Process) -> Pod {
    let Step::Tell(mut patch) = step(process, &node("u"), Some(&pod)) else {
        panic!("there is something to tell")
    };
    assert_eq!(patch["metadata"], json!({"uid": "p"}), "no other pod of the name may be told of");
    for list in ["hostIPs", "podIPs"] {
        let items = patch["status"][list].as_array_mut().expect("a list");
        assert_eq!(items.remove(0), json!({"$patch": "replace"}), "no former one stays");
    }
    pod.status = Some(serde_json::from_value(patch["status"].clone()).expect("a status"));
    pod
}

#[test]
fn a_part_is_a_mirror_pod_that_runs() {
    let pod = created();
    let written = serde_json::to_value(&pod).expect("JSON");
    assert_eq!(written["metadata"]["name"], "kube-apiserver-n1");
    assert_eq!(written["metadata"]["namespace"], "kube-system");
    assert_eq!(written["metadata"]["labels"]["component"], "kube-apiserver");
    assert!(mirrored_uid(&pod).is_some());
    assert_eq!(
        written["metadata"]["ownerReferences"],
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true}])
    );
    assert_eq!(written["spec"]["nodeName"], "n1");
    assert_eq!(written["spec"]["containers"][0]["ports"][0]["hostPort"], 6443);

    let pod = told(pod, &process(1));
    assert_eq!(step(&process(1), &node("u"), Some(&pod)), Step::Nothing);
    let status = serde_json::to_value(&pod.status).expect("JSON");
    assert_eq!((&status["phase"], &status["podIP"]), (&json!("Running"), &json!("192.0.2.1")));
    assert_eq!(status["qosClass"], "BestEffort");
    // As the API writes what is not set: the status that comes back must be the same.
    assert_eq!(
        (&status["containerStatuses"][0]["restartCount"], &status["containerStatuses"][0]["lastState"]),
        (&json!(0), &json!({}))
    );
    assert_eq!(status["containerStatuses"][0]["state"]["running"]["startedAt"], "1970-01-01T00:00:01Z");
}

#[test]
fn a_process_that_began_anew_is_counted_as_a_restart() {
    let pod = told(created(), &process(1));
    let pod = told(pod, &process(9));
    let status =
        pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).expect("containers");
    assert_eq!((status[0].restart_count, step(&process(9), &node("u"), Some(&pod))), (1, Step::Nothing));
}

#[test]
fn a_part_follows_the_address_of_the_node() {
    let pod = told(created(), &process(1));
    let moved = Process { ips: at("203.0.113.7"), ..process(1) };
    let pod = told(pod, &moved);
    let status = serde_json::to_value(&pod.status).expect("JSON");
    assert_eq!((&status["hostIP"], &status["podIP"]), (&json!("203.0.113.7"), &json!("203.0.113.7")));
    assert_eq!(status["podIPs"], json!([{"ip": "203.0.113.7"}]));
    assert_eq!(step(&moved, &node("u"), Some(&pod)), Step::Nothing, "and is the same part");
}

#[test]
fn what_goes_away_or_tells_of_something_else_is_removed() {
    let mut going = told(created(), &process(1));
    going.metadata.deletion_timestamp = Some(time(5));
    assert_eq!(step(&process(1), &node("u"), Some(&going)), Step::Delete);
    let pod = told(created(), &process(1));
    assert_eq!(
        step(&process(1), &node("another"), Some(&pod)),
        Step::Delete,
        "of an earlier node of the name"
    );
    let newer = Process { program: "knarr:2.0".into(), ..process(1) };
    assert_eq!(step(&newer, &node("u"), Some(&pod)), Step::Delete);
    let mut unmarked = pod;
    unmarked.metadata.annotations = None;
    assert_eq!(step(&process(1), &node("u"), Some(&unmarked)), Step::Delete, "a user's pod of the name");
}
