use serde_json::{Value, json};

use super::*;

fn pod(spec: Value, status: Value) -> Pod {
    let pod = json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec, "status": status});
    serde_json::from_value(pod).expect("a pod")
}

fn text(pod: &Pod, found: Explanation) -> String {
    account(&Facts { pod: pod.clone(), placement: Some(found), ..Facts::default() }).text()
}

#[test]
fn a_pod_without_a_node_names_what_each_says_and_what_would_help() {
    let says = |node: &str, remedy| Refusal {
        node: node.to_owned(),
        reasons: vec!["Insufficient cpu".to_owned()],
        detail: "3 of cpu asked for, 1 of 2 free".to_owned(),
        remedy,
    };
    let lower = scheduler::why::Change::Lower { resource: "cpu".to_owned(), from: 3000, to: 1000 };
    let found = Explanation {
        refusals: vec![says("a", None), says("b", Some(vec![lower]))],
        size: Some("3 cpu".to_owned()),
        ..Explanation::default()
    };
    let waits = pod(json!({"containers": []}), json!({"phase": "Pending"}));
    assert_eq!(
        text(&waits, found),
        "pod ns/web waits: none of 2 nodes takes it\n  \
         node a: Insufficient cpu (3 of cpu asked for, 1 of 2 free)\n  \
         node b: Insufficient cpu (3 of cpu asked for, 1 of 2 free)\n\
         What would help: lower the request for cpu from 3 to 1; then node b takes it.\n"
    );
    let found = Explanation {
        refusals: vec![says("a", None)],
        size: Some("3 cpu".to_owned()),
        ..Explanation::default()
    };
    assert!(text(&waits, found).ends_with("What would help: a node with this much free: 3 cpu.\n"));
}

#[test]
fn whoever_holds_a_pod_back_is_named() {
    let gated = pod(json!({"containers": [], "schedulingGates": [{"name": "x.io/g"}]}), json!({}));
    assert!(text(&gated, Explanation::default()).contains("gate x.io/g"));
    let theirs = pod(json!({"containers": [], "schedulerName": "mine"}), json!({}));
    assert!(text(&theirs, Explanation::default()).contains("the scheduler \"mine\""));
    let mut going = pod(json!({"containers": [], "nodeName": "n"}), json!({}));
    going.metadata.finalizers = Some(vec!["x.io/f".to_owned()]);
    going.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time");
    assert!(text(&going, Explanation::default()).contains("the finalizer x.io/f has to remove it"));
}

#[test]
fn a_container_that_keeps_ending_says_how() {
    let status = json!({"phase": "Running", "containerStatuses": [{
        "name": "c", "ready": false, "restartCount": 4, "image": "", "imageID": "",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]});
    let event = |reason: &str, at: &str| -> Event {
        let event = json!({"metadata": {}, "involvedObject": {}, "type": "Warning", "reason": reason,
            "message": "m", "lastTimestamp": at});
        serde_json::from_value(event).expect("an event")
    };
    let events = [event("Old", "2026-01-01T00:00:00Z"), event("New", "2026-01-02T00:00:00Z")];
    let pod = pod(json!({"containers": [], "nodeName": "n"}), status);
    let account = account(&Facts { pod, events: events.to_vec(), ..Facts::default() });
    assert_eq!(account.summary, "is on node n, Running and not ready");
    assert_eq!(
        account.causes,
        [
            "container c waits: CrashLoopBackOff: back-off 1m20s",
            "container c was started again 4 times; it last ended with exit code 137 (OOMKilled)",
            "warning New: m",
            "warning Old: m",
        ]
    );
}

#[test]
fn what_a_container_wrote_last_is_shown_or_why_it_is_not() {
    let status = json!({"phase": "Running", "containerStatuses": [{
        "name": "c", "ready": false, "restartCount": 1, "image": "", "imageID": "",
        "state": {"terminated": {"exitCode": 127, "reason": "Error"}}}]});
    let pod = pod(json!({"containers": [], "nodeName": "n"}), status);
    let told = |lines| {
        let last_lines = BTreeMap::from([("c".to_owned(), lines)]);
        account(&Facts { pod: pod.clone(), last_lines, ..Facts::default() }).text()
    };
    assert_eq!(
        told(Ok(vec!["sh: serve: not found".to_owned()])),
        "pod ns/web is on node n, Running and not ready\n  container c ended with exit code 127 (Error)\n  \
         container c wrote: sh: serve: not found\n\
         What would help: correct the command of container c: the program was not found.\n"
    );
    let unread = told(Err("the node is away".to_owned()));
    assert!(unread.contains("\n  the log of container c cannot be read: the node is away\n"), "{unread}");
}

#[test]
fn a_node_that_is_gone_stands_behind_its_pods() {
    let mut node = Account::unwell("does not exist").of("node", None, "ghost");
    node.help = Some("bring it back".to_owned());
    let pod = pod(json!({"containers": [], "nodeName": "ghost"}), json!({"phase": "Pending"}));
    assert_eq!(
        account(&Facts { pod, node: Some(node), ..Facts::default() }).text(),
        "pod ns/web is on node ghost, Pending and not ready\n  node ghost does not exist\n\
         What would help: bring it back.\n"
    );
}
