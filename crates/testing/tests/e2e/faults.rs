//! What must not hurt: processes killed one by one, registries that misbehave, a disk that is full.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::manifests::{STAY, container, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("f001_a_killed_container_restarts_in_its_sandbox", killed_container),
    ("f002_a_killed_pause_process_costs_a_new_sandbox", killed_pause),
    ("f003_a_killed_shim_costs_a_new_sandbox_and_leaves_nothing_running", killed_shim),
    ("f004_a_registry_that_stalls_or_talks_nonsense_holds_up_nobody_else", bad_registries),
    ("f005_a_full_disk_costs_no_data", full_disk),
    ("f007_rollouts_end_though_the_server_is_killed", killed_rollouts),
];

/// Two containers that share a folder, and note in it when they start.
fn noting(name: &str) -> String {
    let mut pod = pod(name, &format!("echo main >> /notes/starts; {STAY}"));
    let side = container("side", &format!("echo side >> /notes/starts; {STAY}"));
    pod["spec"]["containers"].as_array_mut().expect("containers").push(side);
    pod["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    for index in [0, 1] {
        pod["spec"]["containers"][index]["volumeMounts"] = json!([{"name": "notes", "mountPath": "/notes"}]);
    }
    pod.to_string()
}

const RESTARTS: &str = "jsonpath='{range .status.containerStatuses[*]}{.name}={.restartCount} {end}'";
const LAST: &str = "jsonpath='{range .status.containerStatuses[*]}{.lastState.terminated.exitCode} {.lastState.terminated.reason} {end}'";

impl Scene {
    /// The pod's shim and what the shim started: (process id, command name).
    fn processes(&self, pod: &str) -> (String, Vec<(String, String)>) {
        let pods = self.cluster().knarr(&["crictl", "pods"]).expect("the list of pods");
        let line = pods.lines().find(|line| {
            line.contains(" Ready ") && line.contains(&format!(" {pod} ")) && line.contains(&self.namespace)
        });
        let line = line.unwrap_or_else(|| panic!("{pod} is not in\n{pods}"));
        let id = line.split_whitespace().next().expect("an id");
        let sh = &self.shell;
        let shim = sh.ok(&format!("pgrep -f -o 'knarr shim {id}'")).trim().to_owned();
        let children = sh.ok(&format!("ps --ppid {shim} -o pid=,comm="));
        let parts = |line: &str| {
            let (pid, name) = line.trim().split_once(' ')?;
            Some((pid.to_owned(), name.to_owned()))
        };
        (shim, children.lines().filter_map(parts).collect())
    }

    fn ready_again(&self, name: &str, restarts: &str) {
        let sh = &self.shell;
        for count in restarts.split_whitespace() {
            let (container, count) = count.split_once('=').expect("a name and a count");
            sh.ok(&format!("kubectl wait pod/{name} --for=jsonpath='{{.status.containerStatuses[?(@.name==\"{container}\")].restartCount}}'={count} --timeout=60s"));
        }
        sh.ok(&format!("kubectl wait --for=condition=Ready pod/{name} --timeout=60s"));
        assert_eq!(sh.ok(&format!("kubectl get pod {name} -o {RESTARTS}")).trim(), restarts);
    }
}

fn killed_container(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&noting("hit"));
    sh.ok("kubectl wait --for=condition=Ready pod/hit --timeout=60s");
    let address = sh.ok("kubectl get pod hit -o jsonpath={.status.podIP}");
    // The pause process is the first thing a shim starts, its containers follow in their order.
    let (_, children) = scene.processes("hit");
    let (pid, _) = children.iter().find(|(_, name)| name != "pause").expect("a container's process");
    let note = sh.ok(&format!("tr '\\0' '\\n' < /proc/{pid}/cmdline"));
    let hit = if note.contains("echo main") { "main" } else { "side" };
    sh.ok(&format!("kill -9 {pid}"));
    let restarts = if hit == "main" { "main=1 side=0" } else { "main=0 side=1" };
    scene.ready_again("hit", restarts);
    let last = sh.ok(&format!("kubectl get pod hit -o {LAST}"));
    assert_eq!(last.trim(), "137 Error");
    assert_eq!(sh.ok("kubectl get pod hit -o jsonpath={.status.podIP}"), address, "the sandbox stays");
    assert_eq!(sh.ok(&format!("kubectl exec hit -- grep -c {hit} /notes/starts")), "2\n");
}

fn killed_pause(scene: &Scene) {
    let sh = &scene.shell;
    let mut events = sh.start(
        "kubectl get events -w --no-headers -o custom-columns=N:.involvedObject.name,R:.reason,M:.message",
    );
    sh.apply(&noting("lost"));
    sh.ok("kubectl wait --for=condition=Ready pod/lost --timeout=60s");
    let (old, children) = scene.processes("lost");
    let (pid, _) = children.iter().find(|(_, name)| name == "pause").expect("a pause process");
    sh.ok(&format!("kill -9 {pid}"));
    events.wait_until("SandboxChanged", |line| {
        line.starts_with("lost")
            && line.contains("SandboxChanged")
            && line.contains("Pod sandbox changed, it will be killed and re-created.")
    });
    scene.ready_again("lost", "main=1 side=1");
    assert_eq!(sh.ok("kubectl exec lost -- wc -l /notes/starts"), "4 /notes/starts\n", "volumes stay");
    assert_ne!(scene.processes("lost").0, old, "a new shim");
    sh.ok("kubectl delete pod lost");
}

