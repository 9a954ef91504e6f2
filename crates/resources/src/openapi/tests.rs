//! The documents' shape, as clients rely on it.

use std::collections::BTreeSet;

use super::*;

/// The names all `$ref`s below a value point to.
fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                into.insert(reference.rsplit('/').next().unwrap_or("").to_owned());
            }
            map.values().for_each(|v| references(v, into));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, into)),
        _ => {}
    }
}

#[test]
fn every_reference_of_v2_resolves() {
    let document = v2(crate::builtin());
    let mut names = BTreeSet::new();
    references(&document, &mut names);
    for name in names {
        let known = document["definitions"].get(&name).or_else(|| document["parameters"].get(&name));
        assert!(known.is_some(), "{name} is not defined");
    }
}

#[test]
fn every_reference_of_v3_resolves() {
    for gv in crate::builtin().group_versions() {
        let document = v3(crate::builtin(), gv).expect("the group is served");
        let mut names = BTreeSet::new();
        references(&document, &mut names);
        for name in names {
            assert!(document["components"]["schemas"].get(&name).is_some(), "{gv}: {name} is not defined");
        }
    }
    assert!(v3(crate::builtin(), &GroupVersion::new("no.such", "v1")).is_none());
}

#[test]
fn a_patch_names_field_validation_and_its_kind() {
    let apps = v3(crate::builtin(), &GroupVersion::new("apps", "v1")).expect("served");
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    let names: Vec<&str> =
        patch["parameters"].as_array().expect("a list").iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["dryRun", "fieldValidation", "fieldManager", "force"]);
}

#[test]
fn merge_facts_are_told() {
    let core = v3(crate::builtin(), &GroupVersion::new("", "v1")).expect("served");
    let schemas = &core["components"]["schemas"];
    let ports = &schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["port", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "port");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(schemas["io.k8s.api.core.v1.ServicePort"]["properties"]["protocol"]["default"], "TCP");
    let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(
        schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"],
        json!([{"group": "", "version": "v1", "kind": "Pod"}])
    );
}

#[test]
fn the_index_lists_every_group_version() {
    let index = v3_index(crate::builtin());
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a URL");
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    assert!(index["paths"].get("api/v1").is_some());
}

#[test]
fn operation_ids_are_unique() {
    let document = v2(crate::builtin());
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("an object") {
        for id in item.as_object().into_iter().flatten().filter_map(|(_, o)| o["operationId"].as_str()) {
            assert!(ids.insert(id.to_owned()), "{id} at {path} is there twice");
        }
    }
    assert!(ids.contains("listCoreV1PodForAllNamespaces"));
    assert!(ids.contains("readRbacAuthorizationV1ClusterRole"));
}

#[test]
fn protobuf_starts_with_the_version_and_title() {
    let bytes = gnostic::encode(&json!({"swagger": "2.0", "info": {"title": "T", "version": "v"}}));
    assert_eq!(bytes[..13], *b"\x0a\x032.0\x12\x06\x0a\x01T\x12\x01v");
}

#[test]
fn free_form_json_has_no_type() {
    let document = v2(crate::builtin());
    let prefix = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let properties = &document["definitions"][prefix]["properties"];
    assert!(properties["default"].get("type").is_none());
    assert!(properties["enum"]["items"].get("type").is_none());
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry";
    assert_eq!(document["definitions"][meta]["properties"]["fieldsV1"]["type"], "object");
}
