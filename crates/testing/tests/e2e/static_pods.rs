//! Pods that a folder of manifests asks for: they run and stay whatever happens to their objects in the API.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use testing::{Cluster, Shell};

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w148_a_node_runs_the_manifests_of_its_folder", w148)];

/// The cluster's folder of manifests, emptied when the row ends.
struct Folder(PathBuf);

impl Folder {
    fn of(cluster: &Cluster) -> Self {
        let folder = PathBuf::from("/etc/knarr/manifests").join(cluster.name());
        assert!(folder.is_dir(), "{} is made by the node", folder.display());
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a manifest");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn manifest(namespace: &str, script: &str) -> String {
    let mut pod = pod("web", &format!("{script}; {STAY}"));
    pod["metadata"]["namespace"] = namespace.into();
    pod.to_string()
}

/// The running container's id, once the pod is ready.
fn container(sh: &Shell, pod: &str) -> String {
    sh.ok(&format!("kubectl wait --for=create pod/{pod} --timeout=60s"));
    sh.ok(&format!("kubectl wait --for=condition=Ready pod/{pod} --timeout=60s"));
    sh.ok(&format!("kubectl get pod {pod} -o jsonpath='{{.status.containerStatuses[0].containerID}}'"))
}

fn w148(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("stat", 1);
    let folder = Folder::of(&cluster);
    folder.write("bad.yaml", "kind: Pod\nmetadata: [");
    folder.write("web.json", &manifest("default", "echo one"));
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let name = format!("web-{node}");
    let first = container(&sh, &name);
    let mirror: Value =
        serde_json::from_str(&sh.ok(&format!("kubectl get pod {name} -o json"))).expect("a pod");
    let annotations = &mirror["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
    assert_eq!(mirror["metadata"]["ownerReferences"][0]["kind"], "Node");
    assert_eq!(sh.ok(&format!("kubectl logs {name}")), "one\n");
    assert_eq!(sh.ok(&format!("kubectl exec {name} -- echo here")), "here\n");
    let told =
        sh.ok("kubectl get events --field-selector reason=FailedValidation -o jsonpath={.items[*].message}");
    assert!(told.contains("bad.yaml") && told.contains("line "), "{told}");

    // What is deleted is its object alone.
    let uid = mirror["metadata"]["uid"].as_str().expect("a uid");
    sh.ok(&format!("kubectl delete pod {name} --timeout=60s"));
    assert_eq!(container(&sh, &name), first);
    assert_ne!(sh.ok(&format!("kubectl get pod {name} -o jsonpath={{.metadata.uid}}")), uid);

    // An agent that was killed finds it again.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the cluster comes up again");
    assert_eq!(sh.ok(&format!("kubectl exec {name} -- echo here")), "here\n");
    assert_eq!(container(&sh, &name), first);

    // An edit makes another pod, whose object waits for its namespace.
    folder.write("web.json", &manifest("later", "echo two"));
    sh.ok(&format!("kubectl wait --for=delete pod/{name} --timeout=60s"));
    sh.ok("kubectl create namespace later");
    sh.ok(&format!("kubectl wait -n later --for=create pod/{name} --timeout=60s"));
    sh.ok(&format!("kubectl wait -n later --for=condition=Ready pod/{name} --timeout=60s"));
    assert_eq!(sh.ok(&format!("kubectl logs -n later {name}")), "two\n");

    fs::remove_file(folder.0.join("web.json")).expect("removed");
    sh.ok(&format!("kubectl wait -n later --for=delete pod/{name} --timeout=60s"));
    let left = cluster.knarr(&["crictl", "pods"]).expect("the list of pods");
    assert!(!left.contains(&name), "{left}");
}
