//! Section B: a pod and what is in it: W020-W023, W030-W032.

use serde_json::json;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w020_run_makes_pods_and_sessions", w020),
    ("w021_objects_are_created_applied_replaced_and_patched", w021),
    ("w022_get_pods_shows_readiness_and_restarts", w022),
    ("w023_describe_pod_shows_everything_and_its_events", w023),
    ("w030_variables_are_expanded_in_env_command_and_args", w030),
    ("w031_host_aliases_stand_in_etc_hosts", w031),
    ("w032_pods_go_to_named_and_selected_nodes", w032),
    ("w032a_why_names_what_each_node_says_and_what_would_help", why),
];

fn w020(scene: &Scene) {
    let sh = &scene.shell;
    assert_eq!(sh.ok("kubectl run kubia --image=luksa/kubia --port=8080"), "pod/kubia created\n");
    sh.ok("kubectl wait --for=condition=Ready pod/kubia --timeout=60s");
    let hit = sh.ok("curl -s http://$(kubectl get pod kubia -o jsonpath={.status.podIP}):8080");
    assert!(hit.contains("You've hit kubia"), "{hit}");

    for side in ["client", "server"] {
        let yaml = sh.ok(&format!(
            "kubectl run dry --image=nginx:alpine --env=A=1 --env=B=2 --labels=app=dry,env=prod --dry-run={side} -o yaml"
        ));
        for part in ["name: A", "value: \"1\"", "app: dry", "env: prod", "image: nginx:alpine"] {
            assert!(yaml.contains(part), "{side}: {part} is missing in\n{yaml}");
        }
    }
    assert!(sh.fails("kubectl get pod dry").contains("pods \"dry\" not found"));

    let overrides = r#"'{"apiVersion":"v1","spec":{"terminationGracePeriodSeconds":7}}'"#;
    sh.ok(&format!("kubectl run other --image=busybox:1.36 --overrides={overrides} --command -- sleep 1000"));
    let shown = "'{.spec.terminationGracePeriodSeconds} {.spec.containers[0].command}'";
    assert_eq!(sh.ok(&format!("kubectl get pod other -o jsonpath={shown}")), r#"7 ["sleep","1000"]"#);

    let session =
        "kubectl run tmp -i --rm --restart=Never --image=busybox:1.36 -- sh -c 'read a; echo you said $a'";
    let said = sh.run_with(session, Some("hello\n"));
    assert!(said.code == 0 && said.out.contains("you said hello"), "{}", said.told("answers"));
    assert!(said.out.contains("pod \"tmp\" deleted"), "{}", said.told("deletes"));
    assert!(sh.fails("kubectl get pod tmp").contains("not found"));
    let terminal = sh.ok(
        "script -qec \"kubectl run tty -it --rm --restart=Never --image=busybox:1.36 -- sh -c 'sleep 1; tty'\" /dev/null",
    );
    assert!(terminal.contains("/dev/pts/"), "{terminal}");
}

fn w021(scene: &Scene) {
    let sh = &scene.shell;
    let map = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": value}})
            .to_string()
    };
    sh.file("m.yaml", &map("1"));
    assert_eq!(sh.ok("kubectl create -f m.yaml"), "configmap/m created\n");
    let again = sh.fails("kubectl create -f m.yaml");
    assert!(again.contains("Error from server (AlreadyExists)"), "{again}");
    assert!(again.contains("configmaps \"m\" already exists"), "{again}");
    assert_eq!(sh.ok("kubectl apply -f m.yaml 2>&1 | tail -1"), "configmap/m configured\n");
    assert_eq!(sh.ok("kubectl apply -f m.yaml"), "configmap/m unchanged\n");
    sh.file("m.yaml", &map("2"));
    let diff = sh.run("kubectl diff -f m.yaml");
    assert_eq!(diff.code, 1, "{}", diff.told("finds a difference"));
    assert!(
        diff.out.contains("-  k: \"1\"") && diff.out.contains("+  k: \"2\""),
        "{}",
        diff.told("shows it")
    );
    assert_eq!(sh.ok("kubectl apply -f m.yaml"), "configmap/m configured\n");
    assert_eq!(sh.run("kubectl diff -f m.yaml").code, 0);
    sh.file("m.yaml", &map("3"));
    assert_eq!(sh.ok("kubectl replace -f m.yaml"), "configmap/m replaced\n");
    assert_eq!(sh.ok("kubectl patch configmap m -p '{\"data\":{\"x\":\"y\"}}'"), "configmap/m patched\n");
    let json_patch = r#"'[{"op":"remove","path":"/data/x"}]'"#;
    assert_eq!(
        sh.ok(&format!("kubectl patch configmap m --type=json -p {json_patch}")),
        "configmap/m patched\n"
    );
    assert_eq!(
        sh.ok("KUBE_EDITOR='sed -i s/k:.*/k:\\ edited/' kubectl edit configmap m"),
        "configmap/m edited\n"
    );
    assert_eq!(sh.ok("kubectl get configmap m -o jsonpath={.data}"), r#"{"k":"edited"}"#);

    sh.file("s.yaml", &map("server").replace("\"m\"", "\"s\""));
    assert_eq!(sh.ok("kubectl apply --server-side -f s.yaml"), "configmap/s serverside-applied\n");
    sh.ok("kubectl patch configmap s -p '{\"data\":{\"k\":\"theirs\"}}' --field-manager=other");
    let conflict = sh.fails("kubectl apply --server-side -f s.yaml");
    assert!(conflict.contains("conflict with \"other\""), "{conflict}");
    assert!(conflict.contains(".data.k"), "{conflict}");
    sh.ok("kubectl apply --server-side --force-conflicts -f s.yaml");
    assert_eq!(sh.ok("kubectl get configmap s -o jsonpath={.data.k}"), "server");
}

fn w022(scene: &Scene) {
    let sh = &scene.shell;
    let mut two = pod("two", "test -e /mark/done && exec sleep 1000; touch /mark/done; exit 3");
    two["spec"]["volumes"] = json!([{"name": "mark", "emptyDir": {}}]);
    two["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "mark", "mountPath": "/mark"}]);
    let mut never = crate::manifests::container("never", STAY);
    never["readinessProbe"] = json!({"exec": {"command": ["false"]}});
    two["spec"]["containers"].as_array_mut().expect("containers").push(never);
    sh.apply(&two.to_string());
    sh.ok("kubectl wait pod/two --for=jsonpath='{.status.containerStatuses[?(@.name==\"main\")].restartCount}'=1 --timeout=60s");
    sh.ok("kubectl wait pod/two --for=jsonpath='{.status.containerStatuses[?(@.name==\"main\")].ready}'=true --timeout=60s");
    let table = sh.ok("kubectl get pods");
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    let row: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..4], ["two", "1/2", "Running", "1"], "{table}");
    assert!(row[4].starts_with('(') && row[5] == "ago)", "{table}");
    let wide = sh.ok("kubectl get pods -o wide");
    for column in ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"] {
        assert!(wide.contains(column), "{wide}");
    }
}

