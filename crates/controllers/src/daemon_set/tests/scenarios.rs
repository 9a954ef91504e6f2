//! Scripts whose lines are compared with `testdata/daemon_set`, and single facts.

use jiff::SignedDuration;

use super::*;
use crate::golden;

#[test]
fn nodes_come_go_and_change() {
    let mut c = Cluster::new(2);
    c.settle();
    c.all_run();
    c.settle();
    c.nodes.insert("n3".into(), node("n3"));
    c.say("# n3 comes");
    c.settle();
    c.taint("n1", &[taint("a", "NoSchedule")]);
    c.settle();
    c.taint("n2", &[taint("a", "NoExecute")]);
    c.settle();
    c.ended();
    c.settle();
    // Bound pods of a lost node are the garbage collector's, others the set's own.
    c.nodes.remove("n3");
    c.say("# n3 goes");
    c.settle();
    c.ended();
    c.taint("n2", &[taint("node.kubernetes.io/unschedulable", "NoSchedule")]);
    c.taint("n1", &[taint("node.kubernetes.io/unreachable", "NoExecute")]);
    c.settle();
    golden::check("daemon_set/nodes", &c.log);
}

#[test]
fn updates_keep_to_the_number_of_unavailable_nodes() {
    let mut c = Cluster::new(3);
    c.run_out();
    c.log.clear();
    c.set_image("v2");
    is_unready(c.on("n3"), Timestamp::UNIX_EPOCH);
    c.settle();
    c.ended();
    c.settle();
    c.all_run();
    c.settle();
    c.ended();
    c.settle();
    c.all_run();
    c.run_out();
    assert_eq!(c.images().iter().map(|(_, image)| *image).collect::<Vec<_>>(), ["v2"; 3]);
    // Back to the first revision, which gets a new number; what is of it already stays.
    c.set_image("v1");
    c.run_out();
    golden::check("daemon_set/update", &c.log);
}

#[test]
fn a_rollback_restarts_only_what_was_updated() {
    let mut c = Cluster::new(3);
    c.run_out();
    let before: Vec<_> = c.pods.keys().cloned().collect();
    c.set_image("broken");
    c.settle();
    c.ended();
    c.settle();
    // The new pod never runs, so that the others stay.
    c.set_image("v1");
    c.run_out();
    let kept = before.iter().filter(|name| c.pods.contains_key(*name)).count();
    assert_eq!(kept, 2);
    assert_eq!(c.images().iter().map(|(_, image)| *image).collect::<Vec<_>>(), ["v1"; 3]);
}

#[test]
fn updates_with_a_surge_start_the_new_pod_first() {
    let mut c = Cluster::new(3);
    c.limits(0, 1);
    c.run_out();
    c.log.clear();
    c.set_image("v2");
    c.settle();
    assert_eq!(c.images().len(), 4, "one node has both");
    c.all_run();
    c.settle();
    c.ended();
    c.settle();
    c.run_out();
    assert_eq!(c.images().iter().map(|(_, image)| *image).collect::<Vec<_>>(), ["v2"; 3]);
    golden::check("daemon_set/surge", &c.log);
}

#[test]
fn failed_and_succeeded_pods_are_replaced_with_pauses() {
    let mut c = Cluster::new(1);
    c.run_out();
    c.log.clear();
    for _ in 0..2 {
        let now = c.now;
        ends(c.on("n1"), "Failed", now);
        c.say("# fails");
        c.settle();
        c.ended();
        c.settle();
    }
    // The second failure within the second stays until the second is over.
    assert_eq!(c.images().len(), 1);
    assert_eq!(c.plan().again_after, Some(std::time::Duration::from_secs(1)));
    c.now += SignedDuration::from_secs(1);
    c.say("# a second later");
    c.settle();
    c.ended();
    c.settle();
    let now = c.now;
    ends(c.on("n1"), "Succeeded", now);
    c.say("# succeeds");
    c.settle();
    golden::check("daemon_set/failed", &c.log);
}

#[test]
fn on_delete_leaves_pods_to_users() {
    let mut c = Cluster::new(2);
    c.run_out();
    let strategy = DaemonSetUpdateStrategy { type_: Some("OnDelete".into()), rolling_update: None };
    c.spec().update_strategy = Some(strategy);
    c.set_image("v2");
    c.run_out();
    assert_eq!(c.images().iter().map(|(_, image)| *image).collect::<Vec<_>>(), ["v1", "v1"]);
    assert_eq!(c.status().updated_number_scheduled, None);
    let gone = c.on("n1").metadata.name.clone().expect("a name");
    c.pods.remove(&gone);
    c.run_out();
    assert_eq!(c.images(), [("n1".to_owned(), "v2"), ("n2".to_owned(), "v1")]);
    assert_eq!(c.status().updated_number_scheduled, Some(1));
}

