//! Custom kinds, from a stored definition on: what is served, and when it begins and ends. Who accepts a definition's
//! names is a controller, in whose place these tests write the status.

use serde_json::{Value, json};
use store::memory::{self, Memory};

use crate::harness::Harness;
use crate::watching::Watch;

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// A version of widgets: a size, copies with a scale, a status.
fn version(name: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.copies",
            "statusReplicasPath": ".status.copies", "labelSelectorPath": ".status.selector"}},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "string", "jsonPath": ".spec.size"},
            {"name": "Copies", "type": "integer", "jsonPath": ".spec.copies", "priority": 1},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}],
        "selectableFields": [{"jsonPath": ".spec.size"}],
        "schema": {"openAPIV3Schema": {"type": "object", "description": "Things of a size.", "properties": {
            "spec": {"type": "object", "required": ["size"], "properties": {
                "size": {"type": "string", "enum": ["small", "large"], "default": "small", "description": "How large."},
                "copies": {"type": "integer", "minimum": 1, "maximum": 9},
                "port": {"x-kubernetes-int-or-string": true},
                "note": {"type": "string", "nullable": true},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string"}, "value": {"type": "string", "pattern": "^[a-z]+$"}}}}}},
            "status": {"type": "object", "properties": {"copies": {"type": "integer"}, "selector": {"type": "string"},
                "conditions": {"type": "array", "items": {"type": "object",
                    "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}}}}},
    })
}

fn definition(versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions, "names": {
            "plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]}},
    })
}

/// Has a definition served, as its controller does.
pub async fn establish(harness: &Harness, name: &str) {
    let made = harness.get(&format!("{DEFINITIONS}/{name}")).await.ok();
    let status = json!({"status": {"acceptedNames": made["spec"]["names"], "conditions": [
        {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}});
    harness.merge(&format!("{DEFINITIONS}/{name}/status"), &status).await.ok();
}

async fn serving(versions: Value) -> Harness {
    let harness = Harness::start().await;
    let made = harness.post(DEFINITIONS, &definition(versions)).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    establish(&harness, "widgets.example.com").await;
    harness
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn created(harness: &Harness, name: &str, spec: Value) -> Value {
    let answer = harness.post(WIDGETS, &widget(name, spec)).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    answer.json()
}

#[tokio::test]
async fn a_definition_is_served_from_its_acceptance_to_its_end() {
    let harness = Harness::start().await;
    harness.get(WIDGETS).await.refused(404);
    let made = harness.post(DEFINITIONS, &definition(json!([version("v1", true)]))).await.json();
    assert_eq!(made["spec"]["names"]["singular"], "widget");
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    harness.get(WIDGETS).await.refused(404);
    establish(&harness, "widgets.example.com").await;
    let list = harness.get(WIDGETS).await.ok();
    assert_eq!((&list["kind"], &list["items"]), (&json!("WidgetList"), &json!([])));

    let listed = harness.get("/apis/example.com/v1").await.ok();
    let names: Vec<_> = listed["resources"].as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let found = harness.get_as("/apis", aggregated).await;
    let groups = found.json();
    assert!(
        groups["items"].as_array().unwrap().iter().any(|group| group["metadata"]["name"] == "example.com")
    );

    created(&harness, "a", json!({})).await;
    let definition = format!("{DEFINITIONS}/widgets.example.com");
    let going = harness.delete(&definition).await.ok();
    assert_eq!(going["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let conditions = going["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.last().unwrap()["reason"], "InstanceDeletionPending");
    assert_eq!(harness.post(WIDGETS, &widget("b", json!({}))).await.status, 405);
    let applied = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: b}\n";
    assert_eq!(harness.apply(&format!("{WIDGETS}/b?fieldManager=m"), applied).await.status, 405);
    harness.merge(&format!("{WIDGETS}/a"), &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(harness.delete(WIDGETS).await.status, 200);
    let mut watch = Watch::open(&harness, &format!("{WIDGETS}?watch=true"), "application/json").await;
    harness.merge(&definition, &json!({"metadata": {"finalizers": []}})).await.ok();
    harness.get(WIDGETS).await.refused(404);
    harness.get("/apis/example.com/v1").await.refused(404);
    harness.get("/apis/example.com").await.refused(404);
    assert_eq!(watch.next().await, None);
    assert_ne!(harness.get_as("/apis", aggregated).await.headers["etag"], found.headers["etag"]);
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_validated() {
    let harness = serving(json!([version("v1", true)])).await;
    let spec = json!({"copies": 2, "unknown": 1, "port": "http", "note": null, "free": {"any": [1, null]},
        "parts": [{"name": "p", "more": 1}]});
    let made = created(&harness, "a", spec).await;
    assert_eq!(
        made["spec"],
        json!({"size": "small", "copies": 2, "port": "http", "note": null, "free": {"any": [1, null]}, "parts": [{"name": "p"}]})
    );
    assert_eq!(harness.get(&format!("{WIDGETS}/a")).await.ok(), made);
    let bad = json!({"size": "huge", "copies": "two", "port": true, "parts": [{"name": "p", "value": "1"}, {"name": "p"}]});
    assert_eq!(
        harness.post(WIDGETS, &widget("b", bad)).await.refused(422),
        "Widget.example.com \"b\" is invalid: [\
         spec.copies: Invalid value: \"string\": spec.copies in body must be of type integer: \"string\", \
         spec.parts[0].value: Invalid value: \"1\": spec.parts[0].value in body should match '^[a-z]+$', \
         spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\", \
         spec.size: Unsupported value: \"huge\": supported values: \"small\", \"large\", \
         spec.parts[1]: Duplicate value: {\"name\":\"p\"}]"
    );
    let many = harness.post(WIDGETS, &widget("b", json!({"copies": 10}))).await;
    assert_eq!(
        many.refused(422),
        "Widget.example.com \"b\" is invalid: spec.copies: Invalid value: 10: spec.copies in body should be less than or equal to 9"
    );
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let refused =
        harness.post(&strict, &widget("b", json!({"x": 1, "parts": [{"name": "p", "y": 1}]}))).await;
    assert_eq!(
        refused.refused(400),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.parts[0].y\", unknown field \"spec.x\""
    );
    let warned = harness.post(WIDGETS, &widget("w", json!({"x": 1}))).await;
    assert!(warned.headers["warning"].to_str().unwrap().contains("unknown field"), "{:?}", warned.headers);
}

#[tokio::test]
async fn an_object_of_a_custom_kind_says_what_it_is() {
    let harness = serving(json!([version("v1", true)])).await;
    let untyped = json!({"metadata": {"name": "a"}, "spec": {}});
    let refused = harness.post(WIDGETS, &untyped).await.refused(400);
    assert_eq!(
        refused,
        "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in \
         '{\"metadata\":{\"name\":\"a\"},\"spec\":{}}' ({\"metadata\":{\"name\":\"a\"},\"spec ...)"
    );
    let unversioned = json!({"kind": "Widget", "metadata": {"name": "a"}, "spec": {}});
    let refused = harness.post(WIDGETS, &unversioned).await.refused(400);
    assert_eq!(
        refused,
        "the API version in the data () does not match the expected API version (example.com/v1)"
    );
    let made = created(&harness, "a", json!({})).await;
    let listed = harness.get(WIDGETS).await.ok();
    assert_eq!(
        (&listed["items"][0]["kind"], &listed["items"][0]["apiVersion"]),
        (&made["kind"], &made["apiVersion"])
    );
    let refused = harness.get(&format!("{WIDGETS}?fieldSelector=spec.note%3Dx")).await.refused(400);
    assert!(refused.contains("field label not supported: spec.note"), "{refused}");
}

#[tokio::test]
async fn patches_keep_the_rules_and_strategic_ones_are_not_taken() {
    let harness = serving(json!([version("v1", true)])).await;
    created(&harness, "a", json!({"parts": [{"name": "p", "value": "a"}]})).await;
    let url = format!("{WIDGETS}/a");
    let strategic = harness.patch(&url, "application/strategic-merge-patch+json", &json!({"spec": {}})).await;
    let accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    assert!(strategic.refused(415).ends_with(&format!("accepted media types include: {accepted}")));
    let json_patch = json!([{"op": "add", "path": "/spec/copies", "value": 3}]);
    let patched = harness.patch(&url, "application/json-patch+json", &json_patch).await.ok();
    assert_eq!((&patched["spec"]["copies"], &patched["metadata"]["generation"]), (&json!(3), &json!(2)));
    let applied = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec: {parts: [{name: q, value: b}]}\n";
    let applied = harness.apply(&format!("{url}?fieldManager=m"), applied).await.ok();
    assert_eq!(applied["spec"]["parts"], json!([{"name": "p", "value": "a"}, {"name": "q", "value": "b"}]));
    let owners = applied["metadata"]["managedFields"].as_array().unwrap();
    let owner = owners.iter().find(|owner| owner["manager"] == "m").unwrap();
    assert_eq!(
        owner["fieldsV1"]["f:spec"]["f:parts"],
        json!({"k:{\"name\":\"q\"}": {".": {}, "f:name": {}, "f:value": {}}})
    );
    let status = json!({"spec": {"copies": 9}, "status": {"copies": 1, "selector": "app=a"}, "metadata": {"labels": {"a": "b"}}});
    let status = harness.merge(&format!("{url}/status"), &status).await.ok();
    assert_eq!((&status["spec"]["copies"], &status["status"]["copies"]), (&json!(3), &json!(1)));
    assert_eq!((&status["metadata"]["labels"], &status["metadata"]["generation"]), (&Value::Null, &json!(3)));
    let scale = harness.merge(&format!("{url}/scale"), &json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 5}), &json!({"replicas": 1, "selector": "app=a"}))
    );
    let put = harness.put(&url, &widget("a", json!({}))).await;
    assert!(
        put.refused(422)
            .contains("metadata.resourceVersion: Invalid value: 0: must be specified for an update")
    );
}

#[tokio::test]
async fn tables_selectors_and_watches_know_the_definition() {
    let harness = serving(json!([version("v1", true)])).await;
    let large = format!("{WIDGETS}?fieldSelector=spec.size%3Dlarge");
    let mut watch = Watch::open(&harness, &format!("{large}&watch=true"), "application/json").await;
    created(&harness, "a", json!({})).await;
    let b = created(&harness, "b", json!({"size": "large", "copies": 2})).await;
    assert_eq!(watch.next().await, Some(json!({"type": "ADDED", "object": b})));
    assert_eq!(harness.get(&large).await.ok()["items"], json!([b]));
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    harness.merge(&format!("{WIDGETS}/b/status"), &ready).await.ok();
    let table = harness.get_as(WIDGETS, TABLE).await.ok();
    let heads: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|h| h["name"].clone()).collect();
    assert_eq!(heads, ["Name", "Size", "Copies", "Ready"]);
    assert_eq!(table["rows"][1]["cells"], json!(["b", "large", 2, "True"]));
    assert_eq!(table["rows"][0]["cells"], json!(["a", "small", null, null]));
}

#[tokio::test]
async fn versions_are_one_object_and_a_changed_schema_holds_for_what_is_stored() {
    let harness = serving(json!([version("v1", true), version("v2", false)])).await;
    created(&harness, "a", json!({})).await;
    let second = WIDGETS.replace("v1", "v2");
    let read = harness.get(&format!("{second}/a")).await.ok();
    assert_eq!((&read["apiVersion"], &read["spec"]["size"]), (&json!("example.com/v2"), &json!("small")));
    let order = harness.get("/apis/example.com").await.ok();
    assert_eq!(order["preferredVersion"]["version"], "v2");

    let url = format!("{DEFINITIONS}/widgets.example.com");
    let mut changed = harness.get(&url).await.ok();
    for place in 0..2 {
        let spec = &mut changed["spec"]["versions"][place]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["properties"]["colour"] = json!({"type": "string", "default": "red"});
    }
    changed["spec"]["versions"][0]["storage"] = false.into();
    changed["spec"]["versions"][1]["storage"] = true.into();
    let changed = harness.put(&url, &changed).await.ok();
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(harness.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["colour"], "red");
    let list = harness.get(&second).await.ok();
    assert_eq!(
        (&list["items"][0]["apiVersion"], &list["items"][0]["spec"]["colour"]),
        (&json!("example.com/v2"), &json!("red"))
    );
}

#[tokio::test]
async fn what_is_stored_is_served_after_a_restart() {
    let store = Memory::new(memory::Config::default());
    let harness = Harness::on(store.clone()).await;
    harness.post(DEFINITIONS, &definition(json!([version("v1", true)]))).await;
    establish(&harness, "widgets.example.com").await;
    let made = created(&harness, "a", json!({})).await;
    drop(harness);
    let harness = Harness::on(store).await;
    assert_eq!(harness.get(&format!("{WIDGETS}/a")).await.ok(), made);
}

#[tokio::test]
async fn a_wrong_definition_is_refused_in_upstreams_words() {
    let harness = Harness::start().await;
    let told = async |change: &dyn Fn(&mut Value)| {
        let mut definition = definition(json!([version("v1", true)]));
        change(&mut definition);
        harness.post(DEFINITIONS, &definition).await.refused(422)
    };
    let named = "CustomResourceDefinition.apiextensions.k8s.io \"widgets.example.com\" is invalid: ";
    let wrong = told(&|d| d["spec"]["versions"][0]["storage"] = false.into()).await;
    assert!(wrong.contains("must have exactly one version marked as storage version"), "{wrong}");
    let wrong = told(&|d| d["spec"]["versions"][0]["schema"] = Value::Null).await;
    assert_eq!(
        wrong,
        format!(
            "{named}[spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required, spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.size\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.]"
        )
    );
    let wrong = told(&|d| d["metadata"]["name"] = "other.example.com".into()).await;
    assert!(
        wrong.contains(
            r#"metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group"#
        ),
        "{wrong}"
    );
    let properties = |d: &mut Value, value: Value| {
        d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] =
            value;
    };
    let at = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[x]";
    let wrong = told(&|d| properties(d, json!({"description": "untyped"}))).await;
    assert_eq!(
        wrong,
        format!("{named}{at}.type: Required value: must not be empty for specified object fields")
    );
    let wrong = told(&|d| properties(d, json!({"type": "array"}))).await;
    assert_eq!(wrong, format!("{named}{at}.items: Required value: must be specified"));
    let wrong = told(&|d| properties(d, json!({"type": "string", "default": 1}))).await;
    assert_eq!(
        wrong,
        format!(
            "{named}{at}.default: Invalid value: \"integer\": {at}.default in body must be of type string: \"integer\""
        )
    );
    let wrong = told(&|d| properties(d, json!({"type": "string", "pattern": "("}))).await;
    assert!(wrong.contains("must be a valid regular expression, but isn't"), "{wrong}");
}

/// Widgets with rules in CEL.
fn ruled(rules: Value, more: &dyn Fn(&mut Value)) -> Value {
    let mut version = version("v1", true);
    let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["x-kubernetes-validations"] = rules;
    more(spec);
    json!([version])
}

#[tokio::test]
async fn rules_judge_objects_and_changes() {
    let rules = json!([
        {"rule": "self.size == 'large' || !has(self.copies) || self.copies <= 3", "message": "small ones have few copies",
            "fieldPath": ".copies", "reason": "FieldValueForbidden"},
        {"rule": "!has(self.parts) || self.parts.all(p, p.name.startsWith('p-'))",
            "messageExpression": "'parts are called p-…, not ' + self.parts[0].name"},
        {"rule": "self.size == oldSelf.size", "message": "size is immutable"},
        {"rule": "oldSelf.hasValue() || !has(self.note)", "optionalOldSelf": true, "message": "a note comes later"},
    ]);
    // What an expression may cost depends on how large values can be.
    let limited = |spec: &mut Value| {
        spec["properties"]["parts"]["maxItems"] = 10.into();
        spec["properties"]["parts"]["items"]["properties"]["name"]["maxLength"] = 20.into();
    };
    let harness = serving(ruled(rules, &limited)).await;
    let named = "Widget.example.com \"a\" is invalid: ";
    let few = harness.post(WIDGETS, &widget("a", json!({"copies": 4}))).await;
    assert_eq!(few.refused(422), format!("{named}spec.copies: Forbidden: small ones have few copies"));
    let wrong = harness
        .post(WIDGETS, &widget("a", json!({"parts": [{"name": "x"}, {"name": "p-a"}, {"name": "y"}]})))
        .await;
    assert_eq!(
        wrong.refused(422),
        format!("{named}spec: Invalid value: \"object\": parts are called p-…, not x")
    );
    let early = harness.post(WIDGETS, &widget("a", json!({"note": "n"}))).await;
    assert_eq!(early.refused(422), format!("{named}spec: Invalid value: \"object\": a note comes later"));
    created(&harness, "a", json!({"copies": 3})).await;
    let url = format!("{WIDGETS}/a");
    harness.merge(&url, &json!({"spec": {"note": "n"}})).await.ok();
    let grown = harness.merge(&url, &json!({"spec": {"size": "large"}})).await;
    assert_eq!(grown.refused(422), format!("{named}spec: Invalid value: \"object\": size is immutable"));
}

#[tokio::test]
async fn what_was_wrong_before_a_rule_may_stay_and_other_parts_change() {
    let harness = serving(json!([version("v1", true)])).await;
    created(&harness, "a", json!({"copies": 2})).await;
    let url = format!("{DEFINITIONS}/widgets.example.com");
    let mut definition = harness.get(&url).await.ok();
    let mut stricter = version("v1", true);
    let copies = &mut stricter["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["copies"];
    copies["x-kubernetes-validations"] = json!([{"rule": "self >= 5"}]);
    copies["minimum"] = 5.into();
    definition["spec"]["versions"] = json!([stricter]);
    harness.put(&url, &definition).await.ok();
    let object = format!("{WIDGETS}/a");
    assert_eq!(harness.merge(&object, &json!({"spec": {"note": "n"}})).await.ok()["spec"]["note"], "n");
    let changed = harness.merge(&object, &json!({"spec": {"copies": 3}})).await;
    assert_eq!(
        changed.refused(422),
        "Widget.example.com \"a\" is invalid: [spec.copies: Invalid value: 3: spec.copies in body should be greater than or equal to 5, spec.copies: Invalid value: \"integer\": failed rule: self >= 5]"
    );
}

#[tokio::test]
async fn a_rule_about_changes_holds_for_what_does_not_change() {
    let rules = json!([{"rule": "self.size == 'small'"}]);
    let must_change = |spec: &mut Value| {
        let text =
            |rule: Value| json!({"type": "string", "maxLength": 9, "x-kubernetes-validations": [rule]});
        spec["properties"]["note"] = text(json!({"rule": "self != oldSelf"}));
        let maybe =
            json!({"rule": "!oldSelf.hasValue() || self != oldSelf.value()", "optionalOldSelf": true});
        spec["properties"]["other"] = text(maybe);
        spec["properties"]["texts"] =
            json!({"type": "object", "additionalProperties": text(json!({"rule": "self != oldSelf"}))});
    };
    let harness = serving(ruled(rules, &must_change)).await;
    let url = format!("{WIDGETS}/a");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    for field in ["note", "other"] {
        created(&harness, "a", json!({field: "x"})).await;
        let told = harness.merge(&url, &labelled).await.refused(422);
        assert!(told.contains(&format!("spec.{field}: Invalid value: \"string\": failed rule: ")), "{told}");
        harness.merge(&url, &json!({"spec": {field: "y"}})).await.ok();
        harness.delete(&url).await.ok();
    }
    created(&harness, "a", json!({"texts": {"k": "x"}})).await;
    let told = harness.merge(&url, &labelled).await.refused(422);
    assert!(
        told.contains("spec.texts[k]: Invalid value: \"string\": failed rule: self != oldSelf"),
        "{told}"
    );
    harness.merge(&url, &json!({"spec": {"texts": {"k": "y"}}})).await.ok();
}

#[tokio::test]
async fn finalizers_of_custom_objects_need_no_domain() {
    let harness = serving(json!([version("v1", true)])).await;
    let mut plain = widget("a", json!({}));
    plain["metadata"]["finalizers"] = json!(["mine", "example.com/f"]);
    let made = harness.post(WIDGETS, &plain).await;
    let warning = "prefer a domain-qualified finalizer name including a path (/)";
    assert!(made.headers["warning"].to_str().unwrap().contains(warning), "{:?}", made.headers);
    assert_eq!(made.ok()["metadata"]["finalizers"], json!(["mine", "example.com/f"]));
    let changed = harness.merge(&format!("{WIDGETS}/a"), &json!({"spec": {"copies": 2}})).await;
    assert_eq!(changed.headers.get("warning"), None);
    changed.ok();
    let maps = "/api/v1/namespaces/default/configmaps";
    harness.post(maps, &json!({"metadata": {"name": "m"}})).await.ok();
    let refused = harness.merge(&format!("{maps}/m"), &json!({"metadata": {"finalizers": ["mine"]}})).await;
    assert_eq!(
        refused.refused(422),
        "ConfigMap \"m\" is invalid: metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
    );
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_with_their_definition() {
    let harness = Harness::start().await;
    let told = async |rule: Value, more: &dyn Fn(&mut Value)| {
        harness.post(DEFINITIONS, &definition(ruled(json!([rule]), more))).await.refused(422)
    };
    let named = "CustomResourceDefinition.apiextensions.k8s.io \"widgets.example.com\" is invalid: ";
    let at = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    let wrong = told(json!({"rule": "self.nothing > 1"}), &|_| ()).await;
    assert_eq!(
        wrong,
        format!(
            "{named}{at}.rule: Invalid value: {{\"rule\":\"self.nothing > 1\"}}: compilation failed: ERROR: <input>:1:5: undefined field 'nothing'\n | self.nothing > 1\n | ....^"
        )
    );
    let wrong = told(json!({"rule": "self.size > 1"}), &|_| ()).await;
    assert!(wrong.contains("found no matching overload for '_>_' applied to '(string, int)'"), "{wrong}");
    let wrong = told(json!({"rule": "self.size +"}), &|_| ()).await;
    assert!(wrong.contains("compilation failed: ERROR: <input>:1:12: Syntax error"), "{wrong}");
    let wrong = told(json!({"rule": "self.size"}), &|_| ()).await;
    assert!(wrong.contains("cel expression must evaluate to a bool"), "{wrong}");
    let wrong = told(json!({"rule": "true", "reason": "Because"}), &|_| ()).await;
    assert!(wrong.contains(&format!("{at}.reason: Unsupported value: \"Because\"")), "{wrong}");
    let inside = |spec: &mut Value| {
        spec["properties"]["many"] = json!({"type": "array", "items": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
    };
    let wrong = told(json!({"rule": "true"}), &inside).await;
    assert!(wrong.contains("oldSelf cannot be used on the uncorrelatable portion of the schema"), "{wrong}");
}

#[tokio::test]
async fn a_rule_ends_in_time_whatever_it_is_given() {
    let rule =
        "self.free.l.all(a, self.free.l.all(b, self.free.l.all(c, self.free.l.all(d, a + b + c + d >= 0))))";
    let typed = |spec: &mut Value| {
        spec["properties"]["free"] = json!({"type": "object", "properties": {"l": {"type": "array", "maxItems": 30, "items": {"type": "integer"}}}});
    };
    let harness = serving(ruled(json!([{"rule": rule}]), &typed)).await;
    let many: Vec<u32> = (0..30).collect();
    let started = std::time::Instant::now();
    let refused = harness.post(WIDGETS, &widget("a", json!({"free": {"l": many}}))).await;
    assert!(refused.refused(422).contains("call cost exceeds limit for rule"));
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[tokio::test]
async fn documents_show_what_the_definition_says() {
    let harness = serving(json!([version("v1", true)])).await;
    let index = harness.get("/openapi/v3").await.ok();
    let url =
        index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().expect("documented").to_owned();
    let document = harness.get(&url).await.ok();
    let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(widget["description"], "Things of a size.");
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["enum"], json!(["small", "large"]));
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["default"], "small");
    assert_eq!(widget["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    let listed = &document["components"]["schemas"]["com.example.v1.WidgetList"];
    assert_eq!(listed["x-kubernetes-group-version-kind"][0]["kind"], "WidgetList");
    assert!(document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
    let old = harness.get("/openapi/v2").await.ok();
    let widget = &old["definitions"]["com.example.v1.Widget"];
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["description"], "How large.");
    assert_eq!(widget["properties"]["spec"]["properties"]["size"].get("default"), None);
    // The address changes with what is told.
    let definition = format!("{DEFINITIONS}/widgets.example.com");
    let mut changed = harness.get(&definition).await.ok();
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "Others.".into();
    harness.put(&definition, &changed).await.ok();
    let index = harness.get("/openapi/v3").await.ok();
    assert_ne!(index["paths"]["apis/example.com/v1"]["serverRelativeURL"], url);
}

#[tokio::test]
async fn a_kind_that_keeps_every_field_is_published_without_any() {
    let mut kept = version("v1", true);
    kept["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    let harness = serving(json!([kept])).await;
    let old = harness.get("/openapi/v2").await.ok();
    let mut widget = old["definitions"]["com.example.v1.Widget"].clone();
    widget.as_object_mut().unwrap().remove("x-kubernetes-group-version-kind");
    let selectable = json!([{"fieldPath": "spec.size"}]);
    assert_eq!(widget, json!({"type": "object", "x-kubernetes-selectable-fields": selectable}));
    let new = harness.get("/openapi/v3/apis/example.com/v1").await.ok();
    let widget = &new["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(widget["x-kubernetes-selectable-fields"], selectable);
    assert!(widget["properties"]["spec"].is_object(), "version 3 has words for both");
}
