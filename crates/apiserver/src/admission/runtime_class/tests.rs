//! What a class gives a pod, and what it refuses.

use serde_json::json;

use super::*;
use crate::admission::tests::{CREATE_POD, admit, refusal};
use crate::testing::Fixture;

#[tokio::test]
async fn a_pod_gets_its_classs_overhead_and_scheduling() {
    let f = Fixture::new().await;
    let plugin = RuntimeClass::new(f.lookup.clone());
    let pod = |spec: Value| Some(json!({"metadata": {"name": "p"}, "spec": spec}));
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod(json!({"runtimeClassName": "none"}))),
        (403, r#"pods "p" is forbidden: pod rejected: RuntimeClass "none" not found"#.into())
    );
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod(json!({"overhead": {"cpu": "1"}}))).1,
        r#"pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"#
    );
    let class = json!({"metadata": {"name": "kata"}, "handler": "kata",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
    f.put("runtimeclasses/kata", &class).await;
    let wish = json!({"runtimeClassName": "kata", "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "vm", "operator": "Equal", "value": "a"}, {"key": "gpu", "operator": "Exists"}]});
    let given = admit(&plugin, &CREATE_POD, pod(wish)).unwrap();
    assert_eq!(
        given["spec"],
        json!({"runtimeClassName": "kata", "overhead": {"cpu": "250m"}, "nodeSelector": {"disk": "ssd", "vm": "yes"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "vm", "operator": "Exists"}]})
    );
    let same = json!({"runtimeClassName": "kata", "overhead": {"cpu": "0.25"}});
    assert!(admit(&plugin, &CREATE_POD, pod(same)).is_ok(), "the same amount in other words");
    let other = json!({"runtimeClassName": "kata", "overhead": {"cpu": "1"}});
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod(other)).1,
        r#"pods "p" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"#
    );
    let contrary = json!({"runtimeClassName": "kata", "nodeSelector": {"vm": "no"}});
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod(contrary)).1,
        r#"pods "p" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"#
    );
    f.stop().await;
}
