//! ResourceClaims. On nodes that are objects alone: claims are made, allocated, reserved, freed and deleted; no machine runs
//! the pods that are bound (w122d). On a node with a driver, which runs in the test's process, containers get devices (w122e).

use std::path::{Path, PathBuf};
use std::thread;

use csi::testing::devices::DeviceDriver;
use serde_json::{Value, json};
use testing::{Cluster, Shell};

use crate::manifests::STAY;
use crate::profiles::node;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w122d_claims_get_devices_where_there_are_some_and_give_them_back", w122d),
    ("w122e_containers_get_the_devices_of_their_claims", w122e),
];

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

const DRIVER: &str = "d.example.com";

/// The file by which the runtime knows the device; gone when dropped.
struct Description(PathBuf);

impl Description {
    /// `hooked` is a file that a hook makes.
    fn write(kind: &str, hooked: &Path) -> Self {
        let hook = json!({"hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", format!("cat > {}", hooked.display())]});
        let edits = json!({"env": ["KNARR_DEVICE=d0"], "hooks": [hook],
            "deviceNodes": [{"path": "/dev/knarr-null", "hostPath": "/dev/null"}],
            "mounts": [{"hostPath": "/proc/version", "containerPath": "/driver/version", "options": ["ro", "bind"]}]});
        let text = json!({"cdiVersion": "0.6.0", "kind": kind, "devices": [{"name": "d0", "containerEdits": edits}]});
        std::fs::create_dir_all("/var/run/cdi").expect("made");
        let path = PathBuf::from(format!("/var/run/cdi/{}.json", kind.replace('/', "-")));
        std::fs::write(&path, text.to_string()).expect("written");
        Self(path)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves a driver on the cluster's first node. Returns where the driver registers.
fn serve(cluster: &Cluster, device: &str) -> (DeviceDriver, PathBuf) {
    let root = cluster.data_dir().join("node0/kubelet");
    let driver = DeviceDriver::new(DRIVER, root.join("plugins").join(DRIVER).join("dra.sock"), &[device]);
    let (serving, socket) =
        (driver.clone(), root.join("plugins_registry").join(format!("{DRIVER}-reg.sock")));
    let registration = socket.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serving.serve(registration)).expect("served");
    });
    (driver, socket)
}

/// A pod that stays and has the claim `own`.
fn user(sh: &Shell, name: &str) {
    let container = json!({"name": "c", "image": "busybox:1.36", "command": ["sh", "-c", STAY],
        "resources": {"claims": [{"name": "dev"}]}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [container],
        "resourceClaims": [{"name": "dev", "resourceClaimName": "own"}]}});
    sh.apply(&pod.to_string());
}

fn w122e(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("devu", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let kind = format!("test{}.knarr.dev/device", std::process::id());
    let hooked = cluster.data_dir().join("hooked");
    let _description = Description::write(&kind, &hooked);
    let (driver, socket) = serve(&cluster, &format!("{kind}=d0"));
    sh.apply(
        &json!({"apiVersion": API, "kind": "DeviceClass", "metadata": {"name": "all"}, "spec": {}})
            .to_string(),
    );
    sh.apply(&json!({"apiVersion": API, "kind": "ResourceClaim", "metadata": {"name": "own"}, "spec": spec("fast")}).to_string());
    let here = sh.ok("kubectl get nodes -o jsonpath='{.items[0].metadata.name}'");
    sh.ok(&format!("timeout 30 bash -c 'until [ -S {} ]; do sleep 0.2; done'", socket.display()));
    slice(&sh, here.trim(), "fast");

    driver.refuse("warming up");
    user(&sh, "first");
    let why = "Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources failed for ResourceClaim \
               own: warming up";
    let told = "kubectl get events --field-selector reason=FailedPrepareDynamicResources -o jsonpath={.items[0].message}";
    sh.ok(&format!(
        "timeout 60 bash -c 'until [ \"$({told} 2>/dev/null)\" = \"{why}\" ]; do sleep 0.2; done'"
    ));
    driver.refuse("");
    sh.ok("kubectl wait --for=condition=Ready pod/first --timeout=120s");
    let seen = "kubectl exec first -- sh -c 'echo $KNARR_DEVICE; test -c /dev/knarr-null && echo x > /dev/knarr-null; cut -c-5 /driver/version'";
    assert_eq!(sh.ok(seen), "d0\nLinux\n");
    assert!(
        sh.ok(&format!("cat {}", hooked.display())).contains("\"bundle\""),
        "a hook is told the container's state"
    );
    driver.calls();

    user(&sh, "second");
    sh.ok("kubectl wait --for=condition=Ready pod/second --timeout=60s");
    assert!(driver.calls().is_empty(), "the claim is prepared already");
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok("kubectl delete pod second");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("up again");
    sh.ok("kubectl wait --for=condition=Ready node --all --timeout=60s");
    assert_eq!(sh.ok("kubectl exec first -- sh -c 'echo $KNARR_DEVICE'"), "d0\n");
    let metrics = format!("kubectl get --raw /api/v1/nodes/{}/proxy/metrics", here.trim());
    sh.ok("kubectl delete pod first");
    assert_eq!(driver.calls(), ["unprepare own"]);
    let counted =
        "dra_operations_duration_seconds_count{is_error=\"false\",operation_name=\"UnprepareResources\"} 1";
    let text = sh.ok(&metrics);
    assert!(text.contains(counted), "{text}");
    until(&sh, "kubectl get resourceclaim own -o jsonpath='{.status.allocation}{.metadata.name}'", "own");

    slice(&sh, here.trim(), "fast");
    std::fs::remove_file(&socket).expect("the driver goes");
    sh.ok("timeout 90 bash -c 'until [ -z \"$(kubectl get resourceslices -o name)\" ]; do sleep 0.5; done'");
}
