//! Section I: a request's way through the server: W140.

use testing::Shell;

use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w140_a_requests_way_can_be_followed", w140)];

fn w140(scene: &Scene) {
    let sh = &scene.shell;
    let url = sh.ok("kubectl config view --minify -o jsonpath={.clusters[0].cluster.server}");
    sh.ok("kubectl config view --raw --minify -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d > ca.crt");
    encrypted(sh, &url);
    authenticated(sh, &url);
    authorized(sh, &url);
    admitted_and_validated(sh);
    stored_and_watched(sh);
    visible(scene);
}

fn encrypted(sh: &Shell, url: &str) {
    let untrusted = sh.fails(&format!("curl -sS {url}/version"));
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let plain = sh.run(&format!("curl -sS {}/version", url.replace("https:", "http:")));
    assert!(!plain.out.contains("gitVersion"), "{}", plain.told("is refused without TLS"));
    assert!(sh.ok(&format!("curl -sS --cacert ca.crt {url}/version")).contains("\"gitVersion\": \"v1.36."));
}

fn authenticated(sh: &Shell, url: &str) {
    let who = "auth whoami -o jsonpath={.status.userInfo.username}";
    let admin = sh.ok(&format!("kubectl {who}"));
    assert!(!admin.is_empty() && !admin.starts_with("system:anonymous"), "by certificate: {admin}");
    sh.ok("kubectl create token default > token");
    let bearer = format!("kubectl --kubeconfig=/dev/null --server={url} --certificate-authority=ca.crt");
    assert_eq!(sh.ok(&format!("{bearer} --token=$(cat token) {who}")), "system:serviceaccount:w140:default");
    let wrong = sh.fails(&format!("{bearer} --token=nonsense get pods"));
    assert!(wrong.contains("You must be logged in to the server"), "{wrong}");
    let anonymous = sh.ok(&format!("curl -sS --cacert ca.crt {url}/api/v1/nodes"));
    let words = "nodes is forbidden: User \\\"system:anonymous\\\" cannot list resource \\\"nodes\\\" in API group \\\"\\\" at the cluster scope";
    assert!(anonymous.contains(words), "{anonymous}");
}

fn authorized(sh: &Shell, url: &str) {
    let account = format!(
        "kubectl --kubeconfig=/dev/null --server={url} --certificate-authority=ca.crt --token=$(cat token) -n w140"
    );
    let denied = sh.run(&format!("{account} get pods"));
    assert_eq!(denied.code, 1);
    assert_eq!(
        denied.err,
        "Error from server (Forbidden): pods is forbidden: User \"system:serviceaccount:w140:default\" cannot list \
         resource \"pods\" in API group \"\" in the namespace \"w140\"\n"
    );
    assert_eq!(sh.run(&format!("{account} auth can-i list pods")).out, "no\n");
    sh.ok("kubectl create role reader --verb=get,list --resource=pods");
    sh.ok("kubectl create rolebinding reader --role=reader --serviceaccount=w140:default");
    sh.ok(&format!("for i in $(seq 50); do {account} get pods && exit; sleep 0.1; done; exit 1"));
    assert_eq!(sh.ok(&format!("{account} auth can-i list pods")), "yes\n");
    let denied = sh.fails(&format!("{account} delete pod x"));
    assert!(denied.contains("cannot delete resource \"pods\""), "{denied}");
}

fn admitted_and_validated(sh: &Shell) {
    let nowhere = sh.fails("kubectl create configmap m -n w140-nowhere");
    assert!(nowhere.contains("namespaces \"w140-nowhere\" not found"), "{nowhere}");
    let pod = |spec: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{{{spec}"containers":[{{"name":"c","image":"busybox:1.36"}}]}}}}"#
        )
    };
    sh.file("account.json", &pod(r#""serviceAccountName":"none","#));
    let refused = sh.fails("kubectl create -f account.json");
    assert!(
        refused.contains("error looking up service account w140/none: serviceaccount \"none\" not found"),
        "{refused}"
    );
    sh.file("pod.json", &pod(""));
    let admitted = sh.ok("kubectl create -f pod.json --dry-run=server -o yaml");
    for part in [
        "serviceAccountName: default",
        "mountPath: /var/run/secrets/kubernetes.io/serviceaccount",
        "tolerationSeconds: 300",
    ] {
        assert!(admitted.contains(part), "{part:?} is missing in\n{admitted}");
    }
    sh.file("unknown.json", &pod(r#""nonsense":1,"#));
    // The server's own words: kubectl checks by itself when it cannot learn what the server does.
    let unknown = sh
        .fails("kubectl create --raw '/api/v1/namespaces/w140/pods?fieldValidation=Strict' -f unknown.json");
    assert!(unknown.contains("strict decoding error: unknown field \"spec.nonsense\""), "{unknown}");
    sh.file("wrong.json", &pod(r#""restartPolicy":"Sometimes","#));
    let wrong = sh.fails("kubectl create -f wrong.json");
    assert!(
        wrong.contains("The Pod \"p\" is invalid: spec.restartPolicy: Unsupported value: \"Sometimes\": supported values:"),
        "{wrong}"
    );
}

fn stored_and_watched(sh: &Shell) {
    sh.ok("kubectl create configmap kept --from-literal=a=1");
    let version = sh.ok("kubectl get configmap kept -o jsonpath={.metadata.resourceVersion}");
    sh.ok("kubectl patch configmap kept -p '{\"data\":{\"a\":\"2\"}}'");
    sh.ok("kubectl delete configmap kept");
    let watch = format!(
        "/api/v1/namespaces/w140/configmaps?watch=1&timeoutSeconds=2&fieldSelector=metadata.name%3Dkept&resourceVersion={version}"
    );
    let events = sh.ok(&format!("kubectl get --raw '{watch}'"));
    let kinds: Vec<&str> =
        events.lines().filter_map(|line| line.strip_prefix("{\"type\":\"")?.split('"').next()).collect();
    assert_eq!(kinds, ["MODIFIED", "DELETED"], "{events}");
}

fn visible(scene: &Scene) {
    for kubectl in scene.cluster().fixtures.kubectls() {
        let told = scene.shell_with(&kubectl).run("kubectl get pods -v=8").err;
        assert!(told.contains("/api/v1/namespaces/w140/pods?limit=500") && told.contains("200 OK"), "{told}");
    }
    let log = scene.cluster().audit_log();
    let denied = scene.shell.ok(&format!(
        "grep '\"username\":\"system:serviceaccount:w140:default\"' {} | grep '\"verb\":\"list\"' | grep -m1 '\"code\":403'",
        log.display()
    ));
    for part in [
        r#""kind":"Event""#,
        r#""apiVersion":"audit.k8s.io/v1""#,
        r#""authorization.k8s.io/decision":"forbid""#,
        r#""resource":"pods""#,
        r#""namespace":"w140""#,
        r#""reason":"Forbidden""#,
        r#""userAgent":"kubectl/"#,
        r#""sourceIPs":["127.0.0.1"]"#,
    ] {
        assert!(denied.contains(part), "{part} is missing in {denied}");
    }
    let made = scene.shell.ok(&format!(
        "grep '\"name\":\"kept\"' {} | grep '\"verb\":\"patch\"' | grep '\"code\":200'",
        log.display()
    ));
    assert!(made.contains(r#""authorization.k8s.io/decision":"allow""#), "{made}");
}