#[test]
fn nodes_are_chosen_by_the_template() {
    let mut c = Cluster::new(2);
    let mut labelled = node("n3");
    labelled.metadata.labels = Some(BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]));
    c.nodes.insert("n3".into(), labelled);
    let spec = c.spec().template.spec.get_or_insert_default();
    spec.node_selector = Some(BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]));
    c.run_out();
    assert_eq!(c.images(), [("n3".to_owned(), "v1")]);
    let status = c.status();
    assert_eq!((status.desired_number_scheduled, status.number_misscheduled), (1, 0));
    let pod = c.on("n3").clone();
    let labels = pod.metadata.labels.as_ref().expect("labels");
    let revision = c.revisions.values().next().expect("a revision");
    let own = revision.metadata.labels.as_ref().expect("labels");
    assert_eq!(labels["controller-revision-hash"], own["controller-revision-hash"]);
    let tolerations = pod.spec.and_then(|s| s.tolerations).unwrap_or_default();
    let told: Vec<String> = tolerations
        .iter()
        .map(|t| {
            let key = t.key.as_deref().and_then(|key| key.rsplit('/').next()).unwrap_or("");
            format!("{key}:{}", t.effect.as_deref().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        told,
        [
            "not-ready:NoExecute",
            "unreachable:NoExecute",
            "disk-pressure:NoSchedule",
            "memory-pressure:NoSchedule",
            "pid-pressure:NoSchedule",
            "unschedulable:NoSchedule",
        ]
    );
    // The label goes, and the pod with it; another node gets the label.
    c.nodes.get_mut("n3").expect("there").metadata.labels = None;
    c.nodes.get_mut("n1").expect("there").metadata.labels =
        Some(BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]));
    c.run_out();
    assert_eq!(c.images(), [("n1".to_owned(), "v1")]);
}

#[test]
fn pods_are_adopted_and_released_by_label() {
    let mut c = Cluster::new(1);
    let mut orphan = Pod { spec: template("v1").spec, ..Pod::default() };
    orphan.metadata = ObjectMeta {
        name: Some("orphan".into()),
        namespace: Some("ns".into()),
        uid: Some("orphan".into()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    };
    orphan.spec.get_or_insert_default().node_name = Some("n1".into());
    run(&mut orphan, c.now);
    c.pods.insert("orphan".into(), orphan);
    c.round();
    assert!(c.log.contains("  adopt orphan\n"), "{}", c.log);
    assert!(!c.log.contains("  make "), "the adopted pod is the node's pod: {}", c.log);
    // It was of no revision, and is replaced by one that is.
    c.run_out();
    assert_eq!(c.images().len(), 1);
    let name = c.on("n1").metadata.name.clone().expect("a name");
    c.on("n1").metadata.labels = None;
    c.round();
    assert!(c.log.contains(&format!("  release {name}\n")), "{}", c.log);
}

#[test]
fn more_than_one_pod_of_a_node_is_too_many() {
    let mut c = Cluster::new(1);
    c.run_out();
    let mut second = c.on("n1").clone();
    let first = second.metadata.name.clone().expect("a name");
    second.metadata.name = Some("zwei".into());
    second.metadata.uid = Some("zwei".into());
    second.metadata.creation_timestamp = Some(Time(c.now + SignedDuration::from_secs(5)));
    c.pods.insert("zwei".into(), second);
    c.run_out();
    assert_eq!(c.pods.keys().collect::<Vec<_>>(), [&first], "the oldest stays");
}

#[test]
fn a_selector_of_everything_is_only_told_of() {
    let mut c = Cluster::new(1);
    c.spec().selector = LabelSelector::default();
    c.round();
    assert_eq!(
        c.log,
        "  event SelectingAll This daemon set is selecting all pods. A non-empty selector is required.\n"
    );
}

#[test]
fn pods_are_available_after_min_ready_seconds_and_history_is_short() {
    let mut c = Cluster::new(1);
    c.spec().min_ready_seconds = Some(30);
    c.settle();
    c.run_all();
    c.settle();
    assert_eq!((c.status().number_ready, c.status().number_available), (1, None));
    assert_eq!(c.plan().again_after, Some(std::time::Duration::from_secs(30)));
    c.now += SignedDuration::from_secs(30);
    c.settle();
    assert_eq!(c.status().number_available, Some(1));
    c.spec().min_ready_seconds = None;
    for image in ["v2", "v3", "v4", "v5"] {
        c.set_image(image);
        c.run_out();
    }
    let mut numbers: Vec<i64> = c.revisions.values().map(|r| r.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5]);
}
