//! Section C: how pods live and end: W050-W052, W054, W055, W062.

use serde_json::json;

use crate::manifests::{STAY, once, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w050_pods_go_through_their_phases", w050),
    ("w051_conditions_say_how_far_a_pod_is", w051),
    ("w052_containers_restart_by_policy_and_back_off", w052),
    ("w054_deleted_pods_end_gracefully", w054),
    ("w055_objects_are_deleted_by_force_file_label_and_namespace", w055),
    ("w062_containers_outlive_the_server", w062),
];

fn w050(scene: &Scene) {
    let sh = &scene.shell;
    let mut pending = pod("pending", STAY);
    pending["spec"]["nodeSelector"] = json!({"no": "where"});
    let all = [pending, pod("running", STAY), once("succeeded", "true"), once("failed", "exit 9")];
    sh.apply(&all.map(|pod| pod.to_string()).join("\n"));
    for (name, phase) in
        [("pending", "Pending"), ("running", "Running"), ("succeeded", "Succeeded"), ("failed", "Failed")]
    {
        sh.ok(&format!("kubectl wait pod/{name} --for=jsonpath={{.status.phase}}={phase} --timeout=60s"));
    }
    let table = sh.ok("kubectl get pods --no-headers");
    for (name, ready, status) in [
        ("pending", "0/1", "Pending"),
        ("running", "1/1", "Running"),
        ("succeeded", "0/1", "Completed"),
        ("failed", "0/1", "Error"),
    ] {
        let shown = table.lines().any(|line| line.split_whitespace().take(3).eq([name, ready, status]));
        assert!(shown, "{name} is not {status} in\n{table}");
    }
    let code = "{.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(sh.ok(&format!("kubectl get pod failed -o jsonpath={code}")), "9");
}

fn w051(scene: &Scene) {
    let sh = &scene.shell;
    let mut unready = pod("unready", STAY);
    unready["spec"]["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["false"]}});
    let mut waiting = pod("waiting", STAY);
    waiting["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000"}});
    let all = [pod("ready", STAY), unready, waiting];
    sh.apply(&all.map(|pod| pod.to_string()).join("\n"));
    for condition in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    {
        sh.ok(&format!("kubectl wait pod/ready --for=condition={condition} --timeout=60s"));
    }
    sh.ok(
        "kubectl wait pod/unready --for=jsonpath={.status.containerStatuses[0].started}=true --timeout=60s",
    );
    let shown = "'{range .status.conditions[*]}{.type}={.status}={.reason} {end}'";
    let conditions = sh.ok(&format!("kubectl get pod unready -o jsonpath={shown}"));
    for condition in [
        "PodScheduled=True= ",
        "Initialized=True= ",
        "ContainersReady=False=ContainersNotReady ",
        " Ready=False=ContainersNotReady ",
    ] {
        assert!(conditions.contains(condition), "{condition:?} is missing in {conditions}");
    }
    sh.ok("kubectl wait pod/waiting --for=condition=PodScheduled=False --timeout=30s");
    let conditions = sh.ok(&format!("kubectl get pod waiting -o jsonpath={shown}"));
    assert_eq!(conditions, "PodScheduled=False=Unschedulable ");
    let message = sh.ok("kubectl get pod waiting -o jsonpath={.status.conditions[0].message}");
    assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");
}

fn w052(scene: &Scene) {
    let sh = &scene.shell;
    let with_policy = |name: &str, code: u8, policy: &str| {
        let mut pod = pod(name, &format!("exit {code}"));
        pod["spec"]["restartPolicy"] = policy.into();
        pod.to_string()
    };
    let mut watch = sh.start("kubectl get pods -w --no-headers");
    let mut events = sh.start(
        "kubectl get events -w --no-headers -o custom-columns=N:.involvedObject.name,R:.reason,M:.message",
    );
    let all = [
        with_policy("always", 0, "Always"),
        with_policy("failing", 1, "OnFailure"),
        with_policy("fine", 0, "OnFailure"),
        with_policy("never", 1, "Never"),
    ];
    sh.apply(&all.join("\n"));
    watch.wait_until("failing: CrashLoopBackOff", |line| {
        line.starts_with("failing") && line.contains("CrashLoopBackOff")
    });
    events.wait_until("BackOff", |line| {
        line.contains("BackOff") && line.contains("Back-off restarting failed container main in pod")
    });
    for name in ["always", "failing"] {
        sh.ok(&format!("kubectl wait pod/{name} --for=jsonpath={{.status.containerStatuses[0].restartCount}}=2 --timeout=60s"));
    }
    watch.wait_until("failing: CrashLoopBackOff after two restarts", |line| {
        line.starts_with("failing")
            && line.contains("CrashLoopBackOff")
            && line.split_whitespace().nth(3) == Some("2")
    });
    // The second restart comes 10 s after the first one's end, as upstream's back-off starts.
    let times = sh.ok("kubectl get pod failing -o jsonpath='{.status.startTime} {.status.containerStatuses[0].lastState.terminated.startedAt}'");
    let seconds = sh.ok(&format!("set -- {times}; echo $(($(date -d $2 +%s) - $(date -d $1 +%s)))"));
    assert!(seconds.trim().parse::<u32>().is_ok_and(|s| s >= 10), "{times}");
    assert_eq!(
        sh.ok(
            "kubectl get pod fine -o jsonpath='{.status.phase} {.status.containerStatuses[0].restartCount}'"
        ),
        "Succeeded 0"
    );
    assert_eq!(
        sh.ok(
            "kubectl get pod never -o jsonpath='{.status.phase} {.status.containerStatuses[0].restartCount}'"
        ),
        "Failed 0"
    );
}

