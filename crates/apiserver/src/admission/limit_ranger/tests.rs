//! What upstream's tests of the plugin expect (`limitranger/admission_test.go`): the defaults and their annotation,
//! and a bound of each sort passed and broken.

use serde_json::{Value, json};

use super::*;
use crate::admission::tests::{Ask, CREATE_POD, admit, refusal};
use crate::testing::Fixture;

fn range(items: &Value) -> LimitRange {
    serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {"limits": items}})).expect("a range")
}

fn spec(containers: &Value, init: &Value) -> k8s_openapi::api::core::v1::PodSpec {
    serde_json::from_value(json!({"containers": containers, "initContainers": init})).expect("a pod's spec")
}

/// A container with requests and limits of CPU and memory; empty for none.
fn container(request: (&str, &str), limit: (&str, &str)) -> Value {
    let list = |(cpu, memory): (&str, &str)| -> Value {
        let given = [("cpu", cpu), ("memory", memory)].into_iter().filter(|(_, amount)| !amount.is_empty());
        given
            .map(|(name, amount)| (name.to_owned(), Value::from(amount)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({"name": "c", "resources": {"requests": list(request), "limits": list(limit)}})
}

fn faults(item: &Value, containers: &[Value]) -> Vec<String> {
    bounds::pod(&range(&json!([item])), &spec(&json!(containers), &json!([])))
}

#[test]
fn containers_get_what_they_lack_and_the_pod_says_so() {
    let defaults = range(&json!([{"type": "Container",
        "default": {"cpu": "75m", "memory": "10Mi"}, "defaultRequest": {"cpu": "50m", "memory": "5Mi"}}]));
    let mut pod = Object::from_value(json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "foo-0"}, {"name": "foo-1", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1", "memory": "1Gi"}}}],
        "initContainers": [{"name": "init", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}],
    }}))
    .expect("a pod");
    defaults::give(&mut pod, &defaults);
    assert_eq!(
        pod.annotation("kubernetes.io/limit-ranger"),
        Some(
            "LimitRanger plugin set: cpu, memory request for container foo-0; cpu, memory limit for container foo-0; \
             memory limit for container foo-1; cpu, memory request for init container init"
        )
    );
    assert_eq!(
        pod.at(&["spec", "containers"]),
        Some(&json!([
            {"name": "foo-0", "resources": {"limits": {"cpu": "75m", "memory": "10Mi"}, "requests": {"cpu": "50m", "memory": "5Mi"}}},
            {"name": "foo-1", "resources": {"limits": {"cpu": "1", "memory": "10Mi"}, "requests": {"cpu": "1", "memory": "1Gi"}}},
        ]))
    );
    let before = pod.clone();
    defaults::give(&mut pod, &defaults);
    assert_eq!(pod, before, "nothing is lacking any more");
    let mut other = Object::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).expect("a pod");
    defaults::give(&mut other, &range(&json!([{"type": "Pod", "max": {"cpu": "1"}}])));
    assert_eq!(other.into_value(), json!({"spec": {"containers": [{"name": "c"}]}}));
}

#[test]
fn containers_keep_to_their_bounds() {
    let min = json!({"type": "Container", "min": {"cpu": "100m"}});
    assert!(faults(&min, &[container(("100m", ""), ("200m", ""))]).is_empty());
    assert_eq!(
        faults(
            &min,
            &[
                container(("", ""), ("", "")),
                container(("50m", ""), ("", "")),
                container(("100m", ""), ("90m", ""))
            ]
        ),
        [
            "minimum cpu usage per Container is 100m.  No request is specified",
            "minimum cpu usage per Container is 100m, but request is 50m",
            "minimum cpu usage per Container is 100m, but limit is 90m",
        ]
    );
    let max = json!({"type": "Container", "max": {"memory": "1Gi"}});
    assert!(faults(&max, &[container(("", "1Gi"), ("", "1Gi"))]).is_empty());
    assert_eq!(
        faults(
            &max,
            &[
                container(("", ""), ("", "")),
                container(("", ""), ("", "2Gi")),
                container(("", "3Gi"), ("", "1Gi"))
            ]
        ),
        [
            "maximum memory usage per Container is 1Gi.  No limit is specified",
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
            "maximum memory usage per Container is 1Gi, but request is 3Gi",
        ]
    );
    let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "1500m"}});
    assert!(faults(&ratio, &[container(("100m", ""), ("150m", ""))]).is_empty());
    assert_eq!(
        faults(
            &ratio,
            &[
                container(("100m", ""), ("160m", "")),
                container(("", ""), ("1", "")),
                container(("1", ""), ("0", ""))
            ]
        ),
        [
            "cpu max limit to request ratio per Container is 1500m, but provided ratio is 1.600000",
            "cpu max limit to request ratio per Container is 1500m, but no request is specified or request is 0",
            "cpu max limit to request ratio per Container is 1500m, but no limit is specified or limit is 0",
        ]
    );
}

#[test]
fn a_pod_is_what_its_containers_need_at_a_time() {
    let max = range(&json!([{"type": "Pod", "max": {"cpu": "1"}}]));
    let asks = |cpu: &str| container((cpu, ""), (cpu, ""));
    let pod = |containers: &[&str], init: &[&str]| {
        let list = |amounts: &[&str]| amounts.iter().map(|cpu| asks(cpu)).collect::<Vec<_>>();
        bounds::pod(&max, &spec(&json!(list(containers)), &json!(list(init))))
    };
    assert!(pod(&["500m", "500m"], &["1"]).is_empty());
    assert_eq!(pod(&["600m", "600m"], &[]), ["maximum cpu usage per Pod is 1, but limit is 1200m"]);
    assert_eq!(pod(&["100m"], &["2"]), ["maximum cpu usage per Pod is 1, but limit is 2"]);
}

#[test]
fn faults_are_told_together_and_once_each() {
    assert_eq!(bounds::aggregate(&["a".into()]), "a");
    assert_eq!(bounds::aggregate(&["a".into(), "b".into(), "a".into()]), "[a, b]");
}

#[tokio::test]
async fn the_ranges_of_the_namespace_bind_pods_and_claims() {
    let f = Fixture::new().await;
    let plugin = LimitRanger::new(f.lookup.clone());
    let pod = || Some(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}));
    assert_eq!(admit(&plugin, &CREATE_POD, pod()).ok(), pod());
    let limits = json!({"metadata": {"name": "r", "namespace": "a"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "2"}, "max": {"cpu": "1"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}},
    ]}});
    f.put("limitranges/a/r", &limits).await;
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod()),
        (403, r#"pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#.into())
    );
    assert!(admit(&plugin, &Ask { place: "b/", ..CREATE_POD }, pod()).is_ok(), "that is another namespace");
    let update = Ask { operation: Operation::Update, place: "a/p", old: pod(), ..CREATE_POD };
    assert_eq!(admit(&plugin, &update, pod()).ok(), pod(), "containers cannot be changed anyway");

    let claim = Ask { resource: "persistentvolumeclaims", ..CREATE_POD };
    let asks = |storage: &str| {
        Some(json!({"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": storage}}}}))
    };
    assert!(admit(&plugin, &claim, asks("1Gi")).is_ok());
    assert_eq!(
        refusal(&plugin, &claim, asks("3Gi")).1,
        r#"persistentvolumeclaims "d" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"#
    );
    assert_eq!(
        refusal(&plugin, &claim, asks("1Mi")).1,
        r#"persistentvolumeclaims "d" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"#
    );
    f.stop().await;
}