fn killed_shim(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&noting("orphan"));
    sh.ok("kubectl wait --for=condition=Ready pod/orphan --timeout=60s");
    let (shim, children) = scene.processes("orphan");
    sh.ok(&format!("kill -9 {shim}"));
    scene.ready_again("orphan", "main=1 side=1");
    assert_eq!(sh.ok(&format!("kubectl get pod orphan -o {LAST}")).trim(), "137 Error 137 Error");
    for (pid, name) in &children {
        assert!(!runs(pid), "{name} still runs as {pid}");
    }
    assert_eq!(sh.ok("kubectl exec orphan -- wc -l /notes/starts"), "4 /notes/starts\n");
    sh.ok("kubectl delete pod orphan");
}

/// Whether a process runs. One that has ended and waits for its new parent's notice does not.
fn runs(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name is in brackets and may hold any character (proc_pid_stat(5)).
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Serves every connection with `answer`, for as long as the test's process runs; the address.
fn serve(answer: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Takes a request and never answers.
fn stall(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn babble(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>");
}

fn bad_registries(scene: &Scene) {
    let sh = &scene.shell;
    let (stalling, babbling) = (serve(stall), serve(babble));
    let with_image = |name: &str, image: &str| {
        let mut pod = pod(name, STAY);
        pod["spec"]["containers"][0]["image"] = image.into();
        pod.to_string()
    };
    sh.apply(&format!(
        "{}\n{}\n{}",
        with_image("stalled", &format!("{stalling}/app:1")),
        with_image("fooled", &format!("{babbling}/app:1")),
        pod("fine", STAY)
    ));
    sh.ok("kubectl wait --for=condition=Ready pod/fine --timeout=60s");
    let waiting = "{.status.containerStatuses[0].state.waiting.reason}";
    sh.ok(&format!("kubectl wait pod/fooled --for=jsonpath='{waiting}'=ImagePullBackOff --timeout=60s"));
    let why =
        sh.ok("kubectl get pod fooled -o jsonpath={.status.containerStatuses[0].state.waiting.message}");
    let start = format!("Back-off pulling image \"{babbling}/app:1\": ErrImagePull: ");
    assert!(why.starts_with(&start), "{why}");
    let events = sh.ok("kubectl events --for pod/fooled");
    assert!(events.contains(&format!("Failed to pull image \"{babbling}/app:1\": ")), "{events}");
    assert_eq!(sh.ok(&format!("kubectl get pod stalled -o jsonpath='{waiting}'")), "ContainerCreating");
    let events = sh.ok("kubectl events --for pod/stalled");
    assert!(events.contains(&format!("Pulling image \"{stalling}/app:1\"")), "{events}");
    let started = Instant::now();
    sh.ok("kubectl delete pod stalled fooled");
    assert!(started.elapsed() < Duration::from_secs(20), "a pull under way holds no deletion up");
}

/// A small file system, gone with the test.
struct SmallDisk<'a> {
    scene: &'a Scene,
    name: &'a str,
    dir: PathBuf,
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let (name, dir) = (self.name, self.dir.display());
        let line = format!("knarr down --name {name}; umount -l {dir}; rmdir {dir}");
        self.scene.shell.run(&line);
    }
}

fn full_disk(scene: &Scene) {
    let sh = &scene.shell;
    let name = format!("full-{}", scene.cluster().fixtures.tag);
    let disk = SmallDisk { scene, name: &name, dir: sh.dir().join("small") };
    let dir = disk.dir.display();
    sh.ok(&format!("mkdir {dir} && mount -t tmpfs -o size=96m tmpfs {dir}"));
    // A node whose disk is full ends pods, which is another matter.
    let keep = "'--eviction-hard=memory.available<100Mi'";
    let up = format!("knarr up --no-kubeconfig --name {name} --data-dir {dir} {keep}");
    sh.ok(&up);
    let archive = scene.cluster().fixtures.images.iter().find(|path| path.ends_with("busybox.tar"));
    let archive = archive.expect("the archive of busybox").display();
    sh.ok(&format!("knarr image import --name {name} {archive}"));
    // Everything from here on is typed against the small cluster.
    sh.ok(&format!("cp /etc/knarr/{name}.kubeconfig kubeconfig"));
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    sh.apply(&pod("steady", "i=0; while :; do i=$((i+1)); echo tick $i; sleep 1; done").to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/steady --timeout=60s");
    sh.ok("kubectl create configmap before --from-literal=a=b");
    sh.run(&format!("dd if=/dev/zero of={dir}/fill bs=64k"));
    // What the store kept in reserve may take a few small writes more.
    let refused = (0..200)
        .map(|n| {
            sh.run(&format!(
                "kubectl create configmap late-{n} --from-literal=a=$(head -c 20000 /dev/zero | tr '\\0' x)"
            ))
        })
        .find(|said| said.code != 0);
    let refused = refused.expect("a write to a full disk fails");
    assert!(refused.err.contains("No space left on device"), "{}", refused.told("says why"));
    assert_eq!(sh.ok("kubectl get configmap before -o jsonpath={.data.a}"), "b", "reading goes on");
    assert!(sh.ok("kubectl get pod steady").contains("Running"));
    let import = sh.fails(&format!("knarr image import --name {name} {archive}"));
    assert!(import.contains("No space left on device"), "{import}");
    let pid =
        sh.ok(&format!("knarr status --name {name} | sed -n 's/.*server process \\([0-9]*\\).*/\\1/p'"));
    sh.ok(&format!("kill -9 {pid} && timeout 30 tail --pid={} -f /dev/null", pid.trim()).replace('\n', ""));
    sh.ok(&format!("rm {dir}/fill"));
    sh.ok(&up);
    sh.ok("kubectl create configmap after --from-literal=a=b");
    assert_eq!(sh.ok("kubectl get configmap before after -o name"), "configmap/before\nconfigmap/after\n");
    sh.ok("kubectl wait --for=condition=Ready pod/steady --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod steady -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    sh.start("kubectl logs -f steady --tail=1").wait_for("tick");
    sh.ok(&format!("knarr down --name {name}"));
    assert!(disk.dir.join("cluster.json").exists(), "down leaves the data, and the disk it is on");
}

/// A set, a daemon and a Deployment of one version; the set's pods note in their volume when they start.
fn three_workloads() -> String {
    let script = format!("echo start >> /data/starts; {STAY}");
    let [mut set, mut daemon, mut plain] =
        [("StatefulSet", "set", 3), ("DaemonSet", "daemon", 1), ("Deployment", "plain", 4)].map(
            |(kind, name, replicas)| {
                let mut made = replicated("apps/v1", kind, name, replicas);
                let mut main = container("main", if kind == "StatefulSet" { &script } else { STAY });
                main["env"] = json!([{"name": "VERSION", "value": "1"}]);
                made["spec"]["template"]["spec"]["containers"] = json!([main]);
                made
            },
        );
    set["spec"]["serviceName"] = "set".into();
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }]);
    daemon["spec"].as_object_mut().expect("an object").remove("replicas");
    plain["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    [set, daemon, plain].map(|made| made.to_string()).join("\n")
}

/// Wherever the server dies in the middle of rollouts, no pod is there twice, none is forgotten, no data is lost.
fn killed_rollouts(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("rolls", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    sh.apply(&three_workloads());
    let all = ["statefulset/set", "daemonset/daemon", "deployment/plain"];
    let rolled_out = || {
        for one in all {
            sh.ok(&format!("kubectl rollout status {one} --timeout=120s"));
        }
    };
    rolled_out();
    sh.ok(&format!("kubectl set env {} VERSION=2", all.join(" ")));
    for new in ["app=plain", "app=set", "app=set"] {
        let path = "{.object.metadata.name}={.object.spec.containers[0].env[0].value}{\"\\n\"}";
        let mut watch = sh.start(&format!(
            "kubectl get pods -l {new} --watch-only --output-watch-events -o jsonpath='{path}'"
        ));
        watch.wait_until("a pod of the new version", |line| line.trim().ends_with("=2"));
        drop(watch);
        let pid = cluster.server_pid().expect("the server's process");
        sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
        cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server again");
    }
    rolled_out();
    // Pods of the version before may be on their way.
    sh.ok("timeout 60 bash -c 'until [ $(kubectl get pods -o name | wc -l) = 8 ]; do sleep 0.2; done'");
    let versions = sh.ok("kubectl get pods -o jsonpath='{.items[*].spec.containers[0].env[0].value}'");
    assert_eq!(versions, "2 2 2 2 2 2 2 2");
    assert_eq!(
        sh.ok("kubectl get pods -l app=set -o jsonpath='{.items[*].metadata.name}'"),
        "set-0 set-1 set-2"
    );
    for number in 0..3 {
        let starts = sh.ok(&format!("kubectl exec set-{number} -- grep -c start /data/starts"));
        assert_eq!(starts, "2\n", "set-{number} began once in each version, with its data");
    }
    assert_eq!(sh.ok("kubectl get pvc -o name").lines().count(), 3);
    assert_eq!(sh.ok("kubectl get pv -o name").lines().count(), 3);
    assert_eq!(sh.ok("kubectl get controllerrevisions -o name").lines().count(), 4);
    assert_eq!(sh.ok("kubectl get replicasets -o name").lines().count(), 2);
    // A container that was made and not started when the server died is made again, as upstream: it counts as a restart.
    let restarts =
        sh.ok("kubectl get pods -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'");
    let restarts: u32 = restarts.split(' ').map(|count| count.parse::<u32>().expect("a number")).sum();
    assert!(restarts <= 3, "{restarts} restarts for three cut off starts");
    cluster.take_down().expect("the cluster goes");
}
