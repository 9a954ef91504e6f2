//! Rows as kubectl would print them, cell by cell.

use serde_json::json;

use super::*;

const NOW: &str = "2026-01-01T00:10:00Z";
const CREATED: &str = "2026-01-01T00:00:00Z";

/// Checks a row: cells joined by ` | `, after filling in the creation time.
#[track_caller]
fn check(group: &str, plural: &str, mut object: Value, expected: &str) {
    object["metadata"]["creationTimestamp"] = CREATED.into();
    let versions: Vec<_> =
        crate::builtin().rows().filter(|r| r.group == group && r.plural == plural).collect();
    let resource = versions.first().expect("the kind is built in");
    let object = Object::from_value(object).expect("an object");
    let cells = resource.printer.cells(&object, NOW.parse().expect("a time"));
    assert_eq!(cells.len(), resource.printer.heads().len());
    let texts: Vec<String> =
        cells.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect();
    assert_eq!(texts.join(" | "), expected);
}

fn pod(spec: &Value, status: &Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec, "status": status})
}

#[test]
fn a_running_pod_that_restarted() {
    let spec = json!({"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}]});
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}], "containerStatuses": [
        {"name": "a", "ready": true, "restartCount": 1, "state": {"running": {}},
         "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:06:11Z"}}},
        {"name": "b", "ready": true, "restartCount": 0, "state": {"running": {}}},
    ]});
    let row = "p | 2/2 | Running | 1 (3m49s ago) | 10m | 10.0.0.2 | n1 | <none> | <none>";
    check("", "pods", pod(&spec, &status), row);
}

#[test]
fn a_pending_pod_and_its_waiting_reason() {
    let spec = json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "x/y"}]});
    check(
        "",
        "pods",
        pod(&spec, &json!({"phase": "Pending"})),
        "p | 0/1 | Pending | 0 | 10m | <none> | <none> | <none> | 0/1",
    );
    let status = json!({"phase": "Pending", "containerStatuses": [
        {"name": "a", "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]});
    check(
        "",
        "pods",
        pod(&spec, &status),
        "p | 0/1 | ImagePullBackOff | 0 | 10m | <none> | <none> | <none> | 0/1",
    );
}

#[test]
fn init_containers_show_progress_and_failure() {
    let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let mut status = json!({"phase": "Pending", "initContainerStatuses": [
        {"name": "i", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}},
        {"name": "j", "restartCount": 0, "state": {"running": {}}},
    ], "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]});
    check(
        "",
        "pods",
        pod(&spec, &status),
        "p | 0/1 | Init:1/2 | 0 | 10m | <none> | <none> | <none> | <none>",
    );
    status["initContainerStatuses"][1]["state"] = json!({"terminated": {"exitCode": 3}});
    status["initContainerStatuses"][1]["restartCount"] = 2.into();
    check(
        "",
        "pods",
        pod(&spec, &status),
        "p | 0/1 | Init:ExitCode:3 | 2 | 10m | <none> | <none> | <none> | <none>",
    );
    status["initContainerStatuses"][1]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    check(
        "",
        "pods",
        pod(&spec, &status),
        "p | 0/1 | Init:CrashLoopBackOff | 2 | 10m | <none> | <none> | <none> | <none>",
    );
}

#[test]
fn a_sidecar_counts_as_a_container() {
    let spec =
        json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
        "containerStatuses": [{"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}}}]});
    check("", "pods", pod(&spec, &status), "p | 2/2 | Running | 3 | 10m | <none> | <none> | <none> | <none>");
}

#[test]
fn ended_and_deleted_pods() {
    let spec = json!({"containers": [{"name": "a"}]});
    let ended = |reason: &str, code: i64| {
        json!({"phase": "Failed", "containerStatuses": [
            {"name": "a", "restartCount": 0, "state": {"terminated": {"reason": reason, "exitCode": code}}}]})
    };
    check(
        "",
        "pods",
        pod(&spec, &ended("OOMKilled", 137)),
        "p | 0/1 | OOMKilled | 0 | 10m | <none> | <none> | <none> | <none>",
    );
    check(
        "",
        "pods",
        pod(&spec, &ended("", 137)),
        "p | 0/1 | ExitCode:137 | 0 | 10m | <none> | <none> | <none> | <none>",
    );
    let mut deleted = pod(&spec, &json!({"phase": "Running"}));
    deleted["metadata"]["deletionTimestamp"] = NOW.into();
    check("", "pods", deleted, "p | 0/1 | Terminating | 0 | 10m | <none> | <none> | <none> | <none>");
    check(
        "",
        "pods",
        pod(&spec, &json!({"phase": "Failed", "reason": "Evicted"})),
        "p | 0/1 | Evicted | 0 | 10m | <none> | <none> | <none> | <none>",
    );
}

#[test]
fn nodes() {
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "a": "b"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1"}}});
    check(
        "",
        "nodes",
        node,
        "n | Ready,SchedulingDisabled | control-plane | 10m | v1.36.0 | 10.1.1.1 | <none> | Debian | 6.1 | <unknown>",
    );
    check(
        "",
        "nodes",
        json!({"metadata": {"name": "n"}}),
        "n | Unknown | <none> | 10m |  | <none> | <none> | <unknown> | <unknown> | <unknown>",
    );
}

#[test]
fn services() {
    let service =
        |spec: Value, status: Value| json!({"metadata": {"name": "s"}, "spec": spec, "status": status});
    check(
        "",
        "services",
        service(
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1"], "selector": {"b": "2", "a": "1"},
            "ports": [{"port": 443, "protocol": "TCP"}, {"port": 80, "nodePort": 30080, "protocol": "TCP"}]}),
            json!({}),
        ),
        "s | ClusterIP | 10.96.0.1 | <none> | 443/TCP,80:30080/TCP | 10m | a=1,b=2",
    );
    check(
        "",
        "services",
        service(json!({"type": "LoadBalancer"}), json!({})),
        "s | LoadBalancer | <none> | <pending> | <none> | 10m | <none>",
    );
    check(
        "",
        "services",
        service(
            json!({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}),
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "h"}]}}),
        ),
        "s | LoadBalancer | <none> | 1.2.3.4,h,9.9.9.9 | <none> | 10m | <none>",
    );
    check(
        "",
        "services",
        service(json!({"type": "ExternalName", "externalName": "a.b"}), json!({})),
        "s | ExternalName | <none> | a.b | <none> | 10m | <none>",
    );
}

