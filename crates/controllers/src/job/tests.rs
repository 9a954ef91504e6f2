//! Scenarios with golden output, and in [`random`] what holds whatever happens.

mod cluster;
mod indexed;
mod random;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use cluster::Cluster;

use crate::golden;

/// Lets every active pod succeed, in the order of their names.
fn succeed_all(c: &mut Cluster) {
    for name in c.active() {
        c.phase(&name, "Succeeded");
    }
}

#[test]
fn completions_are_reached_with_parallelism() {
    let mut c = Cluster::new(json!({"completions": 3, "parallelism": 2}));
    c.settle();
    c.phase("j-0", "Running");
    c.settle();
    for _ in 0..2 {
        succeed_all(&mut c);
        c.settle();
    }
    golden::check("job/completions", &c.log);
}

#[test]
fn a_work_queue_ends_with_its_workers_once_one_has_succeeded() {
    let mut c = Cluster::new(json!({"parallelism": 3}));
    c.settle();
    c.phase("j-1", "Succeeded");
    c.settle();
    c.phase("j-0", "Failed");
    c.settle();
    c.phase("j-2", "Succeeded");
    c.settle();
    golden::check("job/work_queue", &c.log);
}

#[test]
fn failed_pods_are_replaced_after_a_growing_wait_until_the_limit() {
    let mut c = Cluster::new(json!({"completions": 1, "backoffLimit": 2}));
    c.settle();
    for (pod, wait) in [("j-0", 10), ("j-1", 20)] {
        c.phase(pod, "Failed");
        c.settle();
        assert_eq!(c.again_after, Some(std::time::Duration::from_secs(wait)));
        c.pass(i64::try_from(wait).expect("small"));
        c.settle();
    }
    c.phase("j-2", "Failed");
    c.settle();
    golden::check("job/backoff", &c.log);
}

#[test]
fn a_restart_forgets_no_wait() {
    let mut c = Cluster::new(json!({"completions": 1}));
    c.settle();
    c.phase("j-0", "Failed");
    c.settle();
    c.pass(4);
    c.restart();
    c.settle();
    assert_eq!(c.again_after, Some(std::time::Duration::from_secs(6)));
    assert_eq!(c.active(), Vec::<String>::new());
}

#[test]
fn a_job_that_fails_takes_its_other_pods_with_it() {
    let mut c = Cluster::new(json!({"completions": 3, "parallelism": 3, "backoffLimit": 0}));
    c.settle();
    c.phase("j-1", "Running");
    c.phase("j-0", "Failed");
    c.settle();
    assert!(!c.is_over(), "a pod still runs");
    c.phase("j-1", "Failed");
    c.settle();
    golden::check("job/failed", &c.log);
}

#[test]
fn restarts_in_place_count_towards_the_limit() {
    let mut c = Cluster::new(json!({"completions": 1, "backoffLimit": 2}));
    let template = c.spec().template.spec.as_mut().expect("a pod");
    template.restart_policy = Some("OnFailure".into());
    c.settle();
    c.phase("j-0", "Running");
    let restarted = |count: i32| {
        let status =
            json!([{"name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": count}]);
        serde_json::from_value(status).expect("statuses")
    };
    for (count, over) in [(1, false), (2, true)] {
        let status = c.pods.get_mut("j-0").and_then(|pod| pod.status.as_mut()).expect("the pod");
        status.container_statuses = Some(restarted(count));
        c.settle();
        assert_eq!(c.active().is_empty(), over, "{count} restarts");
    }
    c.phase("j-0", "Failed");
    c.settle();
    assert!(c.log.contains("event BackoffLimitExceeded Job has reached the specified backoff limit"));
}

#[test]
fn a_deadline_ends_the_job_on_time() {
    let mut c = Cluster::new(json!({"completions": 1, "activeDeadlineSeconds": 60}));
    c.settle();
    assert_eq!(c.again_after, Some(std::time::Duration::from_secs(60)));
    c.phase("j-0", "Running");
    c.pass(20);
    c.settle();
    assert_eq!(c.again_after, Some(std::time::Duration::from_secs(40)));
    c.pass(40);
    c.settle();
    c.phase("j-0", "Failed");
    c.settle();
    golden::check("job/deadline", &c.log);
}

