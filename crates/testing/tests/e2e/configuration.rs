//! Section D: volumes and configuration: W070-W075.

use serde_json::json;

use crate::manifests::{STAY, container, once, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w070_empty_dirs_are_shared_and_limited", w070),
    ("w071_host_paths_are_checked_and_mounted", w071),
    ("w072_config_maps_come_from_files_and_literals", w072),
    ("w073_config_maps_become_environment", w073),
    ("w074_config_maps_become_files_that_follow", w074),
    ("w075_secrets_are_kept_and_typed", w075),
    ("w075b_a_secret_is_given_the_token_of_its_account", w075b),
];

fn w070(scene: &Scene) {
    let sh = &scene.shell;
    let mut shared =
        pod("shared", "trap 'exit 1' TERM; date >> /cache/starts; while :; do sleep 1000 & wait $!; done");
    shared["spec"]["containers"].as_array_mut().expect("containers").push(container("reader", STAY));
    shared["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {"sizeLimit": "500Mi"}}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}]);
    for index in [0, 1] {
        shared["spec"]["containers"][index]["volumeMounts"] =
            json!([{"name": "cache", "mountPath": "/cache"}, {"name": "mem", "mountPath": "/mem"}]);
    }
    let mut greedy = pod("greedy", "head -c 3000000 /dev/zero > /cache/big; exec sleep 1000");
    greedy["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]);
    greedy["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "cache", "mountPath": "/cache"}]);
    sh.apply(&format!("{shared}\n{greedy}"));
    sh.ok("kubectl wait --for=condition=Ready pod/shared --timeout=60s");
    let mounts = sh.ok("kubectl exec shared -c reader -- grep ' /mem ' /proc/mounts");
    assert!(mounts.contains("tmpfs") && mounts.contains("size=16384k"), "{mounts}");
    // The shell has set its trap once it has begun to write; before, the kernel would keep the signal from it.
    let started = |times: u8| {
        format!(
            "kubectl exec shared -c reader -- sh -c 'until [ \"$(cat /cache/starts | wc -l)\" = {times} ]; do sleep 0.1; done'"
        )
    };
    sh.ok(&started(1));
    // The process may take the session with it.
    sh.run("kubectl exec shared -c main -- kill 1");
    sh.ok("kubectl wait pod/shared --for=jsonpath='{.status.containerStatuses[?(@.name==\"main\")].restartCount}'=1 --timeout=60s");
    sh.ok("kubectl wait --for=condition=Ready pod/shared --timeout=60s");
    sh.ok(&started(2));
    let uid = sh.ok("kubectl get pod shared -o jsonpath={.metadata.uid}");
    let folder = format!(
        "find {} -ignore_readdir_race -path '*{uid}*' -name starts",
        scene.cluster().data_dir().display()
    );
    assert_eq!(sh.ok(&folder).lines().count(), 1);
    sh.ok("kubectl delete pod shared");
    assert_eq!(sh.ok(&folder), "");
    sh.ok("kubectl wait pod/greedy --for=jsonpath={.status.reason}=Evicted --timeout=100s");
    let why = sh.ok("kubectl get pod greedy -o jsonpath='{.status.phase} {.status.message}'");
    assert_eq!(why, "Failed Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\". ");
}

fn w071(scene: &Scene) {
    let sh = &scene.shell;
    let root = sh.dir().join("host");
    sh.ok("mkdir -p host/dir && echo content > host/file");
    let mount = |name: &str, path: &str, kind: &str| {
        let mut pod = pod(name, STAY);
        pod["spec"]["volumes"] = json!([{"name": "h", "hostPath": {"path": root.join(path), "type": kind}}]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "h", "mountPath": "/h"}]);
        pod.to_string()
    };
    let fine = [
        mount("plain", "dir", ""),
        mount("dir", "dir", "Directory"),
        mount("made", "fresh/deep", "DirectoryOrCreate"),
        mount("file", "file", "File"),
        mount("madefile", "dir/new", "FileOrCreate"),
    ];
    let null = mount("null", "x", "CharDevice").replace(&root.join("x").display().to_string(), "/dev/null");
    sh.apply(&format!("{}\n{null}", fine.join("\n")));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    assert_eq!(sh.ok("kubectl exec file -- cat /h"), "content\n");
    sh.ok("kubectl exec made -- touch /h/inside && test -e host/fresh/deep/inside");
    sh.ok("kubectl exec dir -- sh -c 'echo there > /h/file' && grep there host/dir/file");
    let mut events = sh.start(
        "kubectl get events -w --no-headers -o custom-columns=N:.involvedObject.name,R:.reason,M:.message",
    );
    sh.apply(&format!("{}\n{}", mount("nodir", "none", "Directory"), mount("notfile", "dir", "File")));
    for (pod, word) in [("nodir", "is not a directory"), ("notfile", "is not a file")] {
        events.wait_until(word, |line| {
            line.starts_with(pod)
                && line.contains("FailedMount")
                && line.contains("hostPath type check failed")
                && line.contains(word)
        });
    }
}

fn w072(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("mkdir dir && echo 'level=info' > dir/app.properties && printf 'a\\nb\\n' > dir/other && printf 'A=1\\n# no\\nB=two\\n' > env");
    assert_eq!(
        sh.ok("kubectl create configmap file --from-file=dir/app.properties"),
        "configmap/file created\n"
    );
    sh.ok("kubectl create configmap keyed --from-file=key=dir/other");
    sh.ok("kubectl create configmap dir --from-file=dir");
    sh.ok(
        "kubectl create configmap literal --from-literal=loglevel=debug --from-literal=appdatadir=/var/data",
    );
    sh.ok("kubectl create configmap env --from-env-file=env");
    sh.apply(r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"yaml"},"data":{"apploglevel":"info"},"binaryData":{"bin":"AAEC"}}"#);
    let data = |name: &str| sh.ok(&format!("kubectl get configmap {name} -o jsonpath={{.data}}"));
    assert_eq!(data("file"), r#"{"app.properties":"level=info\n"}"#);
    assert_eq!(data("keyed"), r#"{"key":"a\nb\n"}"#);
    assert_eq!(data("dir"), r#"{"app.properties":"level=info\n","other":"a\nb\n"}"#);
    assert_eq!(data("literal"), r#"{"appdatadir":"/var/data","loglevel":"debug"}"#);
    assert_eq!(data("env"), r#"{"A":"1","B":"two"}"#);
    let table = sh.ok("kubectl get configmap literal");
    assert!(table.starts_with("NAME      DATA   AGE\nliteral   2      "), "{table}");
    let text = sh.ok("kubectl describe configmap literal yaml");
    for part in [
        "Name:         literal",
        "Data\n====\n",
        // kubectl describes the entries in no order.
        "\nappdatadir:\n----\n/var/data\n",
        "\nloglevel:\n----\ndebug\n",
        "BinaryData\n====\nbin: 3 bytes",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let wrong = sh.fails("kubectl create configmap wrong --from-literal='a b=c'");
    assert!(wrong.contains("\"a b\" is not a valid key name for a ConfigMap"), "{wrong}");
}

fn w073(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("kubectl create configmap vars --from-literal=level=info --from-literal=dir=/var/data --from-literal=1bad=x");
    let mut envs = once("envs", "env | grep -e ^APP -e ^level -e ^P_ -e ^GONE | sort; echo $0");
    envs["spec"]["containers"][0]["env"] = json!([
        {"name": "APPLEVEL", "valueFrom": {"configMapKeyRef": {"name": "vars", "key": "level"}}},
        {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "vars", "key": "none", "optional": true}}}
    ]);
    envs["spec"]["containers"][0]["envFrom"] = json!([
        {"configMapRef": {"name": "vars"}}, {"prefix": "P_", "configMapRef": {"name": "vars"}},
        {"configMapRef": {"name": "none", "optional": true}}
    ]);
    envs["spec"]["containers"][0]["args"] = json!(["$(APPLEVEL)"]);
    let waits = |name: &str, map: &str, key: &str| {
        let mut pod = once(name, "echo $LATER");
        pod["spec"]["containers"][0]["env"] =
            json!([{"name": "LATER", "valueFrom": {"configMapKeyRef": {"name": map, "key": key}}}]);
        pod.to_string()
    };
    let mut watch = sh.start("kubectl get pods -w --no-headers");
    sh.apply(&format!("{envs}\n{}\n{}", waits("nomap", "later", "k"), waits("nokey", "vars", "none")));
    sh.ok("kubectl wait pod/envs --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    assert_eq!(
        sh.ok("kubectl logs envs"),
        "APPLEVEL=info\nP_1bad=x\nP_dir=/var/data\nP_level=info\nlevel=info\ninfo\n"
    );
    for name in ["nomap", "nokey"] {
        sh.ok(&format!("kubectl wait pod/{name} --for=jsonpath={{.status.containerStatuses[0].state.waiting.reason}}=CreateContainerConfigError --timeout=60s"));
    }
    let why = "{.status.containerStatuses[0].state.waiting.message}";
    assert_eq!(sh.ok(&format!("kubectl get pod nomap -o jsonpath={why}")), "configmap \"later\" not found");
    let nokey = sh.ok(&format!("kubectl get pod nokey -o jsonpath={why}"));
    assert_eq!(nokey, format!("couldn't find key none in ConfigMap {}/vars", scene.namespace));
    sh.ok("kubectl create configmap later --from-literal=k=arrived");
    watch.wait_until("nomap: Completed", |line| line.starts_with("nomap") && line.contains("Completed"));
    assert_eq!(sh.ok("kubectl logs nomap"), "arrived\n");
}

fn w074(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("kubectl create configmap conf --from-literal=server.xml='<one/>' --from-literal=other=o");
    let mut files = pod("files", STAY);
    files["spec"]["volumes"] = json!([
        {"name": "whole", "configMap": {"name": "conf", "defaultMode": 0o400}},
        {"name": "items", "configMap": {"name": "conf", "items": [{"key": "other", "path": "deep/renamed", "mode": 0o600}]}}
    ]);
    files["spec"]["containers"][0]["volumeMounts"] = json!([
        {"name": "whole", "mountPath": "/whole"},
        {"name": "items", "mountPath": "/items"},
        {"name": "whole", "mountPath": "/etc/server.xml", "subPath": "server.xml"}
    ]);
    sh.apply(&files.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/files --timeout=60s");
    let in_pod = |script: &str| sh.ok(&format!("kubectl exec files -- sh -c '{script}'"));
    assert_eq!(in_pod("ls /whole /items"), "/items:\ndeep\n\n/whole:\nother\nserver.xml\n");
    assert_eq!(in_pod("cat /whole/server.xml /etc/server.xml"), "<one/><one/>");
    assert_eq!(
        in_pod("cat /items/deep/renamed; stat -L -c %a /items/deep/renamed /whole/other"),
        "o600\n400\n"
    );
    assert_eq!(in_pod("readlink /whole/server.xml"), "..data/server.xml\n");
    let first = in_pod("readlink /whole/..data");
    assert!(first.starts_with(".."), "{first}");
    let mut follow = sh.start("kubectl exec files -- sh -c 'until grep -q two /whole/server.xml; do sleep 0.2; done; echo changed; cat /etc/server.xml; echo'");
    sh.ok("kubectl patch configmap conf -p '{\"data\":{\"server.xml\":\"<two/>\"}}'");
    follow.wait_for("changed");
    follow.wait_for("<one/>");
    assert_ne!(in_pod("readlink /whole/..data"), first, "the folder is swapped, not its files");
    sh.ok("kubectl patch configmap conf -p '{\"immutable\":true}'");
    let refused = sh.fails("kubectl patch configmap conf -p '{\"data\":{\"other\":\"x\"}}'");
    assert!(refused.contains("data: Forbidden: field is immutable when `immutable` is set"), "{refused}");
    let mut missing = pod("missing", STAY);
    missing["spec"]["volumes"] = json!([{"name": "none", "configMap": {"name": "none"}}]);
    missing["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "none", "mountPath": "/none"}]);
    let mut events = sh.start("kubectl get events -w --no-headers -o custom-columns=R:.reason,M:.message");
    sh.apply(&missing.to_string());
    events.wait_for("MountVolume.SetUp failed for volume \"none\" : configmap \"none\" not found");
    sh.ok("kubectl create configmap none --from-literal=a=b");
    sh.ok("kubectl wait --for=condition=Ready pod/missing --timeout=90s");
}

fn w075(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok(
        "kubectl create secret generic plain --from-literal=user=admin --from-literal=password='S!B*d$zDsb='",
    );
    assert_eq!(sh.ok("kubectl get secret plain -o jsonpath={.data.user}"), "YWRtaW4=");
    assert!(sh.ok("kubectl get secret plain").contains("plain   Opaque   2      "));
    let text = sh.ok("kubectl describe secret plain");
    assert!(text.contains("password:  11 bytes") && !text.contains("S!B"), "{text}");
    sh.apply(r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"strings"},"stringData":{"k":"v"}}"#);
    assert_eq!(sh.ok("kubectl get secret strings -o jsonpath={.data}"), r#"{"k":"dg=="}"#);
    sh.ok("kubectl create secret docker-registry pull --docker-server=r.local --docker-username=u --docker-password=p");
    assert_eq!(sh.ok("kubectl get secret pull -o jsonpath={.type}"), "kubernetes.io/dockerconfigjson");
    sh.ok("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -subj /CN=a 2>/dev/null");
    sh.ok("kubectl create secret tls web --cert=c --key=k");
    let typed = |name: &str, kind: &str, data: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"{name}"}},"type":"{kind}","data":{data}}}"#
        )
    };
    sh.file("bad.json", &typed("bad", "Opaque", r#"{"k":"not base64!"}"#));
    let bad = sh.fails("kubectl create -f bad.json");
    assert!(bad.contains("illegal base64 data at input byte 3"), "{bad}");
    for (kind, data, field) in [
        ("kubernetes.io/tls", "{}", "data[tls.crt]: Required value"),
        ("kubernetes.io/basic-auth", "{}", "data[username]: Required value"),
        (
            "kubernetes.io/dockerconfigjson",
            r#"{".dockerconfigjson":"eA=="}"#,
            "data[.dockerconfigjson]: Invalid value",
        ),
        (
            "kubernetes.io/service-account-token",
            "{}",
            "metadata.annotations[kubernetes.io/service-account.name]: Required value",
        ),
    ] {
        sh.file("bad.json", &typed("bad", kind, data));
        let bad = sh.fails("kubectl create -f bad.json");
        assert!(bad.contains("The Secret \"bad\" is invalid") && bad.contains(field), "{kind}: {bad}");
    }
    let mut used = once(
        "used",
        "cat /s/user; echo; echo $PASS; ls -l /s/..data/ | grep -c r--------; grep ' /s ' /proc/mounts",
    );
    used["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "plain", "defaultMode": 0o400}}]);
    used["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "s", "mountPath": "/s", "readOnly": true}]);
    used["spec"]["containers"][0]["env"] =
        json!([{"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "plain", "key": "password"}}}]);
    sh.apply(&used.to_string());
    sh.ok("kubectl wait pod/used --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    let log = sh.ok("kubectl logs used");
    assert!(log.starts_with("admin\nS!B*d$zDsb=\n2\ntmpfs "), "{log}");
}

/// As charts of programs outside the cluster do it.
fn w075b(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, &scene.namespace);
    let token = |name: &str, account: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
        })
        .to_string()
    };
    sh.ok("kubectl create serviceaccount bot");
    sh.ok("kubectl create rolebinding bot --clusterrole=view --serviceaccount=$(kubectl config view --minify -o jsonpath='{..namespace}'):bot");
    sh.apply(&format!("{}\n{}", token("bot-token", "bot"), token("lost", "nobody")));
    sh.ok("kubectl wait --for=jsonpath={.data.token} secret/bot-token --timeout=30s");
    // Nobody's token goes.
    sh.ok("kubectl wait --for=delete secret/lost --timeout=30s");
    let field = |path: &str| sh.ok(&format!("kubectl get secret bot-token -o jsonpath='{{{path}}}'"));
    assert_eq!(
        field(".metadata.annotations.kubernetes\\.io/service-account\\.uid"),
        sh.ok("kubectl get serviceaccount bot -o jsonpath={.metadata.uid}")
    );
    sh.ok(&format!(
        "test $(kubectl get secret bot-token -o jsonpath={{.data.namespace}} | base64 -d) = {namespace}"
    ));
    let described = sh.ok("kubectl describe serviceaccount bot");
    let shown = described.lines().find_map(|line| line.strip_prefix("Tokens:"));
    assert_eq!(shown.map(str::trim), Some("bot-token"), "{described}");

    // The Secret alone is enough to come in from outside.
    sh.ok("kubectl get secret bot-token -o jsonpath='{.data.ca\\.crt}' | base64 -d > ca.crt; \
         kubectl get secret bot-token -o jsonpath={.data.token} | base64 -d > token; \
         kubectl config view --minify -o jsonpath={.clusters[0].cluster.server} > server");
    let bot = "kubectl --kubeconfig=/dev/null --server=$(cat server) --certificate-authority=ca.crt --token=$(cat token)";
    assert!(sh.ok(&format!("{bot} auth whoami")).contains(&format!("system:serviceaccount:{namespace}:bot")));
    sh.ok(&format!("{bot} get pods -n {namespace}"));
    assert!(sh.fails(&format!("{bot} get secrets -n {namespace}")).contains("Forbidden"));
    // Whoever takes the token out of the Secret gets another; the first is none any more.
    sh.ok("kubectl patch secret bot-token --type=json -p '[{\"op\":\"remove\",\"path\":\"/data/token\"}]'");
    assert!(sh.fails(&format!("{bot} get pods -n {namespace}")).contains("Unauthorized"));
    sh.ok("kubectl wait --for=jsonpath={.data.token} secret/bot-token --timeout=30s");
    sh.ok("kubectl delete serviceaccount bot");
    sh.ok("kubectl wait --for=delete secret/bot-token --timeout=30s");
}
