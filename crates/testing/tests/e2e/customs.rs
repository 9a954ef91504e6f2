//! Custom resources as users, charts and operators have them: W144.

use serde_json::{Value, json};
use testing::Shell;

use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w144_an_operator_runs_against_its_own_kind", w144),
    ("w144a_a_definition_is_served_explained_and_found", w144a),
    ("w144b_objects_of_custom_kinds_own_and_are_owned", w144b),
    ("w144c_definitions_are_listed_watched_patched_and_published", w144c),
];

/// A definition of one version; `plural` is unique among the rows.
fn definition(plural: &str, kind: &str, schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.w144.example.com"), "labels": {"row": plural}},
        "spec": {
            "group": "w144.example.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn established(sh: &Shell, definition: &Value) {
    sh.apply(&definition.to_string());
    let name = definition["metadata"]["name"].as_str().expect("a name");
    sh.ok(&format!("kubectl wait --for=condition=established crd/{name} --timeout=10s"));
}

/// The operator: for each of its objects a ConfigMap of the same name, owned by it, and a status that says so; it
/// holds its objects by a finalizer. It runs until its watch ends.
const OPERATOR: &str = r#"
kubectl get mirrors -w --output-watch-events -o json | jq --unbuffered -c '[.type, .object.metadata.name, (.object.metadata.deletionTimestamp // ""), .object.metadata.uid, .object.spec.text, (.object.metadata.generation | tostring), ((.object.status.observedGeneration // 0) | tostring)]' |
while read -r line; do
  set -- $(echo "$line" | jq -r '.[0], .[1], (if .[2] == "" then "-" else .[2] end), .[3], .[4], .[5], .[6]')
  [ "$1" = DELETED ] && continue
  if [ "$3" != - ]; then
    kubectl delete configmap "$2" --ignore-not-found
    kubectl patch mirror "$2" --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]'
    continue
  fi
  [ "$6" = "$7" ] && continue
  kubectl patch mirror "$2" --type=merge -p '{"metadata":{"finalizers":["w144.example.com/mirror"]}}'
  echo "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"$2\",\"ownerReferences\":[{\"apiVersion\":\"w144.example.com/v1\",\"kind\":\"Mirror\",\"name\":\"$2\",\"uid\":\"$4\",\"controller\":true}]},\"data\":{\"text\":\"$5\"}}" |
    kubectl apply --server-side --field-manager=mirror -f -
  kubectl patch mirror "$2" --subresource=status --type=merge -p "{\"status\":{\"observedGeneration\":$6,\"phase\":\"Mirrored\"}}"
done
"#;

fn w144(scene: &Scene) {
    let sh = &scene.shell;
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "observedGeneration": {"type": "integer"}}}}});
    let mut mirrors = definition("mirrors", "Mirror", &schema);
    mirrors["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}]);
    established(sh, &mirrors);
    sh.file("operator.sh", OPERATOR);
    let mut operator = sh.start("sh operator.sh 2>&1");
    let mirror = |text: &str| json!({"apiVersion": "w144.example.com/v1", "kind": "Mirror", "metadata": {"name": "a"}, "spec": {"text": text}});
    sh.apply(&mirror("one").to_string());
    sh.ok("kubectl wait --for=jsonpath='{.status.phase}'=Mirrored mirror/a --timeout=30s");
    assert_eq!(sh.ok("kubectl get configmap a -o jsonpath={.data.text}"), "one");
    sh.apply(&mirror("two").to_string());
    sh.ok("kubectl wait --for=jsonpath='{.status.observedGeneration}'=2 mirror/a --timeout=30s");
    assert_eq!(sh.ok("kubectl get configmap a -o jsonpath={.data.text}"), "two");
    let table = sh.ok("kubectl get mirrors");
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["NAME", "PHASE"], "{table}");
    // The finalizer holds it until the operator has cleaned up.
    sh.ok("kubectl delete mirror a --timeout=30s");
    assert!(sh.fails("kubectl get configmap a").contains("not found"));
    sh.ok("kubectl delete crd mirrors.w144.example.com --timeout=30s");
    operator.finish();
}

