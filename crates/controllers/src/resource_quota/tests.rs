//! What the status says, and when it is written.

use informer::Plan;
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::{Value, json};

use super::*;

fn plan(quota: Value, used: &Value, next_expiry: Option<&str>) -> Plan {
    let quota: ResourceQuota = serde_json::from_value(quota).expect("a quota");
    let observed = Observed {
        quota: Arc::new(quota),
        used: quota::amounts(Some(used)),
        next_expiry: next_expiry.map(|time| time.parse().expect("a time")),
    };
    ResourceQuotaController::reconcile(&observed, "2026-01-01T00:00:00Z".parse().expect("a time"))
}

fn quota(status: Value) -> Value {
    json!({"metadata": {"name": "q", "namespace": "a", "resourceVersion": "5"},
        "spec": {"hard": {"pods": "2", "requests.cpu": "1"}}, "status": status})
}

#[test]
fn the_status_shows_what_is_used_and_what_is_granted() {
    let used = json!({"pods": "1", "requests.cpu": "250m"});
    let first = plan(quota(json!({})), &used, None);
    let [Action::Update { target, object }] = first.actions.as_slice() else { panic!("{first:?}") };
    assert_eq!(target.path(), "/api/v1/namespaces/a/resourcequotas/q/status");
    let hard = json!({"pods": "2", "requests.cpu": "1"});
    assert_eq!(object.at(&["status"]), Some(&json!({"hard": hard, "used": used})));
    assert_eq!(object.resource_version(), "5", "bound to what was read");
    let same = plan(quota(json!({"hard": hard, "used": used})), &used, None);
    assert_eq!(same, Plan::nothing());
    let raised = plan(quota(json!({"hard": {"pods": "1"}, "used": used})), &used, None);
    assert_eq!(raised.actions.len(), 1);
}

#[test]
fn a_pod_that_outstays_its_grace_is_looked_at_again() {
    let used = json!({"pods": "1", "requests.cpu": "0"});
    let status = json!({"hard": {"pods": "2", "requests.cpu": "1"}, "used": used});
    let waiting = plan(quota(status), &used, Some("2026-01-01T00:00:30Z"));
    assert_eq!(waiting.again_after, Some(Duration::from_millis(30_001)));
    assert!(waiting.actions.is_empty());
}

#[test]
fn each_name_is_counted_by_its_resource() {
    let object = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "limits.cpu": "1",
        "services.nodeports": "1", "count/deployments.apps": "1", "unheard.of": "1"}}});
    let bounds = Quota::of(&Object::from_value(object).expect("an object"));
    let names: Vec<_> = counted(&bounds).into_iter().map(|r| format!("{}/{}", r.group, r.resource)).collect();
    assert_eq!(names, ["/pods", "/services", "apps/deployments"]);
}
