//! Volumes of drivers (CSI): W093. The driver runs in the test's process; what an external attacher does is done by a
//! script.

use std::path::PathBuf;
use std::thread;

use csi::testing::{Behaviour, Driver};
use csi::v1::node_service_capability::rpc::Type as Capability;
use serde_json::{Value, json};
use testing::{Cluster, Shell};

use crate::manifests::{STAY, container, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w093_a_drivers_volumes_are_attached_mounted_kept_and_let_go", driver),
    ("w093b_pods_find_the_node_agents_folder_where_drivers_expect_it", folder),
];

const NAME: &str = "test.knarr.dev";

/// Says of every attachment that it is attached, as the attacher of a driver does.
const ATTACHER: &str = "bash -c 'while true; do kubectl get volumeattachments -w -o name 2>/dev/null | while read it; do \
    kubectl patch $it --subresource=status --type=merge \
    -p \"{\\\"status\\\":{\\\"attached\\\":true,\\\"attachmentMetadata\\\":{\\\"port\\\":\\\"7\\\"}}}\" || true; \
    done; sleep 0.2; done'";

/// Where a cluster's first node has the folder of its agent.
fn root(cluster: &Cluster) -> PathBuf {
    cluster.data_dir().join("node0/kubelet")
}

fn serve(cluster: &Cluster) -> Driver {
    let root = root(cluster);
    let behaviour = Behaviour {
        name: NAME.into(),
        node_id: "node-7".into(),
        max_volumes: 5,
        topology: [("test.knarr.dev/rack".to_owned(), "r1".to_owned())].into(),
        capabilities: vec![Capability::StageUnstageVolume, Capability::SingleNodeMultiWriter],
        data: cluster.data_dir().join("driver"),
    };
    let driver = Driver::new(behaviour, root.join("plugins").join(NAME).join("csi.sock"));
    let serving = driver.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = root.join("plugins_registry").join(format!("{NAME}-reg.sock"));
        runtime.block_on(serving.serve(socket)).expect("served");
    });
    driver
}

fn objects() -> String {
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": NAME},
        "spec": {"podInfoOnMount": true, "fsGroupPolicy": "File", "volumeLifecycleModes": ["Persistent", "Ephemeral"]}});
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "claimRef": {"namespace": "default", "name": "data-db-0"},
            "csi": {"driver": NAME, "volumeHandle": "disk/1", "volumeAttributes": {"kind": "test"}}}});
    let mut main = container("main", &format!("echo here >> /data/file; {STAY}"));
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}},
                "spec": {"terminationGracePeriodSeconds": 1, "securityContext": {"fsGroup": 2000}, "containers": [main]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}}]}});
    [driver, volume, set].map(|object: Value| object.to_string()).join("\n")
}

fn ready(sh: &Shell, pod: &str) {
    sh.ok(&format!("kubectl wait --for=create pod/{pod} --timeout=60s"));
    sh.ok(&format!("kubectl wait --for=condition=Ready pod/{pod} --timeout=90s"));
}

fn events(sh: &Shell, of: &str) -> String {
    sh.ok(&format!(
        "kubectl get events --field-selector involvedObject.name={of} -o custom-columns=R:.reason,M:.message --no-headers"
    ))
}