fn w054(scene: &Scene) {
    let sh = &scene.shell;
    let mut polite = pod(
        "polite",
        "trap 'echo stopping; sleep 2; echo stopped; exit 0' TERM; while :; do sleep 1000 & wait $!; done",
    );
    polite["spec"]["containers"][0]["lifecycle"] =
        json!({"preStop": {"exec": {"command": ["sh", "-c", "echo before > /proc/1/fd/1"]}}});
    polite["spec"]["terminationGracePeriodSeconds"] = 30.into();
    let mut stubborn = pod("stubborn", "trap '' TERM; while :; do sleep 1; done");
    stubborn["spec"]["terminationGracePeriodSeconds"] = 2.into();
    let plain = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"plain"},"spec":{"containers":[{"name":"c","image":"busybox:1.36","command":["sh","-c","trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]}]}}"#;
    sh.apply(&format!("{polite}\n{stubborn}\n{plain}"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod plain -o jsonpath={.spec.terminationGracePeriodSeconds}"), "30");
    let mut log = sh.start("kubectl logs -f polite");
    let mut watch = sh.start("kubectl get pods -w --no-headers");
    let deleted = sh.ok("kubectl delete pod polite --wait=false");
    assert!(deleted.starts_with("pod \"polite\" deleted"), "{deleted}");
    watch
        .wait_until("polite: Terminating", |line| line.starts_with("polite") && line.contains("Terminating"));
    for line in ["before", "stopping", "stopped"] {
        log.wait_for(line);
    }
    sh.ok("kubectl wait --for=delete pod/polite --timeout=30s");
    let started = std::time::Instant::now();
    sh.ok("kubectl delete pod stubborn");
    let took = started.elapsed().as_secs_f64();
    assert!((1.5..12.0).contains(&took), "killed after the grace period of 2 s, not {took} s");
    sh.ok("kubectl delete pod plain --grace-period=5");
    assert_eq!(sh.ok("kubectl get pods -o name"), "");
}

fn w055(scene: &Scene) {
    let sh = &scene.shell;
    let mut stubborn = pod("stubborn", "trap '' TERM; while :; do sleep 1; done");
    stubborn["spec"]["terminationGracePeriodSeconds"] = 600.into();
    sh.file("a.yaml", &pod("a", STAY).to_string());
    sh.apply(&format!("{stubborn}\n{}\n{}", pod("b", STAY), pod("c", STAY)));
    sh.ok("kubectl create -f a.yaml && kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let forced = sh.run("kubectl delete pod stubborn --force --grace-period=0");
    assert!(
        forced.code == 0 && forced.err.contains("Warning: Immediate deletion"),
        "{}",
        forced.told("warns")
    );
    assert!(forced.out.contains("pod \"stubborn\" force deleted"), "{}", forced.told("deletes"));
    assert!(sh.fails("kubectl get pod stubborn").contains("not found"));
    assert!(sh.ok("kubectl delete -f a.yaml").starts_with("pod \"a\" deleted"));
    assert!(sh.ok("kubectl delete pod -l app=b").starts_with("pod \"b\" deleted"));
    assert!(sh.ok("kubectl delete pod --all").starts_with("pod \"c\" deleted"));
    let none = sh.run("kubectl get pods");
    assert_eq!(none.err, format!("No resources found in {} namespace.\n", scene.namespace));
    sh.ok("kubectl create namespace w055-x && kubectl wait -n w055-x --for=create serviceaccount/default --timeout=30s");
    sh.ok("kubectl create configmap -n w055-x kept --from-literal=a=b");
    sh.ok("kubectl run -n w055-x kubia --image=luksa/kubia --image-pull-policy=IfNotPresent --overrides='{\"spec\":{\"terminationGracePeriodSeconds\":1}}'");
    sh.ok("kubectl wait -n w055-x --for=condition=Ready pod/kubia --timeout=60s");
    sh.ok("kubectl delete namespace w055-x --timeout=60s");
    assert!(sh.fails("kubectl get namespace w055-x").contains("namespaces \"w055-x\" not found"));
    assert_eq!(sh.ok("kubectl get pods -A -o name --field-selector metadata.namespace=w055-x"), "");
}

fn w062(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("kill", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let mut ticking = pod("ticking", "i=0; while :; do i=$((i+1)); echo tick $i; sleep 1; done");
    ticking["spec"]["containers"]
        .as_array_mut()
        .expect("containers")
        .push(crate::manifests::container("other", STAY));
    sh.apply(&format!("{ticking}\n{}", replicated("apps/v1", "Deployment", "web", 2)));
    sh.ok("kubectl wait --for=condition=Ready pod/ticking --timeout=60s && kubectl rollout status deployment/web --timeout=60s");
    let state = || {
        sh.ok("kubectl get pods --sort-by=.metadata.name -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP} {range .status.containerStatuses[*]}{.containerID} {.restartCount} {.state.running.startedAt} {end}{end}'")
    };
    let before = state();
    for round in ["KILL", "KILL", "TERM"] {
        let pid = cluster.server_pid().expect("the server's process");
        // Its end is awaited on the process itself.
        sh.ok(&format!("kill -{round} {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
        cluster.knarr(&["up", "--no-kubeconfig"]).expect("the cluster comes up again");
        let mut log = sh.start("kubectl logs -f ticking -c main --tail=1");
        log.wait_for("tick");
        log.wait_for("tick");
        sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
        assert_eq!(state(), before, "after {round}");
        assert_eq!(sh.ok("kubectl exec ticking -c other -- echo here"), "here\n");
    }
    let log = sh.ok("kubectl logs ticking -c main");
    let numbers: Vec<usize> =
        log.lines().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "no line is lost or doubled: {numbers:?}");
    sh.ok("kubectl delete pod ticking");
}
