//! A row made at run time, as a custom resource's will be: its own types, logic, columns, scale paths, selectable and
//! immutable fields, served like a built-in kind.

use std::borrow::Cow;
use std::sync::Arc;

use api::field::{ErrorList, FieldError, Path};
use api::schema::{Field, Shape, Struct, StructId, Types};
use api::{GroupVersion, GroupVersionKind, Object};
use jiff::Timestamp;
use resources::columns::{Head, Printer};
use resources::{
    Changes, Immutable, KindTable, Logic, Part, Resource, ResourceSource, Rules, ScalePaths, Schema, Scope,
    SelectableField, Verb,
};
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};
use crate::watching::Watch;

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// The kinds of this test: the built-in ones and widgets.
struct WithWidgets(Arc<KindTable>);

impl ResourceSource for WithWidgets {
    fn table(&self) -> Arc<KindTable> {
        Arc::clone(&self.0)
    }
}

/// Takes colours from a list that stands nowhere in the program.
struct Colours(Vec<String>);

impl Logic for Colours {
    fn default(&self, object: &mut Object) {
        if object.at(&["spec", "colour"]).is_none() {
            object.set_at(&["spec", "colour"], self.0[0].as_str().into());
        }
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let colour = object.str_at(&["spec", "colour"]).unwrap_or_default();
        if self.0.iter().any(|known| known == colour) {
            return ErrorList::new();
        }
        let known: Vec<&str> = self.0.iter().map(String::as_str).collect();
        vec![FieldError::not_supported(&Path::root("spec").child("colour"), colour, &known)]
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }
}

/// Prints the value at a path.
struct OneColumn {
    name: String,
    path: Vec<String>,
}

impl Printer for OneColumn {
    fn heads(&self) -> Vec<Head<'_>> {
        let name =
            Head { name: "Name", kind: "string", format: "name", description: "The name.", priority: 0 };
        vec![name, Head { name: &self.name, kind: "string", format: "", description: "Given.", priority: 0 }]
    }

    fn cells(&self, object: &Object, _now: Timestamp) -> Vec<Value> {
        vec![object.name().into(), object.at(&self.path).cloned().unwrap_or_default()]
    }
}

fn field(name: &str, shape: Shape) -> Field {
    Field {
        name: name.into(),
        shape,
        required: false,
        default: None,
        retain_keys: false,
        replace: false,
        place: 0,
    }
}

/// A structure of fields in the order of their names.
fn structure(name: &str, fields: Vec<Field>) -> Struct {
    let name = format!("com.example.v1.{name}").into();
    Struct { name, fields: fields.into(), atomic: false, preserve_unknown: false }
}

