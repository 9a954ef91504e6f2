//! What may change of a pod: by a plain update, by its subresources, and of its status.

use super::*;

fn pod(spec: Value) -> Value {
    let mut whole = json!({"containers": [{"name": "a", "image": "i:1"}]});
    for (key, value) in spec.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    json!({"metadata": {"name": "p"}, "spec": whole})
}

fn part(new: &Value, old: &Value) -> Vec<String> {
    compared("pods", new, old, |row, new, old| row.logic.validate_part_update(new, old))
}

#[test]
fn a_gated_pod_only_narrows_where_it_runs() {
    let gated = |terms: Value| {
        let required = json!({"nodeSelectorTerms": terms});
        let node = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        pod(json!({"schedulingGates": [{"name": "g"}], "affinity": {"nodeAffinity": node}}))
    };
    let in_zone = |zone: &str| json!({"key": "zone", "operator": "In", "values": [zone]});
    let of_kind = json!({"key": "kind", "operator": "Exists"});
    let old = gated(json!([{"matchExpressions": [in_zone("a")]}]));
    assert_eq!(
        updated("pods", &gated(json!([{"matchExpressions": [in_zone("a"), of_kind]}])), &old),
        [""; 0]
    );
    let at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let other = json!([{"matchExpressions": [in_zone("b")]}]);
    assert_eq!(
        updated("pods", &gated(other.clone()), &old),
        [format!(
            "{at}[0]: Invalid value: {}: only additions are allowed (no mutations or deletions)",
            other[0]
        )]
    );
    let two = json!([{"matchExpressions": [in_zone("a")]}, {"matchExpressions": [of_kind]}]);
    assert_eq!(
        updated("pods", &gated(two.clone()), &old),
        [format!(
            "{at}: Invalid value: {two}: no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        )]
    );
    let bare = pod(json!({"schedulingGates": [{"name": "g"}]}));
    assert_eq!(updated("pods", &old, &bare), [""; 0]);
}

#[test]
fn profiles_of_old_annotations_stay() {
    let key = "container.apparmor.security.beta.kubernetes.io/a";
    let with = |annotations: Value| {
        let mut pod = pod(json!({}));
        pod["metadata"]["annotations"] = annotations;
        pod
    };
    let (plain, confined) = (with(json!({})), with(json!({ key: "runtime/default" })));
    assert_eq!(
        updated("pods", &plain, &confined),
        [format!("metadata.annotations[{key}]: Forbidden: may not remove or update AppArmor annotations")]
    );
    assert_eq!(
        updated("pods", &confined, &plain),
        [format!("metadata.annotations[{key}]: Forbidden: may not add AppArmor annotations")]
    );
}

#[test]
fn only_processor_and_memory_are_resized() {
    let with = |more: Value, resources: Value, init: Value| {
        let mut spec = json!({
            "containers": [{"name": "a", "image": "i:1", "resources": resources}],
            "initContainers": [{"name": "i", "image": "i:1", "resources": init}],
        });
        for (key, value) in more.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        pod(spec)
    };
    let one = json!({"requests": {"cpu": "1"}});
    let old = with(json!({}), one.clone(), json!({}));
    assert_eq!(part(&with(json!({}), json!({"requests": {"cpu": "2"}}), json!({})), &old), [""; 0]);
    assert_eq!(
        part(
            &with(json!({}), json!({"requests": {"cpu": "1", "ephemeral-storage": "1Gi"}}), json!({})),
            &old
        ),
        ["spec: Forbidden: only cpu and memory resources are mutable"]
    );
    assert_eq!(
        part(&with(json!({}), one.clone(), json!({"requests": {"cpu": "1"}})), &old),
        ["spec: Forbidden: resources for non-sidecar init containers are immutable"]
    );
    let both = json!({"requests": {"cpu": "1", "memory": "1Gi"}});
    assert_eq!(
        part(&old, &with(json!({}), both, json!({}))),
        ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]
    );
    let windows = json!({"os": {"name": "windows"}});
    assert_eq!(
        part(
            &with(windows.clone(), json!({"requests": {"cpu": "2"}}), json!({})),
            &with(windows, one.clone(), json!({}))
        ),
        [": Forbidden: windows pods cannot be resized"]
    );
    let mut running = old.clone();
    running["status"] = json!({"containerStatuses": [{"name": "a", "state": {"running": {}}}]});
    let mut resized = with(json!({}), json!({"requests": {"cpu": "2"}}), json!({}));
    resized["status"] = running["status"].clone();
    assert_eq!(part(&resized, &running), ["spec: Forbidden: Pod running on node without support for resize"]);
}

#[test]
fn what_a_pod_has_as_a_whole_is_resized_and_not_taken_away() {
    let with = |whole: Value| {
        let mut spec = json!({"containers": [{"name": "a", "image": "i:1"}]});
        if !whole.is_null() {
            spec["resources"] = whole;
        }
        pod(spec)
    };
    let old = with(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}));
    let changed = |whole: Value| part(&with(whole), &old);
    let more = json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "3", "memory": "2Gi"}});
    assert_eq!(changed(more), [""; 0]);
    let lost = "spec.resources: Forbidden: pod-level resources cannot be removed";
    assert!(changed(Value::Null).contains(&lost.to_owned()));
    assert_eq!(
        changed(json!({"requests": {"cpu": "1"}})),
        [
            "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed",
            "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed",
        ]
    );
    let pages = json!({"cpu": "2", "hugepages-2Mi": "2Mi"});
    let huge = json!({"requests": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "2Mi"}, "limits": pages});
    assert_eq!(changed(huge), ["spec: Forbidden: only cpu and memory resources are mutable at pod-level"]);
    let burstable = |whole: Value| {
        let mut pod = with(whole);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
        pod
    };
    let given = burstable(json!({"requests": {"cpu": "1"}}));
    assert_eq!(part(&given, &burstable(Value::Null)), [""; 0], "it had none as a whole");
}