fn w023(scene: &Scene) {
    let sh = &scene.shell;
    let mut described = pod("shown", "test -e /mark/done && exec sleep 1000; touch /mark/done; exit 3");
    described["spec"]["volumes"] = json!([{"name": "mark", "emptyDir": {}}]);
    described["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "mark", "mountPath": "/mark"}]);
    described["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    let mut events = sh.start("kubectl get events -w -o custom-columns=R:.reason,N:.count --no-headers");
    sh.apply(&described.to_string());
    events.wait_until("Started for the second time", |line| line.split_whitespace().eq(["Started", "2"]));
    sh.ok("kubectl wait --for=condition=Ready pod/shown --timeout=60s");
    let text = sh.ok("kubectl describe pod shown");
    for part in [
        "Name:             shown",
        "Priority:         0",
        "Service Account:  default",
        "Node:             ",
        "Start Time:       ",
        "Labels:           app=shown",
        "Status:           Running",
        "IP:               10.",
        "Containers:\n  main:\n    Container ID:  knarr://",
        "    Last State:     Terminated\n      Reason:       Error\n      Exit Code:    3",
        "    Restart Count:  1",
        "Conditions:\n  Type                        Status",
        "QoS Class:                   BestEffort",
        "Tolerations:                 node.kubernetes.io/not-ready:NoExecute op=Exists for 300s",
        "Successfully assigned ",
        "Pulling image \"busybox:1.36\"",
        "Successfully pulled image \"busybox:1.36\" in ",
        "(x2 over ",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    for reason in ["Scheduled", "Pulling", "Pulled", "Created", "Started"] {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("  Normal   {reason} "))
                || line.starts_with(&format!("  Normal  {reason} "))),
            "{reason} is missing in\n{text}"
        );
    }
}