#[test]
fn a_suspended_job_has_no_pods_and_starts_anew() {
    let mut c = Cluster::new(
        json!({"completions": 2, "parallelism": 2, "suspend": true, "activeDeadlineSeconds": 60}),
    );
    c.settle();
    assert_eq!(c.again_after, None, "time does not run");
    c.spec().suspend = Some(false);
    c.settle();
    c.phase("j-0", "Succeeded");
    c.phase("j-1", "Running");
    c.settle();
    c.pass(30);
    c.spec().suspend = Some(true);
    c.settle();
    c.phase("j-1", "Failed");
    c.settle();
    c.pass(30);
    c.spec().suspend = Some(false);
    c.settle();
    assert_eq!(c.again_after, Some(std::time::Duration::from_secs(60)));
    succeed_all(&mut c);
    c.settle();
    golden::check("job/suspend", &c.log);
}

#[test]
fn parallelism_can_change_and_pods_removed_by_hand_are_replaced() {
    let mut c = Cluster::new(json!({"completions": 5, "parallelism": 1}));
    c.settle();
    c.spec().parallelism = Some(3);
    c.say("# parallelism 3");
    c.settle();
    c.phase("j-1", "Running");
    c.settle();
    c.say("# j-0 is deleted");
    c.delete("j-0");
    c.settle();
    c.pass(10);
    c.settle();
    c.spec().parallelism = Some(1);
    c.say("# parallelism 1");
    c.settle();
    golden::check("job/parallelism", &c.log);
}

#[test]
fn pods_are_adopted_with_the_finalizer_and_released_without() {
    let mut c = Cluster::new(json!({"completions": 1}));
    c.settle();
    let other = json!({"batch.kubernetes.io/controller-uid": "other"});
    c.pods.get_mut("j-0").expect("made").metadata.labels = serde_json::from_value(other).expect("labels");
    c.settle();
    let labels = json!({"batch.kubernetes.io/controller-uid": "job"});
    c.pods.get_mut("j-0").expect("made").metadata.labels = serde_json::from_value(labels).expect("labels");
    c.settle();
    golden::check("job/adoption", &c.log);
}

#[test]
fn what_is_known_is_told_while_pods_cannot_be_made() {
    let mut c = Cluster::new(json!({"completions": 3, "parallelism": 2}));
    c.quota = Some(1);
    for _ in 0..3 {
        c.round();
        c.say("--");
    }
    c.phase("j-0", "Succeeded");
    c.round();
    c.say("--");
    c.round();
    c.say("# quota raised");
    c.quota = None;
    c.settle();
    golden::check("job/quota", &c.log);
}

#[test]
fn a_job_being_deleted_lets_its_pods_go_and_makes_none() {
    let mut c = Cluster::new(json!({"completions": 2, "parallelism": 2}));
    c.settle();
    c.phase("j-0", "Running");
    c.settle();
    c.job.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(c.now));
    c.delete("j-0");
    c.delete("j-1");
    c.settle();
    assert_eq!((c.tracked(), c.pods.len()), (0, 1), "{}", c.log);
}

#[test]
fn a_failure_policy_ignores_counts_or_ends_the_job() {
    let mut c = Cluster::new(json!({"completions": 2, "parallelism": 2, "backoffLimit": 0,
    "podFailurePolicy": {"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]}}));
    c.settle();
    c.phase("j-0", "Running");
    c.delete("j-0");
    c.settle();
    assert_eq!(c.active(), ["j-1"], "a pod that goes is replaced when it is gone");
    c.phase("j-0", "Failed");
    let disrupted = json!({"type": "DisruptionTarget", "status": "True"});
    let disrupted = serde_json::from_value(disrupted).expect("a condition");
    let change =
        |pod: &mut Pod| pod.status.get_or_insert_default().conditions.get_or_insert_default().push(disrupted);
    change(c.pods.get_mut("j-0").expect("still counted"));
    c.settle();
    c.pass(10);
    c.settle();
    c.fail("j-1", 42);
    c.settle();
    golden::check("job/failure_policy", &c.log);
}