#[test]
fn a_status_speaks_of_what_the_pod_has() {
    let with = |status: Value| {
        let mut pod =
            pod(json!({"nodeName": "n", "resourceClaims": [{"name": "c", "resourceClaimName": "x"}]}));
        pod["status"] = status;
        pod
    };
    let said = |status: Value| status_updated("pods", &with(status), &with(json!({})));
    assert_eq!(
        said(json!({"conditions": [{"type": "a b", "observedGeneration": -1}], "nominatedNodeName": "m",
            "observedGeneration": -1}))[2..],
        [
            "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
            "status.observedGeneration: Invalid value: -1: must be a non-negative integer",
        ]
    );
    assert_eq!(
        said(json!({"resourceClaimStatuses": [{"name": "d"}]})),
        [
            "status.resourceClaimStatuses[0].name: Invalid value: \"d\": must match the name of an entry in `spec.resourceClaims`"
        ]
    );
    let health = json!({"name": "example.com/gpu", "resources": [{"resourceID": "1", "health": "Fine"}]});
    assert_eq!(
        said(json!({"containerStatuses": [{"name": "a", "allocatedResourcesStatus": [health],
            "user": {"linux": {"uid": -1, "gid": 0}}}]})),
        [
            "status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 4294967295, inclusive",
            "status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: \"example.com/gpu\": must match one of the container's resource requests",
            "status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: \"Fine\": supported values: \"Healthy\", \"Unhealthy\", \"Unknown\"",
        ]
    );
}

#[test]
fn a_rule_of_its_own_starts_a_container_again() {
    let with = |state: Value, action: &str| {
        let rule = json!({"action": action, "exitCodes": {"operator": "In", "values": [3]}});
        let mut pod = pod(json!({"restartPolicy": "Always", "containers": [{"name": "a", "image": "i:1",
            "restartPolicy": "Never", "restartPolicyRules": [rule]}]}));
        pod["status"] = json!({"containerStatuses": [{"name": "a", "state": state}]});
        pod
    };
    let said = |code: i64, action: &str| {
        let (running, ended) = (json!({"running": {}}), json!({"terminated": {"exitCode": code}}));
        status_updated("pods", &with(running, action), &with(ended, action))
    };
    assert_eq!(said(3, "Restart"), [""; 0]);
    assert_eq!(said(4, "RestartAllContainers"), [""; 0], "any container may be started again by another");
    assert_eq!(
        said(4, "Restart"),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
}