fn w144a(scene: &Scene) {
    let sh = &scene.shell;
    let schema = json!({"type": "object", "description": "A thing with a size.", "properties": {
        "spec": {"type": "object", "description": "What is wanted.", "required": ["size"], "properties": {
            "size": {"type": "string", "description": "How large it is.", "enum": ["small", "large"], "default": "small"},
            "replicas": {"type": "integer", "minimum": 0},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}}});
    let mut widgets = definition("widgets", "Widget", &schema);
    widgets["spec"]["names"]["shortNames"] = json!(["wdg"]);
    widgets["spec"]["names"]["categories"] = json!(["all"]);
    widgets["spec"]["versions"][0]["subresources"]["scale"] = json!({"specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"});
    established(sh, &widgets);
    let widget = |name: &str, spec: Value| {
        json!({"apiVersion": "w144.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}).to_string()
    };
    sh.apply(&widget("a", json!({"replicas": 1})));
    for kubectl in scene.cluster().fixtures.kubectls() {
        let sh = scene.shell_with(&kubectl);
        for name in ["widgets", "widget", "wdg", "widgets.w144.example.com", "widgets.v1.w144.example.com"] {
            assert_eq!(sh.ok(&format!("kubectl get {name} -o name")), "widget.w144.example.com/a\n");
        }
        let table = sh.ok("kubectl get widgets");
        let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(head, ["NAME", "AGE"], "{table}");
        assert!(sh.ok("kubectl get all").contains("widget.w144.example.com/a"));
        let resources = sh.ok("kubectl api-resources --api-group=w144.example.com --no-headers");
        assert!(resources.contains("widgets") && resources.contains("wdg"), "{resources}");
        let explained = sh.ok("kubectl explain widgets.spec.size");
        assert!(explained.contains("How large it is.") && explained.contains("string"), "{explained}");
        assert!(sh.ok("kubectl explain widgets.spec.parts").contains("name"));
        let refused =
            sh.fails(&format!("echo '{}' | kubectl create -f -", widget("b", json!({"size": "huge"}))));
        assert!(
            refused
                .contains("spec.size: Unsupported value: \"huge\": supported values: \"small\", \"large\""),
            "{refused}"
        );
        let unknown =
            sh.fails(&format!("echo '{}' | kubectl create -f -", widget("b", json!({"sise": "small"}))));
        assert!(unknown.contains("unknown field \"spec.sise\""), "{unknown}");
        assert!(sh.ok("kubectl describe widget a").contains("Size:"));
        assert_eq!(sh.ok("kubectl scale widget/a --replicas=3"), "widget.w144.example.com/a scaled\n");
        assert_eq!(sh.ok("kubectl get widget a -o jsonpath={.spec.replicas}"), "3");
        sh.ok("kubectl patch widget a --type=merge -p '{\"spec\":{\"replicas\":1}}'");
        sh.ok(&format!(
            "echo '{}' | kubectl apply --server-side --force-conflicts -f -",
            widget("a", json!({"replicas": 2}))
        ));
    }
    assert!(
        sh.ok("kubectl auth can-i create widgets --as=system:serviceaccount:default:default || true")
            .contains("no")
    );
    by_role(sh, &widget("c", json!({})), &widgets);
}

/// Who goes by roles is let in by them; and a namespace takes its objects with it, as a definition takes all.
fn by_role(sh: &Shell, other: &str, definition: &Value) {
    sh.ok("kubectl create serviceaccount reader");
    sh.ok("kubectl create role readers --verb=get,list --resource=widgets.w144.example.com");
    sh.ok("kubectl create rolebinding readers --role=readers --serviceaccount=$(kubectl config view --minify -o jsonpath={..namespace}):reader");
    let namespace = sh.ok("kubectl config view --minify -o jsonpath={..namespace}");
    let reader = format!("--as=system:serviceaccount:{namespace}:reader");
    assert_eq!(sh.ok(&format!("kubectl get widgets {reader} -o name")), "widget.w144.example.com/a\n");
    assert!(sh.fails(&format!("kubectl delete widget a {reader}")).contains("forbidden"));
    // A namespace takes its objects with it, and a definition takes all.
    sh.ok("kubectl create namespace w144a-going");
    sh.ok(&format!("echo '{other}' | kubectl apply -n w144a-going -f -"));
    sh.ok("kubectl delete namespace w144a-going --timeout=30s");
    sh.ok("kubectl delete crd widgets.w144.example.com --timeout=30s");
    // kubectl may remember the kind from before.
    let gone = sh.fails("kubectl get widgets");
    assert!(
        gone.contains("the server doesn't have a resource type") || gone.contains("(NotFound)"),
        "{gone}"
    );
    // What comes back by the name is empty.
    established(sh, definition);
    assert_eq!(sh.run("kubectl get widgets -A -o name").out, "");
    sh.ok("kubectl delete crd widgets.w144.example.com --timeout=30s");
}

fn w144b(scene: &Scene) {
    let sh = &scene.shell;
    let nodes = definition(
        "owners",
        "Owner",
        &json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    );
    established(sh, &nodes);
    let owner = |name: &str, of: Option<&str>| {
        let mut object =
            json!({"apiVersion": "w144.example.com/v1", "kind": "Owner", "metadata": {"name": name}});
        if let Some(uid) = of {
            object["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "w144.example.com/v1", "kind": "Owner", "name": "first", "uid": uid}]);
        }
        object.to_string()
    };
    sh.apply(&owner("first", None));
    let uid = sh.ok("kubectl get owner first -o jsonpath={.metadata.uid}");
    sh.apply(&owner("second", Some(&uid)));
    sh.ok("kubectl delete owner first");
    sh.ok("kubectl wait --for=delete owner/second --timeout=30s");

    sh.apply(&owner("first", None));
    let uid = sh.ok("kubectl get owner first -o jsonpath={.metadata.uid}");
    sh.apply(&owner("second", Some(&uid)));
    sh.ok("kubectl delete owner first --cascade=orphan");
    sh.ok("kubectl wait --for=jsonpath='{.metadata.name}'=second owner/second --timeout=5s");
    assert_eq!(sh.ok("kubectl get owner second -o jsonpath={.metadata.ownerReferences}"), "");

    // Owned by one, a built-in object goes with it.
    let uid = sh.ok("kubectl get owner second -o jsonpath={.metadata.uid}");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [
        {"apiVersion": "w144.example.com/v1", "kind": "Owner", "name": "second", "uid": uid, "blockOwnerDeletion": true}]}});
    sh.apply(&map.to_string());
    sh.ok("kubectl delete owner second --cascade=foreground --timeout=30s");
    assert!(sh.fails("kubectl get configmap owned").contains("not found"));
    sh.ok("kubectl create quota few --hard=count/owners.w144.example.com=1");
    sh.ok("kubectl wait --for=jsonpath='{.status.hard}' quota/few --timeout=10s");
    sh.apply(&owner("first", None));
    assert!(
        sh.fails(&format!("echo '{}' | kubectl create -f -", owner("second", None)))
            .contains("exceeded quota")
    );
    sh.ok("kubectl delete crd owners.w144.example.com --timeout=30s");
}

fn w144c(scene: &Scene) {
    let sh = &scene.shell;
    let simple = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut watch = sh.start("kubectl get crd -l row=noxus -w --output-watch-events --no-headers");
    let noxus = definition("noxus", "Noxu", &simple);
    established(sh, &noxus);
    watch.wait_for("ADDED");
    assert_eq!(
        sh.ok("kubectl get crd -l row=noxus -o name"),
        "customresourcedefinition.apiextensions.k8s.io/noxus.w144.example.com\n"
    );
    sh.ok("kubectl patch crd noxus.w144.example.com --type=merge -p '{\"metadata\":{\"labels\":{\"more\":\"yes\"}}}'");
    let status = sh.ok("kubectl get --raw /apis/apiextensions.k8s.io/v1/customresourcedefinitions/noxus.w144.example.com/status");
    assert!(status.contains("\"Established\""), "{status}");
    let free = json!({"apiVersion": "w144.example.com/v1", "kind": "Noxu", "metadata": {"name": "a"}, "spec": {"any": [1, {"b": null}]}});
    sh.apply(&free.to_string());
    assert_eq!(sh.ok("kubectl get noxu a -o jsonpath={.spec.any[0]}"), "1");
    let published = sh.ok("kubectl get --raw /openapi/v2");
    let published: Value = serde_json::from_str(&published).expect("JSON");
    let mut schema = published["definitions"]["com.example.w144.v1.Noxu"].clone();
    let own = schema.as_object_mut().expect("published");
    own.remove("x-kubernetes-group-version-kind");
    // kubectl would take any named field for one of all that there are.
    assert_eq!(schema, json!({"type": "object"}));
    // A second version, renamed, and one that is served no more.
    let mut changed = noxus.clone();
    let mut second = noxus["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    changed["spec"]["versions"] = json!([noxus["spec"]["versions"][0], second]);
    sh.apply(&changed.to_string());
    assert_eq!(
        sh.ok("kubectl get noxus.v2.w144.example.com a -o jsonpath={.apiVersion}"),
        "w144.example.com/v2"
    );
    changed["spec"]["versions"][1]["name"] = "v3".into();
    sh.apply(&changed.to_string());
    let published = sh.ok("kubectl get --raw /openapi/v2");
    assert!(
        published.contains("com.example.w144.v3.Noxu") && !published.contains("com.example.w144.v2.Noxu")
    );
    let names = definition("noxusalike", "Noxu", &simple);
    sh.apply(&names.to_string());
    sh.ok("kubectl wait --for=condition=NamesAccepted=false crd/noxusalike.w144.example.com --timeout=10s");
    let told = sh.ok("kubectl get crd noxusalike.w144.example.com -o jsonpath='{.status.conditions[?(@.type==\"NamesAccepted\")].reason}'");
    assert!(told.contains("KindConflict"), "{told}");
    sh.ok("kubectl delete crd noxus.w144.example.com --timeout=30s");
    // Its names are free now.
    sh.ok("kubectl wait --for=condition=established crd/noxusalike.w144.example.com --timeout=10s");
    watch.wait_for("DELETED");
    sh.ok("kubectl delete crd noxusalike.w144.example.com --timeout=30s");
}