/// Widgets, as an extension of the built-in types.
fn schema() -> Schema {
    let base = Arc::clone(resources::builtin_types());
    let metadata = base.find("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("built in");
    let first = base.next_id().0;
    let (widget, spec, status) = (StructId(first), StructId(first + 1), StructId(first + 2));
    let structs = vec![
        structure(
            "Widget",
            vec![
                field("apiVersion", Shape::String),
                field("kind", Shape::String),
                field("metadata", Shape::Struct(metadata)),
                field("spec", Shape::Struct(spec)),
                field("status", Shape::Struct(status)),
            ],
        ),
        structure("WidgetSpec", vec![field("colour", Shape::String), field("copies", Shape::Int32)]),
        structure("WidgetStatus", vec![field("copies", Shape::Int32), field("selector", Shape::String)]),
    ];
    Schema::new(Arc::new(Types::extending(base, structs)), widget)
}

fn widgets() -> Resource {
    let schema = schema();
    let path = |text: String| text.split('.').map(|step| Cow::Owned(step.to_owned())).collect::<Vec<_>>();
    let scale = ScalePaths {
        spec_replicas: path("spec.copies".to_owned()),
        status_replicas: path("status.copies".to_owned()),
        selector: path("status.selector".to_owned()),
    };
    let kind = GroupVersionKind::new("example.com", "v1", "Widget");
    Resource {
        group: "example.com".into(),
        version: "v1".into(),
        kind: "Widget".into(),
        list_kind: "WidgetList".into(),
        plural: "widgets".into(),
        singular: "widget".into(),
        short_names: vec!["wd".into()],
        categories: vec!["all".into()],
        scope: Scope::Namespaced,
        verbs: Verb::ALL.to_vec(),
        parts: vec![Part::scale(scale), Part::status(kind)],
        logic: Arc::new(Colours(vec!["red".to_owned(), "blue".to_owned()])),
        rules: Rules { has_generation: true, ..Rules::default() },
        printer: Arc::new(OneColumn {
            name: "Colour".to_owned(),
            path: vec!["spec".into(), "colour".into()],
        }),
        selectable_fields: vec![SelectableField::new(
            "spec.colour".into(),
            path("spec.colour".to_owned()),
            &schema,
        )],
        immutable_fields: vec![Immutable::invalid(&["spec", "colour"], "field is immutable")],
        stored_schema: schema.clone(),
        schema,
        storage_prefix: "example.com/widgets".into(),
        storage_version: GroupVersion::new("example.com", "v1"),
        convert: None,
        conversion: None,
        question: None,
        observed: None,
        elsewhere: false,
        ttl_s: None,
        deprecated: None,
    }
}

async fn server() -> Harness {
    let table = Arc::new(resources::builtin().with([Arc::new(widgets())]));
    Harness::serving(Arc::new(WithWidgets(table))).await
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn created(harness: &Harness, name: &str, spec: Value) -> Value {
    let answer = harness.post(WIDGETS, &widget(name, spec)).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    answer.json()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn its_logic_and_types_judge_what_is_written() {
    let harness = server().await;
    let made = created(&harness, "a", json!({"copies": 2, "unknown": true})).await;
    assert_eq!(made["spec"], json!({"colour": "red", "copies": 2}));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(harness.get(&format!("{WIDGETS}/a")).await.ok(), made);
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(owned, &json!({"f:colour": {}, "f:copies": {}}));

    let green = harness.post(WIDGETS, &widget("b", json!({"colour": "green"}))).await;
    assert_eq!(
        green.refused(422),
        r#"Widget.example.com "b" is invalid: spec.colour: Unsupported value: "green": supported values: "red", "blue""#
    );
    let wrong = harness.post(WIDGETS, &widget("b", json!({"copies": "two"}))).await;
    assert!(wrong.refused(400).contains("copies"));
    let strict =
        harness.post(&format!("{WIDGETS}?fieldValidation=Strict"), &widget("b", json!({"x": 1}))).await;
    assert!(strict.refused(400).contains(r#"unknown field "spec.x""#));

    let recoloured = harness.merge(&format!("{WIDGETS}/a"), &json!({"spec": {"colour": "blue"}})).await;
    assert_eq!(
        recoloured.refused(422),
        r#"Widget.example.com "a" is invalid: spec.colour: Invalid value: "blue": field is immutable"#
    );
    let grown = harness.merge(&format!("{WIDGETS}/a"), &json!({"spec": {"copies": 3}})).await.ok();
    assert_eq!((&grown["metadata"]["generation"], &grown["spec"]["copies"]), (&json!(2), &json!(3)));
    let applied = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: c}\nspec: {copies: 1}\n";
    let applied = harness.apply(&format!("{WIDGETS}/c?fieldManager=m"), applied).await.ok();
    assert_eq!(applied["spec"], json!({"colour": "red", "copies": 1}));
    assert_eq!(harness.delete(&format!("{WIDGETS}/a")).await.status, 200);
}

#[tokio::test]
async fn it_is_listed_selected_watched_and_shown_in_tables() {
    let harness = server().await;
    let watch = "/apis/example.com/v1/widgets?watch=true&fieldSelector=spec.colour%3Dblue";
    let mut watch = Watch::open(&harness, watch, "application/json").await;
    created(&harness, "a", json!({})).await;
    let blue = created(&harness, "b", json!({"colour": "blue"})).await;
    assert_eq!(watch.next().await, Some(json!({"type": "ADDED", "object": blue})));

    let list = harness.get(WIDGETS).await.ok();
    assert_eq!((&list["kind"], names(&list)), (&json!("WidgetList"), vec!["a", "b"]));
    let selected = harness.get(&format!("{WIDGETS}?fieldSelector=spec.colour%3Dblue")).await.ok();
    assert_eq!(names(&selected), ["b"]);
    let unknown = harness.get(&format!("{WIDGETS}?fieldSelector=spec.copies%3D1")).await;
    assert!(unknown.refused(400).contains("spec.copies"));

    for path in [WIDGETS.to_owned(), format!("{WIDGETS}/b")] {
        let table = harness.get_as(&path, TABLE).await.ok();
        let heads = table["columnDefinitions"].as_array().unwrap();
        assert_eq!(heads.iter().map(|head| head["name"].clone()).collect::<Vec<_>>(), ["Name", "Colour"]);
        assert_eq!(table["rows"].as_array().unwrap().last().unwrap()["cells"], json!(["b", "blue"]));
    }
}

#[tokio::test]
async fn its_parts_are_answered() {
    let harness = server().await;
    created(&harness, "a", json!({"copies": 2})).await;
    let url = format!("{WIDGETS}/a");
    let status = json!({"status": {"copies": 1, "selector": "app=a"}, "spec": {"copies": 9}});
    let status = harness.merge(&format!("{url}/status"), &status).await.ok();
    assert_eq!((&status["spec"]["copies"], &status["status"]["copies"]), (&json!(2), &json!(1)));
    let scale = harness.get(&format!("{url}/scale")).await.ok();
    assert_eq!((&scale["kind"], &scale["spec"]), (&json!("Scale"), &json!({"replicas": 2})));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a"}));
    let scaled = harness.merge(&format!("{url}/scale"), &json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(harness.get(&url).await.ok()["spec"], json!({"colour": "red", "copies": 5}));
    harness.get(&format!("{url}/log")).await.refused(404);
}

#[tokio::test]
async fn it_is_found_and_documented() {
    let harness = server().await;
    let groups = harness.get("/apis").await.ok();
    let names: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    // Before what upstream has from an add-on, after what it has itself.
    assert_eq!(names[names.len() - 3..], ["resource.k8s.io", "example.com", "metrics.k8s.io"]);
    let listed = harness.get("/apis/example.com/v1").await.ok();
    let found: Vec<_> = listed["resources"].as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(found, ["widgets", "widgets/scale", "widgets/status"]);
    assert_eq!(listed["resources"][0]["shortNames"], json!(["wd"]));

    let index = harness.get("/openapi/v3").await.ok();
    let url =
        index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().expect("documented").to_owned();
    let document = harness.get(&url).await.ok();
    let schemas = &document["components"]["schemas"];
    let spec = &schemas["com.example.v1.WidgetSpec"]["properties"];
    assert_eq!(spec["copies"]["type"], "integer");
    let widget = &schemas["com.example.v1.Widget"];
    assert_eq!(widget["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    assert!(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
    let scale = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/scale"];
    assert!(scale["get"].is_object(), "{scale}");

    let old: Answer = harness.get("/openapi/v2").await;
    let old = old.ok();
    assert_eq!(old["definitions"]["com.example.v1.WidgetSpec"]["properties"]["colour"]["type"], "string");
    assert!(old["paths"][format!("{}/{{name}}", WIDGETS.replace("default", "{namespace}"))].is_object());
}