#[test]
fn an_address_shows_whose_it_is() {
    let of = |parent: Value| json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}});
    check(
        "networking.k8s.io",
        "ipaddresses",
        of(json!({"resource": "services", "namespace": "d", "name": "s"})),
        "10.0.0.1 | services/d/s | 10m",
    );
    check(
        "networking.k8s.io",
        "ipaddresses",
        of(json!({"group": "example.com", "resource": "gates", "name": "g"})),
        "10.0.0.1 | gates.example.com/g | 10m",
    );
}

#[test]
fn endpoints_beyond_three_are_counted() {
    let addresses: Vec<Value> = (1..=5).map(|n| json!({"ip": format!("10.0.0.{n}")})).collect();
    check(
        "",
        "endpoints",
        json!({"metadata": {"name": "e"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}),
        "e | 10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more... | 10m",
    );
    check("", "endpoints", json!({"metadata": {"name": "e"}}), "e | <none> | 10m");
}

#[test]
fn workloads() {
    let template =
        json!({"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}});
    let selector = json!({"matchLabels": {"app": "x"}, "matchExpressions": [
        {"key": "t", "operator": "In", "values": ["2", "1"]}, {"key": "z", "operator": "DoesNotExist"}]});
    check(
        "apps",
        "deployments",
        json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "selector": selector, "template": template},
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
        "d | 1/3 | 2 | 1 | 10m | a,b | i:1,j | app=x,t in (1,2),!z",
    );
    check(
        "apps",
        "replicasets",
        json!({"metadata": {"name": "r"}, "spec": {"replicas": 3, "selector": {}, "template": template}, "status": {"replicas": 2}}),
        "r | 3 | 2 | 0 | 10m | a,b | i:1,j | <none>",
    );
    check(
        "",
        "replicationcontrollers",
        json!({"metadata": {"name": "r"}, "spec": {"replicas": 0, "selector": {"app": "x"}}, "status": {}}),
        "r | 0 | 0 | 0 | 10m |  |  | app=x",
    );
    check(
        "batch",
        "jobs",
        json!({"metadata": {"name": "j"}, "spec": {"completions": 1, "template": template},
            "status": {"succeeded": 1, "startTime": CREATED, "completionTime": "2026-01-01T00:00:05Z",
                "conditions": [{"type": "Complete", "status": "True"}]}}),
        "j | Complete | 1/1 | 5s | 10m | a,b | i:1,j | <none>",
    );
}

#[test]
fn plain_kinds() {
    check(
        "",
        "namespaces",
        json!({"metadata": {"name": "n"}, "status": {"phase": "Active"}}),
        "n | Active | 10m",
    );
    check(
        "",
        "configmaps",
        json!({"metadata": {"name": "c"}, "data": {"a": "1"}, "binaryData": {"b": ""}}),
        "c | 2 | 10m",
    );
    check(
        "",
        "secrets",
        json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"a": "MQ=="}}),
        "s | Opaque | 1 | 10m",
    );
    check("", "serviceaccounts", json!({"metadata": {"name": "s"}}), "s | 0 | 10m");
    check(
        "rbac.authorization.k8s.io",
        "roles",
        json!({"metadata": {"name": "r"}}),
        "r | 2026-01-01T00:00:00Z",
    );
    check("resource.k8s.io", "deviceclasses", json!({"metadata": {"name": "r"}}), "r | 10m");
    check(
        "rbac.authorization.k8s.io",
        "rolebindings",
        json!({"metadata": {"name": "r"}, "roleRef": {"kind": "Role", "name": "x"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        "r | Role/x | 10m | u |  | n/s",
    );
}

#[test]
fn claims() {
    check(
        "",
        "persistentvolumeclaims",
        json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v", "storageClassName": "fast", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}),
        "c | Bound | v | 1Gi | RWO,RWX | fast | <unset> | 10m | Filesystem",
    );
}

#[test]
fn events_of_both_groups() {
    let row = "5m | Normal | Pulled | pod/p | spec.containers{a} | kubelet, n1 | hello | 6m | 3 | e";
    check(
        "",
        "events",
        json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "message": "hello\n", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": "2026-01-01T00:04:00Z", "lastTimestamp": "2026-01-01T00:05:00Z"}),
        row,
    );
    check(
        "events.k8s.io",
        "events",
        json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "note": "hello", "deprecatedCount": 3,
            "regarding": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "reportingController": "kubelet", "reportingInstance": "n1", "eventTime": "2026-01-01T00:04:00.000000Z",
            "deprecatedLastTimestamp": "2026-01-01T00:05:00Z"}),
        row,
    );
}