fn driver(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("csi", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let driver = serve(&cluster);
    // The object is there before the driver is on it.
    sh.ok("timeout 30 bash -c 'until [ \"$(kubectl get csinode -o jsonpath={.items[0].spec.drivers[0].nodeID} 2>/dev/null)\" = node-7 ]; do sleep 0.2; done'");
    let said = sh.ok("kubectl get csinode -o jsonpath='{.items[0].spec.drivers[0].allocatable.count} \
         {.items[0].spec.drivers[0].topologyKeys}'");
    assert_eq!(said, "5 [\"test.knarr.dev/rack\"]");
    let labels = "kubectl get node -o jsonpath='{.items[0].metadata.labels.test\\.knarr\\.dev/rack} \
         {.items[0].metadata.annotations.csi\\.volume\\.kubernetes\\.io/nodeid}'";
    assert_eq!(sh.ok(labels), "r1 {\"test.knarr.dev\":\"node-7\"}");
    assert!(driver.told().is_some_and(|told| told.plugin_registered));
    // A volume is attached, staged and published.
    let attacher = sh.start(ATTACHER);
    driver.calls();
    sh.apply(&objects());
    ready(&sh, "db-0");
    assert_eq!(driver.calls(), ["stage disk/1", "publish disk/1"]);
    let told = driver.published().pop().expect("published");
    assert_eq!(told.publish_context["port"], "7");
    assert_eq!(
        (told.volume_context["kind"].as_str(), told.volume_context["csi.storage.k8s.io/pod.name"].as_str()),
        ("test", "db-0")
    );
    let succeeded = events(&sh, "db-0");
    assert!(succeeded.contains("SuccessfulAttachVolume"), "{succeeded}");
    let node = sh.ok("kubectl get node -o jsonpath='{.items[0].status.volumesInUse} {.items[0].status.volumesAttached[*].name}'");
    let unique = format!("kubernetes.io/csi/{NAME}^disk/1");
    assert_eq!(node, format!("[\"{unique}\"] {unique}"));
    assert_eq!(sh.ok("kubectl exec db-0 -- stat -c %g /data/file"), "2000\n");
    // The server is killed; the pod and its volume stay, and nothing is mounted twice.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("up again");
    sh.ok("kubectl wait --for=condition=Ready node --all --timeout=60s");
    ready(&sh, "db-0");
    assert_eq!(sh.ok("kubectl exec db-0 -- cat /data/file"), "here\n");
    assert_eq!(driver.calls(), ["info "], "it registered again");
    // The next pod has the data.
    sh.ok("kubectl delete pod db-0");
    ready(&sh, "db-0");
    assert_eq!(sh.ok("kubectl exec db-0 -- cat /data/file"), "here\nhere\n");
    inline(&sh, &driver);
    sh.ok("kubectl delete statefulset db");
    sh.ok("kubectl wait --for=delete pod/db-0 --timeout=60s");
    sh.ok(
        "timeout 60 bash -c 'until [ -z \"$(kubectl get volumeattachments -o name)\" ]; do sleep 0.2; done'",
    );
    let calls = driver.calls();
    assert!(calls.ends_with(&["unpublish disk/1".to_owned(), "unstage disk/1".to_owned()]), "{calls:?}");
    sh.ok("timeout 30 bash -c 'until [ -z \"$(kubectl get node -o jsonpath={.items[0].status.volumesAttached})\" ]; do sleep 0.2; done'");
    let mounts = format!(
        "grep -e kubernetes.io.csi -e globalmount /proc/self/mountinfo | grep {} || true",
        root(&cluster).display()
    );
    assert_eq!(sh.ok(&mounts), "");
    assert_eq!(
        sh.ok(&format!("find {} -ignore_readdir_race -name vol_data.json", root(&cluster).display())),
        ""
    );
    drop(attacher);
    cluster.take_down().expect("taken down");
}

/// A volume of a pod's own, and one of a driver that nobody knows.
fn inline(sh: &Shell, driver: &Driver) {
    driver.calls();
    let mut own = pod("own", &format!("echo mine > /data/file; {STAY}"));
    own["spec"]["volumes"] =
        json!([{"name": "data", "csi": {"driver": NAME, "volumeAttributes": {"size": "1"}}}]);
    own["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut other = pod("other", STAY);
    other["spec"]["volumes"] = json!([{"name": "data", "csi": {"driver": "nobody.knarr.dev"}}]);
    sh.apply(&format!("{own}\n{other}"));
    ready(sh, "own");
    let calls = driver.calls();
    assert!(calls.len() == 1 && calls[0].starts_with("publish csi-"), "{calls:?}");
    let told = driver.published().pop().expect("published");
    assert_eq!(told.volume_context["csi.storage.k8s.io/ephemeral"], "true");
    let text = r#"MountVolume.SetUp failed for volume "data" : volume mode "Ephemeral" not supported by driver nobody.knarr.dev (no CSIDriver object)"#;
    let line = format!(
        "timeout 30 bash -c 'until kubectl get events -o custom-columns=M:.message | grep -qF '\"'\"'{text}'\"'\"'; do sleep 0.2; done'"
    );
    sh.ok(&line);
    sh.ok("kubectl delete pod own other");
    let calls = driver.calls();
    assert!(calls.len() == 1 && calls[0].starts_with("unpublish csi-"), "{calls:?}");
}

/// What a driver's container mounts below the folder that its manifest names appears on the node.
fn folder(scene: &Scene) {
    let sh = &scene.shell;
    let script = format!(
        "mkdir -p /var/lib/kubelet/plugins/w093 && mount -t tmpfs w093 /var/lib/kubelet/plugins/w093 && touch /registry/w093.file; {STAY}"
    );
    let mut user = pod("user", &script);
    user["spec"]["volumes"] = json!([{"name": "plugins", "hostPath": {"path": "/var/lib/kubelet/plugins", "type": "Directory"}},
        {"name": "registry", "hostPath": {"path": "/var/lib/kubelet/plugins_registry/", "type": "DirectoryOrCreate"}}]);
    let main = &mut user["spec"]["containers"][0];
    main["securityContext"] = json!({"privileged": true});
    main["volumeMounts"] = json!([{"name": "plugins", "mountPath": "/var/lib/kubelet/plugins", "mountPropagation": "Bidirectional"},
        {"name": "registry", "mountPath": "/registry"}]);
    sh.apply(&user.to_string());
    ready(sh, "user");
    let root = root(scene.cluster());
    let mounted = format!(
        "timeout 30 bash -c 'until grep -q \"{}/plugins/w093 .* w093 \" /proc/self/mountinfo; do sleep 0.2; done'",
        root.display()
    );
    sh.ok(&mounted);
    sh.ok(&format!("test -f {}/plugins_registry/w093.file", root.display()));
    sh.ok("kubectl exec user -- umount /var/lib/kubelet/plugins/w093");
    sh.ok("kubectl delete pod user");
    sh.ok(&format!("rmdir {0}/plugins/w093 && rm {0}/plugins_registry/w093.file", root.display()));
}
