//! A server with settings of its own: who is let in by a file, what an audit policy has written down, and what is
//! encrypted where it is stored.

use std::fs;

use serde_json::Value;
use testing::{Cluster, Shell};

use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w140s_a_server_follows_upstreams_flags_for_tokens_audit_and_encryption", w140s)];

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: Request, users: [alice]}
- {level: None}
"#;
/// The keys are 32 times `a` and `b`.
const KEYS: [(&str, &str); 2] = [
    ("first", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="),
    ("second", "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="),
];

/// The server goes and comes back with these flags.
fn again(cluster: &Cluster, flags: &[&str]) -> Result<String, String> {
    cluster.knarr(&["down"]).expect("down");
    let up = [&["up", "--no-kubeconfig"], flags].concat();
    cluster.knarr(&up).map_err(|why| why.to_string())
}

/// A file that says how Secrets are encrypted, the first of the keys being the one that writes.
fn encryption(cluster: &Cluster, keys: &[(&str, &str)]) -> String {
    let keys: Vec<_> =
        keys.iter().map(|(name, secret)| format!("{{name: {name}, secret: {secret}}}")).collect();
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers: [{{aescbc: {{keys: [{}]}}}}, {{identity: {{}}}}]\n",
        keys.join(", ")
    );
    file(cluster, "encryption.yaml", &text)
}

fn file(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.data_dir().join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

/// Whether the store's file has these bytes.
fn lies(cluster: &Cluster, wanted: &str) -> bool {
    let bytes = fs::read(cluster.data_dir().join("store.redb")).expect("the store's file");
    bytes.windows(wanted.len()).any(|part| part == wanted.as_bytes())
}

fn w140s(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("sets", 0);
    sh.ok("kubectl create secret generic plain --from-literal=p=plainly");
    // As Secrets have it, in base64.
    assert!(lies(&cluster, "cGxhaW5seQ=="));

    let policy = file(&cluster, "policy.yaml", POLICY);
    let tokens = file(&cluster, "tokens.csv", "alices-token,alice,7,\"dev,ops\"\n");
    let log = cluster.data_dir().join("written.log");
    let first = format!("--encryption-provider-config={}", encryption(&cluster, &KEYS[..1]));
    let others = [
        format!("--audit-policy-file={policy}"),
        format!("--audit-log-path={}", log.display()),
        format!("--token-auth-file={tokens}"),
    ];
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    again(&cluster, &[&others[..], &[&first]].concat()).expect("up with settings");

    tokens_have_users(&sh);
    let text = fs::read_to_string(&log).expect("a log");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let wanted = |event: &&Value| {
        event["objectRef"]["resource"] == "configmaps" && event["responseStatus"]["code"] == 201
    };
    let made = events.iter().filter(|event| event["user"]["username"] == "alice").find(wanted);
    let made = made.unwrap_or_else(|| panic!("{text}"));
    assert_eq!((&made["level"], &made["requestObject"]["data"]["a"]), (&"Request".into(), &"1".into()));
    assert!(
        made["annotations"]["authorization.k8s.io/reason"]
            .as_str()
            .is_some_and(|why| why.contains("RBAC: allowed by"))
    );

    // What is new is hidden, what was there is still read and hidden when it is written again.
    sh.ok("kubectl create secret generic hidden --from-literal=p=covertly");
    assert!(!lies(&cluster, "Y292ZXJ0bHk=") && lies(&cluster, "k8s:enc:aescbc:v1:first:"));
    assert_eq!(sh.ok("kubectl get secret plain -o jsonpath={.data.p}"), "cGxhaW5seQ==");
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.contains("\"name\":\"hidden\"") && !text.contains("Y292ZXJ0bHk="), "of Secrets no content");

    // A new key writes, the old one reads until everything is written again.
    let both = format!("--encryption-provider-config={}", encryption(&cluster, &[KEYS[1], KEYS[0]]));
    again(&cluster, &[&both]).expect("up with a new key");
    let replaced = sh.ok("kubectl get secrets --all-namespaces -o json | kubectl replace -f -");
    assert!(replaced.contains("secret/hidden replaced"), "{replaced}");
    let new = format!("--encryption-provider-config={}", encryption(&cluster, &KEYS[1..]));
    again(&cluster, &[&new]).expect("up without the old key");
    assert_eq!(sh.ok("kubectl get secret hidden -o jsonpath={.data.p}"), "Y292ZXJ0bHk=");

    // Without its keys a server does not take what it cannot read for nothing.
    let refused = again(&cluster, &[]).expect_err("refused");
    assert!(refused.contains("/registry/secrets/default/hidden"), "{refused}");
    assert!(refused.contains("--encryption-provider-config"), "{refused}");
    let unknown = file(&cluster, "encryption.yaml", "apiVersion: v1\nkind: EncryptionConfiguration\n");
    let refused =
        again(&cluster, &[&format!("--encryption-provider-config={unknown}")]).expect_err("refused");
    assert!(refused.contains("encryption.yaml: it is v1 EncryptionConfiguration"), "{refused}");
}

/// Requests with nothing but a token.
fn tokens_have_users(sh: &Shell) {
    let server = sh.ok("kubectl config view --minify -o jsonpath={.clusters[0].cluster.server}");
    let by = |token: &str, rest: &str| {
        format!(
            "kubectl --kubeconfig /dev/null --server {server} --insecure-skip-tls-verify --token {token} {rest}"
        )
    };
    let who = sh.ok(&by(
        "alices-token",
        "auth whoami -o jsonpath='{.status.userInfo.username} {.status.userInfo.groups}'",
    ));
    assert_eq!(who, r#"alice ["dev","ops","system:authenticated"]"#);
    let refused = sh.run(&by("alices-token", "create configmap one --from-literal=a=1"));
    assert!(refused.err.contains(r#"User "alice" cannot create resource "configmaps""#), "{}", refused.err);
    let unknown = sh.run(&by("anothers-token", "get pods"));
    assert!(
        unknown.err.contains("Unauthorized") || unknown.err.contains("must be logged in"),
        "{}",
        unknown.err
    );
    sh.ok("kubectl create rolebinding dev --clusterrole=edit --group=dev");
    sh.ok(&by("alices-token", "create configmap one --from-literal=a=1"));
}
