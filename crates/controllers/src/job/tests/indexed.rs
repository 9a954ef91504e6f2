//! Indexed Jobs.

use serde_json::json;

use super::cluster::Cluster;
use crate::golden;
use crate::replicas::pod::attempt::{INDEX_FAILURES, INDEX_IGNORED_FAILURES};

#[test]
fn every_index_succeeds_once() {
    let mut c = Cluster::new(json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"}));
    c.settle();
    let pod = &c.pods["j-1-1"];
    let spec = pod.spec.as_ref().expect("a pod");
    assert_eq!(spec.hostname.as_deref(), Some("j-1"));
    let variable = serde_json::to_value(&spec.containers[0].env).expect("JSON");
    let path = "metadata.labels['batch.kubernetes.io/job-completion-index']";
    assert_eq!(
        variable,
        json!([{"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": path}}}])
    );
    assert_eq!(
        pod.metadata.labels.as_ref().expect("labels")["batch.kubernetes.io/job-completion-index"],
        "1"
    );
    for pod in ["j-2-2", "j-0-0"] {
        c.phase(pod, "Succeeded");
        c.settle();
    }
    c.phase("j-1-1", "Failed");
    c.settle();
    c.pass(10);
    c.settle();
    for pod in c.active() {
        c.phase(&pod, "Succeeded");
    }
    c.settle();
    golden::check("job/indexed", &c.log);
}

#[test]
fn an_index_fails_alone() {
    let mut c = Cluster::new(json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1}));
    c.settle();
    c.phase("j-1-1", "Failed");
    c.phase("j-0-0", "Succeeded");
    c.settle();
    assert_eq!(c.again_after, Some(std::time::Duration::from_secs(10)));
    c.pass(10);
    c.settle();
    let annotations =
        |c: &Cluster, name: &str| c.pods[name].metadata.annotations.clone().expect("annotations");
    assert_eq!(annotations(&c, "j-1-3")[INDEX_FAILURES], "1");
    c.phase("j-1-3", "Failed");
    c.settle();
    assert_eq!(c.status().failed_indexes.as_deref(), Some("1"));
    c.phase("j-2-2", "Succeeded");
    c.settle();
    golden::check("job/per_index", &c.log);
}

#[test]
fn too_many_failed_indexes_end_the_job() {
    let mut c = Cluster::new(json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed",
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1}));
    c.settle();
    c.phase("j-0-0", "Failed");
    c.settle();
    c.phase("j-3-3", "Failed");
    c.settle();
    assert!(c.is_over(), "{}", c.log);
    let status = c.status();
    assert_eq!((status.failed_indexes.as_deref(), status.failed), (Some("0,3"), Some(4)));
    let message =
        "event MaxFailedIndexesExceeded Job has exceeded the specified maximal number of failed indexes";
    assert!(c.log.contains(message));
}

#[test]
fn a_policy_fails_an_index_at_once_or_ignores_its_failure() {
    let mut c = Cluster::new(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
    "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1, "podReplacementPolicy": "Failed",
    "podFailurePolicy": {"rules": [
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [43]}},
    ]}}));
    c.settle();
    c.fail("j-0-0", 42);
    c.fail("j-1-1", 43);
    c.settle();
    assert_eq!(c.status().failed_indexes.as_deref(), Some("0"));
    c.pass(10);
    c.settle();
    let annotations = c.pods["j-1-2"].metadata.annotations.clone().expect("annotations");
    assert_eq!((&*annotations[INDEX_FAILURES], &*annotations[INDEX_IGNORED_FAILURES]), ("0", "1"));
    c.phase("j-1-2", "Succeeded");
    c.settle();
    let status = c.status();
    assert_eq!((status.failed, status.succeeded), (Some(1), Some(1)));
    assert!(c.log.contains("event FailedIndexes Job has failed indexes"), "{}", c.log);
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let mut c = Cluster::new(json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "1-2", "succeededCount": 1}]}}));
    c.settle();
    c.phase("j-3-3", "Succeeded");
    c.phase("j-0-0", "Running");
    c.settle();
    c.phase("j-2-2", "Succeeded");
    c.settle();
    c.phase("j-0-0", "Failed");
    c.settle();
    golden::check("job/success_policy", &c.log);
}

#[test]
fn an_elastic_job_grows_and_shrinks() {
    let mut c = Cluster::new(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"}));
    c.settle();
    c.spec().completions = Some(4);
    c.spec().parallelism = Some(4);
    c.settle();
    assert_eq!(c.active().len(), 4);
    c.phase("j-3-3", "Succeeded");
    c.settle();
    assert_eq!(c.status().completed_indexes.as_deref(), Some("3"));
    c.spec().completions = Some(2);
    c.spec().parallelism = Some(2);
    c.settle();
    assert_eq!(
        (c.active(), c.status().completed_indexes),
        (vec!["j-0-0".to_owned(), "j-1-1".to_owned()], None)
    );
    for pod in c.active() {
        c.phase(&pod, "Succeeded");
    }
    c.settle();
    assert!(c.is_over());
    assert_eq!(c.status().succeeded, Some(2));
}

#[test]
fn of_two_pods_of_one_index_one_goes() {
    let mut c = Cluster::new(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"}));
    c.settle();
    let mut twin = c.pods["j-0-0"].clone();
    twin.metadata.name = Some("twin".into());
    twin.metadata.uid = Some("twin".into());
    c.pods.insert("twin".into(), twin);
    c.phase("j-0-0", "Running");
    c.settle();
    assert_eq!(c.active(), ["j-0-0", "j-1-1"]);
}