fn w030(scene: &Scene) {
    let sh = &scene.shell;
    let mut expanded = crate::manifests::once("expanded", "");
    expanded["spec"]["containers"][0] = json!({
        "name": "main", "image": "busybox:1.36", "workingDir": "/tmp",
        "command": ["sh", "-c", "pwd; echo $0 $1 $2 $3; echo $PASSWORD $URL; echo \"$LITERAL\""],
        "args": ["$(USER_NAME)", "$$(USER_NAME)", "$(MISSING)", "$(URL)"],
        "env": [
            {"name": "USER_NAME", "value": "root"},
            {"name": "PASSWORD", "value": "wordpress"},
            {"name": "URL", "value": "mysql://$(USER_NAME):$(PASSWORD)@mysql"},
            {"name": "LITERAL", "value": "$$(PASSWORD) $(LATER)"},
            {"name": "LATER", "value": "later"}
        ]
    });
    sh.apply(&expanded.to_string());
    sh.ok("kubectl wait pod/expanded --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    let url = "mysql://root:wordpress@mysql";
    assert_eq!(
        sh.ok("kubectl logs expanded"),
        format!("/tmp\nroot $(USER_NAME) $(MISSING) {url}\nwordpress {url}\n$(PASSWORD) $(LATER)\n")
    );
}

fn w031(scene: &Scene) {
    let sh = &scene.shell;
    let mut aliased = crate::manifests::once("aliased", "cat /etc/hosts; hostname");
    aliased["spec"]["hostAliases"] = json!([
        {"ip": "127.0.0.1", "hostnames": ["foo.local", "bar.local"]},
        {"ip": "10.1.2.3", "hostnames": ["foo.remote"]}
    ]);
    sh.apply(&aliased.to_string());
    sh.ok("kubectl wait pod/aliased --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    let hosts = sh.ok("kubectl logs aliased");
    let ip = sh.ok("kubectl get pod aliased -o jsonpath={.status.podIP}");
    assert!(hosts.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{hosts}");
    for part in [
        format!("{ip}\taliased\n"),
        "# Entries added by HostAliases.\n127.0.0.1\tfoo.local\tbar.local\n10.1.2.3\tfoo.remote\n".to_owned(),
    ] {
        assert!(hosts.contains(&part), "{part:?} is missing in\n{hosts}");
    }
    assert!(hosts.ends_with("\naliased\n"), "{hosts}");
}

fn why(scene: &Scene) {
    let sh = &scene.shell;
    let cluster = scene.cluster();
    let why = |arguments: &str| {
        let (name, data) = (cluster.name(), cluster.data_dir());
        format!("knarr why {arguments} --name {name} --data-dir {}", data.display())
    };
    let namespace = sh.ok("kubectl config view --minify -o jsonpath={..namespace}");
    let namespace = if namespace.is_empty() { "default" } else { namespace.as_str() };
    let mut greedy = pod("greedy", STAY);
    greedy["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "500"}});
    let mut crashing = pod("crashing", "echo broken > /dev/termination-log; exit 3");
    crashing["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log".into();
    sh.apply(&format!("{greedy}\n{crashing}"));
    sh.ok(
        "kubectl wait --for=jsonpath={.status.conditions[0].reason}=Unschedulable pod/greedy --timeout=30s",
    );
    let told = sh.ok(&why(&format!("pod greedy -n {namespace}")));
    assert!(told.starts_with(&format!("pod {namespace}/greedy waits: none of ")), "{told}");
    assert!(told.contains(": Insufficient cpu (500 of cpu asked for, "), "{told}");
    assert!(told.contains("What would help: lower the request for cpu from 500 to "), "{told}");
    // What is said is what the scheduler said.
    let said = sh.ok("kubectl get pod greedy -o jsonpath={.status.conditions[0].message}");
    assert!(said.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{said}");
    let waiting = "{.status.containerStatuses[0].state.waiting.reason}";
    sh.ok(&format!("kubectl wait pod/crashing --for=jsonpath='{waiting}'=CrashLoopBackOff --timeout=60s"));
    let told = sh.ok(&why(&format!("pod/crashing -n {namespace} -o json")));
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let causes = told["causes"].to_string();
    assert!(
        causes.contains("waits: CrashLoopBackOff") && causes.contains("exit code 3 (Error): broken"),
        "{told}"
    );
    sh.apply(
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lost"},
        "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}}"#,
    );
    let told = sh.ok(&why(&format!("svc lost -n {namespace}")));
    let lost = format!("service {namespace}/lost reaches nobody: no pod of the namespace has app=nobody");
    assert!(told.starts_with(&lost), "{told}");
    let told = sh.ok(&why("ns/kube-system"));
    assert_eq!(told, "namespace kube-system is active\n");
    let unknown = sh.fails(&why("widget w"));
    assert!(unknown.contains("the server doesn't have a resource type \"widget\""), "{unknown}");
    let missing = sh.fails(&why(&format!("pod none -n {namespace}")));
    assert!(missing.contains("pods \"none\" not found"), "{missing}");
}

fn w032(scene: &Scene) {
    let sh = &scene.shell;
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let mut named = pod("named", STAY);
    named["spec"]["nodeName"] = node.as_str().into();
    let mut selected = pod("selected", STAY);
    selected["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    let mut nowhere = pod("nowhere", STAY);
    nowhere["spec"]["nodeSelector"] = json!({"disk": "none"});
    sh.apply(&format!("{named}\n{selected}\n{nowhere}"));
    sh.ok("kubectl wait --for=condition=Ready pod/named pod/selected --timeout=60s");
    let events =
        sh.ok("kubectl get events --field-selector involvedObject.name=named -o custom-columns=R:.reason");
    assert!(!events.contains("Scheduled") && events.contains("Started"), "{events}");
    let events =
        sh.ok("kubectl get events --field-selector involvedObject.name=selected -o custom-columns=R:.reason");
    assert!(events.contains("Scheduled"), "{events}");
    sh.ok("kubectl wait pod/nowhere --for=condition=PodScheduled=False --timeout=30s");
    let why = sh.ok("kubectl get pod nowhere -o jsonpath='{.status.phase} {.status.conditions[0].reason} {.status.conditions[0].message}'");
    assert!(
        why.starts_with("Pending Unschedulable 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        "{why}"
    );
    let described = sh.ok("kubectl describe pod nowhere");
    assert!(described.contains("Warning  FailedScheduling"), "{described}");
}
