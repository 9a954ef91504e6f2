//! Section B: what goes into and comes out of containers: W024-W026, with each kubectl.

use serde_json::json;
use testing::Shell;

use crate::manifests::{STAY, container, kubia, once, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w024_logs_of_containers_now_and_before", w024),
    ("w025_exec_over_websocket_and_spdy", w025),
    ("w026_ports_are_forwarded_attached_and_files_copied", w026),
];

const MIB_100: u64 = 100 << 20;

fn w024(scene: &Scene) {
    let sh = &scene.shell;
    let mut talker =
        pod("talker", "for i in 1 2 3; do echo line $i; done; echo problem >&2; exec sleep 1000");
    talker["spec"]["containers"]
        .as_array_mut()
        .expect("containers")
        .push(container("other", "echo other; exec sleep 1000"));
    let mut crasher =
        pod("crasher", "test -e /mark/done && echo second && exec sleep 1000; touch /mark/done; echo first");
    crasher["spec"]["volumes"] = json!([{"name": "mark", "emptyDir": {}}]);
    crasher["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "mark", "mountPath": "/mark"}]);
    let slow = once("slow", "echo begin; sleep 2; echo end");
    sh.apply(&format!("{talker}\n{crasher}\n{slow}"));
    sh.ok("kubectl wait --for=condition=Ready pod/talker pod/slow --timeout=60s");
    let mut followed = sh.start("kubectl logs -f slow");
    followed.wait_for("begin");
    followed.wait_for("end");
    assert_eq!(followed.finish(), 0);

    let all = sh.ok("kubectl logs talker -c main");
    assert!(all.starts_with("line 1\nline 2\nline 3\n") && all.contains("problem\n"), "{all}");
    let defaulted = sh.run("kubectl logs talker");
    assert!(
        defaulted.err.contains("Defaulted container \"main\" out of: main, other"),
        "{}",
        defaulted.told("says so")
    );
    assert_eq!(sh.ok("kubectl logs talker -c main --tail=1 | wc -l").trim(), "1");
    assert_eq!(sh.ok("kubectl logs talker -c main --since=1h | wc -l").trim(), "4");
    let stamped = sh.ok("kubectl logs talker -c main --timestamps --tail=-1 --limit-bytes=60");
    assert!(stamped.contains("T") && stamped.contains("Z line 1"), "{stamped}");
    let both = sh.ok("kubectl logs talker --all-containers --prefix");
    assert!(both.contains("[pod/talker/main] line 1") && both.contains("[pod/talker/other] other"), "{both}");
    let labelled = sh.ok("kubectl logs -l app=talker --all-containers");
    assert!(labelled.contains("line 1") && labelled.contains("other"), "{labelled}");

    sh.ok(
        "kubectl wait pod/crasher --for=jsonpath={.status.containerStatuses[0].restartCount}=1 --timeout=60s",
    );
    sh.ok("kubectl wait --for=condition=Ready pod/crasher --timeout=60s");
    assert_eq!(sh.ok("kubectl logs -p crasher"), "first\n");
    assert_eq!(sh.ok("kubectl logs crasher"), "second\n");
    assert_eq!(sh.ok("kubectl logs talker -c main --since-time=2100-01-01T00:00:00Z"), "");
    rotated(sh);
    let none = sh.fails("kubectl logs -p talker -c main");
    assert!(none.contains("previous terminated container \"main\" in pod \"talker\" not found"), "{none}");
    let wrong = sh.fails("kubectl logs talker -c nothing");
    assert!(wrong.contains("container nothing is not valid for pod talker"), "{wrong}");
}

/// A log that has become too long goes on in a new file; who follows it misses nothing.
fn rotated(sh: &Shell) {
    let script = "i=0; while [ $i -lt 130 ]; do head -c 99999 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; \
                  echo middle; while [ ! -e /tmp/go ]; do sleep 0.2; done; echo last; exec sleep 1000";
    sh.apply(&pod("long", script).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/long --timeout=60s");
    let mut followed = sh.start("kubectl logs -f long --tail=1");
    followed.wait_for("middle");
    // The node looks at a growing log every few seconds.
    let uid = sh.ok("kubectl get pod long -o jsonpath={.metadata.uid}");
    let files = format!("$(echo ../data/node0/log/pods/*{uid}/main)");
    sh.ok(&format!("for i in $(seq 60); do [ $(ls {files} | wc -l) -gt 1 ] && exit; sleep 0.5; done; ls -l {files}; exit 1"));
    sh.ok("kubectl exec long -- touch /tmp/go");
    followed.wait_for("last");
    assert_eq!(sh.ok("kubectl logs long --tail=1"), "last\n");
}

fn w025(scene: &Scene) {
    scene.shell.apply(&pod("box", STAY).to_string());
    scene.shell.ok("kubectl wait --for=condition=Ready pod/box --timeout=60s");
    for kubectl in scene.cluster().fixtures.kubectls_and_own() {
        exec(&scene.shell_with(&kubectl));
    }
}

fn exec(sh: &Shell) {
    let version = sh.ok("kubectl version --client");
    assert_eq!(sh.ok("kubectl exec box -- echo hello"), "hello\n", "{version}");
    let failed = sh.run("kubectl exec box -c main -- sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((failed.code, failed.out.as_str()), (7, "out\n"), "{version}{}", failed.told("ends with 7"));
    assert!(failed.err.contains("err\n"), "{version}{}", failed.told("passes stderr on"));
    assert!(
        failed.err.contains("command terminated with exit code 7"),
        "{version}{}",
        failed.told("says so")
    );
    let missing = sh.run("kubectl exec box -- nothing-of-that-name");
    assert!(
        missing.code != 0 && missing.err.contains("not found"),
        "{version}{}",
        missing.told("names the reason")
    );
    let piped = sh.run_with("kubectl exec -i box -- sort", Some("b\na\n"));
    assert_eq!(piped.out, "a\nb\n", "{version}{}", piped.told("sorts"));

    let terminal = "stty cols 91 rows 31; kubectl exec -it box -c main -- sh -c 'sleep 1; stty size; exit 5'";
    let terminal = sh.run(&format!("script -qec \"{terminal}\" /dev/null"));
    assert!(terminal.out.contains("31 91"), "{version}{}", terminal.told("has the terminal's size"));
    assert_eq!(terminal.code, 5, "{version}{}", terminal.told("ends with 5"));

    // Each side goes on when the other has come so far; the line's own deadline ends a wait for nothing.
    let resized = r#"stty cols 80 rows 24
        (until kubectl exec box -c main -- test -e /tmp/sized; do sleep 0.2; done; stty cols 123 rows 45 </dev/tty) &
        exec kubectl exec -it box -c main -- sh -c 'size() { until [ "$(stty size)" = "$1" ]; do sleep 0.1; done; echo $1; }
            size "24 80"; touch /tmp/sized; size "45 123"'"#;
    sh.file("resize.sh", resized);
    sh.ok("kubectl exec box -c main -- rm -f /tmp/sized");
    let resized = sh.run("script -qec 'bash resize.sh' /dev/null");
    assert!(
        resized.out.contains("24 80") && resized.out.contains("45 123"),
        "{version}{}",
        resized.told("follows")
    );

    let counted = sh.ok(&format!("head -c {MIB_100} /dev/zero | kubectl exec -i box -- wc -c"));
    assert_eq!(counted.trim(), MIB_100.to_string(), "{version}");
    let counted = sh.ok(&format!("kubectl exec box -- head -c {MIB_100} /dev/zero | wc -c"));
    assert_eq!(counted.trim(), MIB_100.to_string(), "{version}");
}

fn w026(scene: &Scene) {
    let sh = &scene.shell;
    let mut reader = pod("reader", "while read line; do echo \"read $line\"; done; exec sleep 1000");
    reader["spec"]["containers"][0]["stdin"] = true.into();
    sh.apply(&format!("{}\n{reader}", kubia("kubia")));
    sh.ok("kubectl wait --for=condition=Ready pod/kubia pod/reader --timeout=60s");
    for (index, kubectl) in scene.cluster().fixtures.kubectls_and_own().into_iter().enumerate() {
        let sh = scene.shell_with(&kubectl);
        let version = sh.ok("kubectl version --client");
        let mut forward = sh.start("kubectl port-forward kubia :8080");
        let line = forward.wait_for("Forwarding from 127.0.0.1:");
        let port = line.trim_start_matches("Forwarding from 127.0.0.1:").split(' ').next().expect("a port");
        let many =
            sh.ok(&format!("for i in 1 2 3 4 5 6 7 8; do curl -s http://127.0.0.1:{port}/ & done; wait"));
        assert_eq!(many.matches("You've hit kubia").count(), 8, "{version}{many}");
        assert!(many.contains("Your IP is 127.0.0.1"), "{version}{many}");

        let mut attached = sh.start("kubectl attach -i reader");
        attached.type_line(&format!("hello{index}"));
        attached.wait_for(&format!("read hello{index}"));

        sh.ok("head -c 3000000 /dev/urandom > up");
        sh.ok("kubectl cp up reader:/tmp/up && kubectl cp reader:/tmp/up down && cmp up down");
        sh.ok("mkdir -p dir/sub && echo deep > dir/sub/file && kubectl cp dir reader:/tmp/");
        assert_eq!(sh.ok("kubectl exec reader -- cat /tmp/dir/sub/file"), "deep\n", "{version}");
    }
    let refused = sh.run("kubectl port-forward nobody 1:1");
    assert!(
        refused.code != 0 && refused.err.contains("pods \"nobody\" not found"),
        "{}",
        refused.told("refused")
    );
}
