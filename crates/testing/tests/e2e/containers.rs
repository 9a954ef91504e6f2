//! Section B: what the containers of a pod share, and in what order they start: W027, W028, W034.

use serde_json::json;
use testing::Shell;

use crate::manifests::{STAY, container, once, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w027_containers_share_address_ipc_and_host_name", w027),
    ("w028_the_sandbox_holds_the_namespaces", w028),
    ("w034_init_containers_run_first_and_in_order", w034),
];

fn w027(scene: &Scene) {
    let sh = &scene.shell;
    let mut web = pod("web", "");
    web["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {"sizeLimit": "500Mi"}}]);
    let mut side = container("side", STAY);
    side["volumeMounts"] = json!([{"name": "cache", "mountPath": "/cache"}]);
    web["spec"]["containers"] = json!([
        {"name": "nginx", "image": "nginx:alpine", "ports": [{"containerPort": 80}],
         "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]},
        side
    ]);
    let mut tomcat = pod("tomcat", "");
    tomcat["spec"]["containers"] = json!([
        {"name": "nginx", "image": "nginx:alpine", "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 80}]},
        {"name": "tomcat", "image": "luksa/kubia", "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 8080}]}
    ]);
    let mut collected = pod("collected", "while :; do echo request >> /var/log/web.log; sleep 1; done");
    let collector = container("collector", "until tail -n +1 -f /var/log/web.log; do sleep 1; done");
    collected["spec"]["containers"].as_array_mut().expect("containers").push(collector);
    collected["spec"]["volumes"] = json!([{"name": "logs", "emptyDir": {}}]);
    for index in [0, 1] {
        collected["spec"]["containers"][index]["volumeMounts"] =
            json!([{"name": "logs", "mountPath": "/var/log"}]);
    }
    let mut clash = pod("clash", "exec httpd -f -p 80");
    clash["spec"]["containers"]
        .as_array_mut()
        .expect("containers")
        .push(container("too", "sleep 2; exec httpd -f -p 80"));
    sh.apply(&format!("{web}\n{tomcat}\n{collected}\n{clash}"));
    sh.ok("kubectl wait --for=condition=Ready pod/web --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod web -o jsonpath={.spec.containers[*].name}"), "nginx side");
    let page = sh.ok("kubectl exec web -c side -- wget -qO- http://127.0.0.1/");
    assert!(page.contains("Welcome to nginx!"), "{page}");
    let ip = sh.ok("kubectl get pod web -o jsonpath={.status.podIP}");
    for name in ["nginx", "side"] {
        assert_eq!(sh.ok(&format!("kubectl exec web -c {name} -- cat /proc/sys/kernel/hostname")), "web\n");
        let hosts = sh.ok(&format!("kubectl exec web -c {name} -- cat /etc/hosts"));
        assert!(hosts.contains(&format!("{ip}\tweb")), "{hosts}");
    }
    for (kind, shared) in [("net", true), ("ipc", true), ("uts", true), ("mnt", false), ("pid", false)] {
        let [a, b] = ["nginx", "side"]
            .map(|name| sh.ok(&format!("kubectl exec web -c {name} -- readlink /proc/1/ns/{kind}")));
        assert_eq!(a == b, shared, "{kind}: {a} {b}");
    }
    sh.ok("kubectl exec web -c nginx -- sh -c 'echo shared > /cache/file'");
    assert_eq!(sh.ok("kubectl exec web -c side -- cat /cache/file"), "shared\n");
    // An image of dynamic programs has all their libraries.
    assert!(sh.ok("kubectl exec web -c nginx -- ls -l /cache").contains(" file"));
    sh.ok("kubectl cp -c nginx web:/etc/nginx/nginx.conf nginx.conf && grep -q daemon nginx.conf");

    // Two servers in one pod, each on its port of the one address.
    sh.ok("kubectl wait --for=condition=Ready pod/tomcat pod/collected --timeout=60s");
    assert!(sh.ok("kubectl get pod tomcat --no-headers").contains(" 2/2 "));
    let ip = sh.ok("kubectl get pod tomcat -o jsonpath={.status.podIP}");
    assert!(sh.ok(&format!("curl -s http://{ip}:80")).contains("Welcome to nginx!"));
    assert!(sh.ok(&format!("curl -s http://{ip}:8080")).contains("You've hit tomcat"));
    let mut log = sh.start("kubectl logs -f collected -c collector");
    log.wait_for("request");
    log.wait_for("request");

    // The second server cannot have the port: its container ends, and is started again at least once. The first stays.
    sh.ok("kubectl wait pod/clash --for=jsonpath='{.status.containerStatuses[?(@.restartCount>0)].name}'=too --timeout=60s");
    let log = sh.ok("kubectl logs clash -c too -p");
    assert!(log.contains("Address already in use"), "{log}");
}

fn w028(scene: &Scene) {
    let sh = &scene.shell;
    let mut shared = pod("shared", STAY);
    shared["spec"]["shareProcessNamespace"] = true.into();
    let script = "trap 'exit 1' TERM; while :; do sleep 1000 & wait $!; done";
    sh.apply(&format!("{}\n{shared}", pod("held", script)));
    sh.ok("kubectl wait --for=condition=Ready pod/held pod/shared --timeout=60s");
    let look = |what: &str| sh.ok(&format!("kubectl exec held -- readlink /proc/1/ns/{what}"));
    let ip = || sh.ok("kubectl get pod held -o jsonpath={.status.podIP}");
    let before = (ip(), look("net"), look("ipc"), look("uts"));
    sh.ok("kubectl exec held -- touch /mark");
    // The process may take the session with it.
    sh.run("kubectl exec held -- kill 1");
    restarted(sh, "held", 1);
    assert_eq!((ip(), look("net"), look("ipc"), look("uts")), before);
    sh.fails("kubectl exec held -- test -e /mark");

    // Who is not the app is the pause process; it reaps what loses its parent.
    assert_eq!(sh.ok("kubectl exec shared -- cat /proc/1/cmdline").trim_end_matches('\0'), "/pause");
    assert_eq!(sh.ok("kubectl exec shared -- cat /proc/1/comm"), "pause\n");
    sh.ok("kubectl exec shared -- sh -c '(sh -c \"exec sleep 0.2\" &) ; sleep 1'");
    let states = sh.ok("kubectl exec shared -- sh -c 'cat /proc/[0-9]*/stat' | cut -d' ' -f3");
    assert!(!states.contains('Z'), "{states}");

    // When it dies, the pod gets a new sandbox and its containers start again in it.
    let sandbox = || {
        let all = scene.cluster().knarr(&["crictl", "pods"]).expect("the list of sandboxes");
        let ours =
            |line: &&str| line.contains(" w028 ") && line.contains(" held ") && line.contains(" Ready ");
        all.lines().find(ours).and_then(|line| line.split(' ').next()).map(str::to_owned)
    };
    let old = sandbox().expect("a sandbox");
    let net = look("net");
    sh.ok(&format!(
        "(for p in $(pgrep -x pause); do [ \"$(readlink /proc/$p/ns/net)\" = '{}' ] && kill -9 $p && echo killed; done; true) | grep killed",
        net.trim()
    ));
    restarted(sh, "held", 2);
    let new = sandbox().expect("a sandbox");
    assert_ne!(new, old);
    let events = sh.ok(
        "kubectl get events --field-selector involvedObject.name=held -o custom-columns=R:.reason,M:.message",
    );
    assert!(
        events.contains("SandboxChanged")
            && events.contains("Pod sandbox changed, it will be killed and re-created."),
        "{events}"
    );
}

/// Waits until a pod's first container runs for the `count`th time again.
fn restarted(sh: &Shell, pod: &str, count: u32) {
    sh.ok(&format!(
        "kubectl wait pod/{pod} --for=jsonpath={{.status.containerStatuses[0].restartCount}}={count} --timeout=60s"
    ));
    sh.ok(&format!("kubectl wait --for=condition=Ready pod/{pod} --timeout=60s"));
}

fn w034(scene: &Scene) {
    let sh = &scene.shell;
    let mut ordered = pod("ordered", "echo main >> /shared-files/order; exec sleep 1000");
    ordered["spec"]["initContainers"] = json!([
        container("one", "sleep 1; echo one >> /shared-files/order"),
        container("two", "sleep 1; echo two >> /shared-files/order")
    ]);
    ordered["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {}}]);
    for (list, index) in [("containers", 0), ("initContainers", 0), ("initContainers", 1)] {
        ordered["spec"][list][index]["volumeMounts"] =
            json!([{"name": "work", "mountPath": "/shared-files"}]);
    }
    let mut watch = sh.start("kubectl get pod -w --no-headers");
    sh.apply(&ordered.to_string());
    for status in ["Init:0/2", "Init:1/2", "PodInitializing", "Running"] {
        watch.wait_until(status, |line| {
            line.starts_with("ordered") && line.split_whitespace().nth(2) == Some(status)
        });
    }
    sh.ok("kubectl wait --for=condition=Ready pod/ordered --timeout=60s");
    assert_eq!(sh.ok("kubectl exec ordered -- cat /shared-files/order"), "one\ntwo\nmain\n");

    let mut failing = once("failing", STAY);
    failing["spec"]["initContainers"] = json!([container("bad", "exit 1")]);
    let mut looping = pod("looping", STAY);
    looping["spec"]["initContainers"] = json!([container("bad", "exit 1")]);
    sh.apply(&format!("{failing}\n{looping}"));
    watch
        .wait_until("failing: Init:Error", |line| line.starts_with("failing") && line.contains("Init:Error"));
    watch.wait_until("looping: Init:CrashLoopBackOff", |line| {
        line.starts_with("looping") && line.contains("Init:CrashLoopBackOff")
    });
    sh.ok("kubectl wait pod/failing --for=jsonpath={.status.phase}=Failed --timeout=30s");

    // A sidecar: starts before the app, runs on, and does not keep the pod from ending.
    let mut sided = once("sided", "sleep 1; cat /shared-files/log; echo done");
    let mut sidecar = container(
        "sidecar",
        "echo started > /shared-files/log; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done",
    );
    sidecar["restartPolicy"] = "Always".into();
    sidecar["startupProbe"] =
        json!({"exec": {"command": ["test", "-e", "/shared-files/log"]}, "periodSeconds": 1});
    sidecar["volumeMounts"] = json!([{"name": "work", "mountPath": "/shared-files"}]);
    sided["spec"]["initContainers"] = json!([sidecar]);
    sided["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {}}]);
    sided["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/shared-files"}]);
    sh.apply(&sided.to_string());
    sh.ok("kubectl wait pod/sided --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    assert_eq!(sh.ok("kubectl logs sided -c main"), "started\ndone\n");
}
