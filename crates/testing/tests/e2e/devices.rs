//! ResourceClaims on nodes that are objects alone: claims are made, allocated, reserved, freed and deleted. No machine
//! runs the pods that are bound.

use serde_json::{Value, json};
use testing::Shell;

use crate::profiles::node;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w122d_claims_get_devices_where_there_are_some_and_give_them_back", w122d)];

const API: &str = "resource.k8s.io/v1";

fn slice(sh: &Shell, node: &str, model: &str) {
    let device = json!({"name": "d0", "attributes": {"model": {"string": model}}});
    let slice = json!({"apiVersion": API, "kind": "ResourceSlice", "metadata": {"name": node}, "spec": {
        "driver": "d.example.com", "nodeName": node, "devices": [device],
        "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}});
    sh.apply(&slice.to_string());
}

fn spec(model: &str) -> Value {
    let expression = format!("device.attributes['d.example.com'].model == '{model}'");
    json!({"devices": {"requests": [{"name": "r", "exactly":
        {"deviceClassName": "all", "selectors": [{"cel": {"expression": expression}}]}}]}})
}

fn pod(sh: &Shell, name: &str, claim: &Value) {
    let mut entry = claim.clone();
    entry["name"] = "dev".into();
    let container = json!({"name": "c", "image": "x", "resources": {"claims": [{"name": "dev"}]}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "tolerations": [{"operator": "Exists"}], "containers": [container], "resourceClaims": [entry]}});
    sh.apply(&pod.to_string());
}

/// Waits until a command prints this.
fn until(sh: &Shell, command: &str, expected: &str) {
    sh.ok(&format!("until [ \"$({command} 2>/dev/null)\" = '{expected}' ]; do :; done"));
}

fn node_of(sh: &Shell, pod: &str, expected: &str) {
    until(sh, &format!("kubectl get pod {pod} -o jsonpath='{{.spec.nodeName}}'"), expected);
}

fn w122d(scene: &Scene) {
    let (_cluster, sh) = scene.own_cluster("devi", 0);
    node(&sh, "one");
    node(&sh, "two");
    sh.apply(&json!({"apiVersion": API, "kind": "DeviceClass", "metadata": {"name": "all"}, "spec": {"selectors": [
        {"cel": {"expression": "device.driver == 'd.example.com'"}}]}}).to_string());
    let template = json!({"apiVersion": API, "kind": "ResourceClaimTemplate", "metadata": {"name": "fast"},
        "spec": {"metadata": {"labels": {"app": "x"}}, "spec": spec("fast")}});
    sh.apply(&template.to_string());
    slice(&sh, "one", "slow");
    slice(&sh, "two", "fast");

    let made = json!({"resourceClaimTemplateName": "fast"});
    pod(&sh, "first", &made);
    node_of(&sh, "first", "two");
    let of = |path: &str| format!("kubectl get resourceclaims -l app=x -o jsonpath='{{.items[*]{path}}}'");
    let device = ".status.allocation.devices.results[0]";
    until(&sh, &of(&format!("{device}.device")), "d0");
    until(&sh, &of(".status.reservedFor[0].name"), "first");
    until(&sh, &of(".metadata.finalizers[0]"), "resource.kubernetes.io/delete-protection");
    let told = "kubectl get pod first -o jsonpath='{.status.resourceClaimStatuses[0].name}'";
    until(&sh, told, "dev");

    // The only fast device is taken; once it is free, it is had by who waits for it.
    pod(&sh, "second", &made);
    let why = "kubectl get pod second -o jsonpath='{.status.conditions[0].message}'";
    let refused = "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: \
                   2 Preemption is not helpful for scheduling.";
    until(&sh, why, refused);
    sh.ok("kubectl delete pod first --grace-period=0 --force --wait=false");
    node_of(&sh, "second", "two");
    until(&sh, &of(".metadata.ownerReferences[0].name"), "second");

    // A claim of the user's own stays, without devices, and a claim in use does not go.
    pod(&sh, "third", &json!({"resourceClaimName": "own"}));
    sh.apply(&json!({"apiVersion": API, "kind": "ResourceClaim", "metadata": {"name": "own"}, "spec": spec("slow")}).to_string());
    node_of(&sh, "third", "one");
    sh.ok("kubectl delete pod third --grace-period=0 --force --wait=false");
    let state = "kubectl get resourceclaim own -o jsonpath='{.status.allocation}{.metadata.finalizers}{.metadata.name}'";
    until(&sh, state, "own");
    sh.ok("kubectl delete resourceclaim own");
}
