//! Section A: the dashboard, in a browser: W008.

use std::path::Path;

use serde_json::json;
use testing::{Shell, Stream};

use crate::manifests::pod;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w008_the_dashboard_in_a_browser", w008)];

/// Where the dashboard's sources, their tools and the browser's test are.
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboard/web");

fn w008(scene: &Scene) {
    let sh = &scene.shell;
    assert!(
        Path::new(WEB).join("node_modules").is_dir(),
        "the browser's driver is missing: run scripts/setup test"
    );
    objects(sh);
    reader(sh);
    let name = scene.cluster().name();
    let mut own = sh.start(&format!("knarr dashboard --name {name} --no-open"));
    let mut readers = sh.start("knarr dashboard --kubeconfig reader.kubeconfig --no-open");
    let (link, reader) = (link(&mut own), link(&mut readers));
    let refused = sh.fails("knarr dashboard --kubeconfig reader.kubeconfig --context none --no-open");
    assert!(refused.contains("none"), "{refused}");

    let variables = format!("LINK='{link}' READER='{reader}' NAMESPACE={}", scene.namespace);
    let tested = sh.ok(&format!("cd {WEB} && {variables} node --test --test-reporter=tap test/browser.mjs"));
    assert!(tested.contains("# fail 0") && tested.contains("# skipped 0"), "{tested}");
    // What the page is built from is built to the page that is kept.
    sh.ok(&format!("mkdir web && cp -r {WEB}/{{src,*.json,*.mjs}} web && ln -s {WEB}/node_modules web/"));
    let rebuilt = sh.ok("cd web && npm run --silent check && npm run --silent build");
    assert!(rebuilt.contains("app.js"), "{rebuilt}");
    sh.ok(&format!("for f in web/dist/*.gz; do cmp <(zcat $f) <(zcat {WEB}/dist/${{f##*/}}); done"));
}

/// The link that a dashboard prints.
fn link(dashboard: &mut Stream) -> String {
    dashboard.wait_for("/login?token=").trim().to_owned()
}

/// What the browser's test looks at; some of it is written by somebody hostile.
fn objects(sh: &Shell) {
    let hostile = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "hostile", "annotations": {"evil": "<img src=x onerror=alert(1)>"}},
        "data": {"page": "<script>alert(2)</script>"},
    });
    let said = r"echo '<b onclick=alert(3)>bold</b>'; printf '\033[31mcoloured\033[0m\n'; exec sleep 1000";
    let mut talker = pod("talker", said);
    talker["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "64Mi", "cpu": "50m"}});
    let mut web = pod("web", "echo web $HOSTNAME; exec sleep 1000");
    let metadata = json!({"labels": {"app": "web"}});
    web["spec"]["terminationGracePeriodSeconds"] = json!(0);
    let template = json!({"metadata": metadata, "spec": web["spec"]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    let dump = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dump"},
        "data": {"dump": "metadata:\n  managedFields:\n  - manager: somebody\n\nkept: 1\n", "gone": "soon"},
    });
    sh.apply(&format!("{hostile}\n{dump}\n{talker}\n{deployment}"));
    for (manager, field, value) in [("knarr-dashboard", "free", "1"), ("their-tool", "owned", "theirs")] {
        let plain = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {field: value},
        });
        sh.file("plain.json", &plain.to_string());
        sh.ok(&format!("kubectl apply --server-side --field-manager={manager} -f plain.json"));
    }
    sh.ok("kubectl wait --for=condition=Ready pod/talker --timeout=60s");
    sh.ok("kubectl rollout status deployment/web --timeout=60s");
}

/// A kubeconfig of an account that may look at pods of the namespace and at nothing else.
fn reader(sh: &Shell) {
    sh.ok("kubectl create serviceaccount reader");
    sh.ok("kubectl create role reader --verb=get,list,watch --resource=pods");
    sh.ok("kubectl create rolebinding reader --role=reader --serviceaccount=$(kubectl config view --minify -o jsonpath={..namespace}):reader");
    sh.ok("kubectl config view --raw --minify > reader.kubeconfig");
    sh.ok("token=$(kubectl create token reader) && export KUBECONFIG=reader.kubeconfig && \
           kubectl config set-credentials reader --token=$token && kubectl config set-context --current --user=reader");
}