#[test]
fn unknown_times_and_odd_values_do_not_break_a_row() {
    let resource = crate::builtin().find("", "v1", "pods").expect("built in");
    let object = Object::from_value(json!({"metadata": 3, "spec": [], "status": {"containerStatuses": "x"}}))
        .expect("an object");
    let row = resource.printer.cells(&object, NOW.parse().expect("a time"));
    assert_eq!(row[4], "<unknown>");
}

#[test]
fn budgets_policies_and_quotas() {
    check(
        "policy",
        "poddisruptionbudgets",
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 2}, "status": {"disruptionsAllowed": 1}}),
        "b | 2 | N/A | 1 | 10m",
    );
    check(
        "networking.k8s.io",
        "networkpolicies",
        json!({"metadata": {"name": "n"}, "spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
        "n | a=b | 10m",
    );
    check(
        "",
        "resourcequotas",
        json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}}),
        "q | pods: 1/5 | limits.cpu: 0/2 | 10m",
    );
    check(
        "certificates.k8s.io",
        "certificatesigningrequests",
        json!({"metadata": {"name": "c"}, "spec": {"signerName": "s", "username": "u", "expirationSeconds": 86400},
            "status": {"certificate": "Yg==", "conditions": [{"type": "Approved"}]}}),
        "c | 10m | s | u | 24h | Approved,Issued",
    );
}

#[test]
fn autoscalers_of_both_versions() {
    let target = json!({"kind": "Deployment", "name": "d"});
    check(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}},
            {"type": "Pods", "pods": {"target": {"averageValue": "1k"}}},
            {"type": "External", "external": {"target": {"value": "30"}}}]},
            "status": {"currentReplicas": 2, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 20}}}]}}),
        "h | Deployment/d | cpu: 20%/50%, <unknown>/1k + 1 more... | <unset> | 3 | 2 | 10m",
    );
    check(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 50}}),
        "h | Deployment/d | cpu: <unknown>/50% | 1 | 3 | 0 | 10m",
    );
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    let now = NOW.parse().expect("a time");
    for resource in crate::builtin().rows() {
        for object in [json!({}), json!({"metadata": [], "spec": 3, "status": {"conditions": {"a": null}}})] {
            let object = Object::from_value(object).expect("an object");
            assert_eq!(
                resource.printer.cells(&object, now).len(),
                resource.printer.heads().len(),
                "{}",
                resource.kind
            );
        }
    }
}
