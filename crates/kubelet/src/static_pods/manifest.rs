//! From a manifest's bytes to the pods that it asks for. Pure.
//!
//! Start at [`read`]. A manifest is held against the same structure, defaults and rules as a pod that is sent to the API
//! (upstream `pkg/kubelet/config/common.go`).

mod references;

use std::path::PathBuf;
use std::sync::Arc;

use api::codec::{self, Limits};
use api::field::{self, ErrorList, FieldError, Path};
use api::{Object, names};
use k8s_openapi::api::core::v1::Pod;
use resources::Resource;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::origin::{HASH_ANNOTATION, MIRROR_ANNOTATION, SOURCE_ANNOTATION};

/// The longest manifest, as upstream.
pub const MAX_BYTES: usize = 10 << 20;
/// The most pods of one manifest.
const MAX_PODS: usize = 1_000;
/// What only the API gives to an object, and what nobody would take away again.
const OF_THE_API: [&str; 9] = [
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "selfLink",
    "managedFields",
    "finalizers",
];
/// The priority of what the node cannot be without, which the API gives to pods of these classes.
const CRITICAL: [(&str, i32); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Where a manifest is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    Url(String),
}

impl Origin {
    /// As upstream calls it in the pod's annotation.
    fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Url(_) => "http",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// What stands before the second of several YAML documents: the others are passed over, as upstream does.
fn first_document(bytes: &[u8]) -> &[u8] {
    let (mut at, mut has_content) = (0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let is_mark = text == b"---" || text.starts_with(b"--- ");
        if is_mark && has_content {
            return &bytes[..at];
        }
        let is_said = !text.is_empty() && !text.trim_ascii_start().starts_with(b"#");
        has_content |= is_said && text != b"---";
        at += line.len();
    }
    bytes
}

/// The pods of a manifest for this node: one, or from a URL also those of a list.
///
/// # Errors
/// Says what is wrong with the manifest, with line and column where it is no YAML.
pub fn read(bytes: &[u8], origin: &Origin, node: &str) -> Result<Vec<Arc<Pod>>, String> {
    let limits = Limits { bytes: MAX_BYTES, ..Limits::default() };
    let bytes = first_document(bytes);
    let (value, _) = codec::decode_yaml_value(bytes, &limits).map_err(|error| error.message)?;
    let object = Object::from_value(value).ok_or("it is no object")?;
    let is_list = object.kind() == "PodList" && object.api_version() == "v1";
    if !is_list {
        return Ok(vec![pod(object, origin, node)?]);
    }
    if matches!(origin, Origin::File(_)) {
        return Err("invalid pod: a file holds one pod, not a list".to_owned());
    }
    let items = match object.into_value() {
        Value::Object(mut list) => list.remove("items").unwrap_or_default(),
        _ => Value::Null,
    };
    let items = match items {
        Value::Array(items) if items.len() <= MAX_PODS => items,
        Value::Array(items) => return Err(format!("{} pods are more than {MAX_PODS}", items.len())),
        Value::Null => Vec::new(),
        _ => return Err("the list's items are no list".to_owned()),
    };
    let each = items.into_iter().enumerate().map(|(i, item)| {
        let mut object = Object::from_value(item).ok_or_else(|| format!("items[{i}] is no object"))?;
        if object.kind().is_empty() {
            object.0.insert("kind".into(), "Pod".into());
        }
        if object.api_version().is_empty() {
            object.0.insert("apiVersion".into(), "v1".into());
        }
        pod(object, origin, node).map_err(|why| format!("items[{i}]: {why}"))
    });
    each.collect()
}

fn pod(mut object: Object, origin: &Origin, node: &str) -> Result<Arc<Pod>, String> {
    for (field, told) in [("Kind", object.kind()), ("apiVersion", object.api_version())] {
        if told.is_empty() {
            return Err(format!("Object '{field}' is missing"));
        }
    }
    if object.kind() != "Pod" || object.api_version() != "v1" {
        return Err(format!("invalid pod: it is a {} of {}", object.kind(), object.api_version()));
    }
    let row = resources::builtin().find("", "v1", "pods").ok_or("pods are no kind here")?;
    let report = row.schema.check(&mut object).map_err(|error| error.message)?;
    if !report.unknown.is_empty() {
        tracing::warn!(manifest = %origin, fields = ?report.unknown, "fields that a pod does not have are passed over");
    }
    for field in OF_THE_API {
        object.metadata_mut().remove(field);
    }
    object.metadata_mut().remove("ownerReferences");
    object.0.remove("status");
    // A uid that is written there is part of it: taken as it is, it would outlast an edit.
    let uid = fingerprint(&object, origin, node);
    row.schema.omit_empty(&mut object);
    row.logic.default(&mut object);
    settle(&mut object, &uid, origin, node);
    let mut errors = metadata_errors(row, &object);
    errors.extend(row.logic.validate(&object));
    if !errors.is_empty() {
        return Err(format!("invalid pod: {}", field::aggregate(&errors)));
    }
    let pod: Pod = object.typed().map_err(|error| format!("invalid pod: {error}"))?;
    match references::of(&pod) {
        Some(what) => Err(format!("static pods may not reference {what}")),
        None => Ok(Arc::new(pod)),
    }
}

/// Another one makes another pod: the manifest as it is written, where it is, and the node that runs it.
fn fingerprint(object: &Object, origin: &Origin, node: &str) -> String {
    let mut hash = Sha256::new();
    for part in [&format!("{}:{origin}", origin.word()), node] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(Value::Object(object.0.clone()).to_string().as_bytes());
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What makes it a pod of this node.
fn settle(object: &mut Object, uid: &str, origin: &Origin, node: &str) {
    let name = object.name().to_owned();
    if !name.is_empty() {
        object.set_meta_str("name", format!("{name}-{}", node.to_lowercase()));
    }
    object.set_meta_str("uid", uid);
    if object.namespace().is_empty() {
        object.set_meta_str("namespace", "default");
    }
    let annotations = api::object::object_entry(object.metadata_mut(), "annotations");
    annotations.remove(MIRROR_ANNOTATION);
    annotations.insert(SOURCE_ANNOTATION.into(), origin.word().into());
    annotations.insert(HASH_ANNOTATION.into(), uid.into());
    object.set_at(&["spec", "nodeName"], node.into());
    let class = object.str_at(&["spec", "priorityClassName"]);
    let priority = CRITICAL.iter().find(|(name, _)| Some(*name) == class).map(|(_, priority)| *priority);
    if let (Some(priority), None) = (priority, object.at(&["spec", "priority"])) {
        object.set_at(&["spec", "priority"], priority.into());
    }
    if matches!(origin, Origin::File(_)) {
        tolerate_all(object);
    }
}

/// Nothing that is wrong with the node ends a pod of a file.
fn tolerate_all(object: &mut Object) {
    let mut all = match object.at(&["spec", "tolerations"]) {
        Some(Value::Array(all)) => all.clone(),
        _ => Vec::new(),
    };
    let wanted = json!({"operator": "Exists", "effect": "NoExecute"});
    if !all.contains(&wanted) {
        all.push(wanted);
        object.set_at(&["spec", "tolerations"], Value::Array(all));
    }
}

fn metadata_errors(row: &Resource, object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::root("metadata");
    if object.name().is_empty() {
        errors.push(FieldError::required(&root.child("name"), "name or generateName is required"));
    } else {
        let faults = (row.rules.name_grammar)(object.name());
        errors.extend(
            faults.into_iter().map(|why| FieldError::invalid(&root.child("name"), object.name(), why)),
        );
    }
    let at = root.child("namespace");
    let faults = names::dns1123_label(object.namespace());
    errors.extend(faults.into_iter().map(|why| FieldError::invalid(&at, object.namespace(), why)));
    for (key, value) in object.labels() {
        let faults = names::qualified_name(key).into_iter().chain(names::label_value(value));
        errors.extend(faults.map(|why| FieldError::invalid(&root.child("labels"), key, why)));
    }
    for (key, _) in object.annotations() {
        let faults = names::qualified_name(&key.to_lowercase()).into_iter();
        errors.extend(faults.map(|why| FieldError::invalid(&root.child("annotations"), key, why)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Origin {
        Origin::File(PathBuf::from(format!("/etc/manifests/{name}")))
    }

    fn one(text: &str) -> Result<Arc<Pod>, String> {
        let mut pods = read(text.as_bytes(), &file("web.yaml"), "node-1")?;
        assert_eq!(pods.len(), 1);
        Ok(pods.remove(0))
    }

    const WEB: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx}]}\n";

    #[test]
    fn a_file_becomes_a_pod_of_the_node() {
        let pod = one(WEB).expect("a pod");
        let (meta, spec) = (&pod.metadata, pod.spec.as_ref().expect("a spec"));
        assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("web-node-1"), Some("default")));
        let uid = meta.uid.as_deref().expect("a uid");
        assert_eq!(uid.len(), 32);
        let said = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        assert_eq!((said(SOURCE_ANNOTATION), said(HASH_ANNOTATION)), (Some("file"), Some(uid)));
        assert_eq!(spec.node_name.as_deref(), Some("node-1"));
        assert_eq!(spec.restart_policy.as_deref(), Some("Always"), "as the API would fill it in");
        assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("Always"));
        let tolerated = spec.tolerations.as_deref().expect("tolerations");
        assert!(tolerated.iter().any(|t| t.effect.as_deref() == Some("NoExecute") && t.key.is_none()));
    }

    #[test]
    fn what_is_written_and_where_makes_another_pod() {
        let uid = |text: &str, origin: &Origin, node: &str| {
            read(text.as_bytes(), origin, node).expect("pods")[0].metadata.uid.clone()
        };
        let first = uid(WEB, &file("a"), "n");
        assert_eq!(
            first,
            uid(&WEB.replace("kind: Pod", "kind:   'Pod'"), &file("a"), "n"),
            "the same is said"
        );
        assert_ne!(first, uid(&WEB.replace("nginx", "nginx:2"), &file("a"), "n"));
        assert_ne!(first, uid(WEB, &file("b"), "n"));
        assert_ne!(first, uid(WEB, &file("a"), "m"));
        assert_ne!(first, uid(WEB, &Origin::Url("http://x/a".into()), "n"));
        let given = WEB.replace("{name: web}", "{name: web, uid: ../../abc}");
        assert_ne!(uid(&given, &file("a"), "n"), first);
        assert_eq!(uid(&given, &file("a"), "n").map(|uid| uid.len()), Some(32));
        let edited = given.replace("nginx", "nginx:2");
        assert_ne!(uid(&given, &file("a"), "n"), uid(&edited, &file("a"), "n"));
        assert_ne!(uid(&given, &file("a"), "n"), uid(&given, &file("b"), "n"), "no two have one");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let why = |text: &str| one(text).expect_err("refused");
        let text = why("apiVersion: v1\nkind: Pod\n  metadata: {\n");
        assert!(text.contains("line 3"), "{text}");
        assert_eq!(why("metadata: {name: x}"), "Object 'Kind' is missing");
        assert_eq!(why("apiVersion: v1\nkind: Node"), "invalid pod: it is a Node of v1");
        let text = why(&WEB.replace("name: c,", "name: C,"));
        assert!(text.starts_with("invalid pod: spec.containers[0].name: Invalid value: \"C\""), "{text}");
        let text = why(&WEB.replace("image: nginx", "image: 5"));
        assert!(text.contains("cannot unmarshal number"), "{text}");
    }

    #[test]
    fn what_the_api_gives_is_not_taken_from_a_file() {
        let text = WEB.replace(
            "{name: web}",
            "{name: web, finalizers: [a/b], resourceVersion: '7', deletionTimestamp: '2026-01-01T00:00:00Z', \
             annotations: {kubernetes.io/config.mirror: x}}",
        );
        let pod = one(&(text + "status: {phase: Failed}\n")).expect("a pod");
        assert_eq!((&pod.metadata.finalizers, &pod.metadata.resource_version), (&None, &None));
        assert!(pod.metadata.deletion_timestamp.is_none() && pod.status.is_none());
        assert!(!pod.metadata.annotations.as_ref().expect("some").contains_key(MIRROR_ANNOTATION));
    }

    #[test]
    fn a_url_may_name_a_list() {
        let url = Origin::Url("http://host/pods".into());
        let list = r#"{"apiVersion": "v1", "kind": "PodList", "items": [
            {"metadata": {"name": "a", "namespace": "kube-system"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            {"metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}]}"#;
        let pods = read(list.as_bytes(), &url, "n").expect("pods");
        let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(names, ["a-n", "b-n"]);
        assert!(
            pods[0].spec.as_ref().expect("a spec").tolerations.is_none(),
            "only those of files tolerate all"
        );
        assert!(read(list.as_bytes(), &file("x"), "n").is_err());
        let bad = list.replace("\"name\": \"b\"", "\"name\": \"B\"");
        assert!(read(bad.as_bytes(), &url, "n").expect_err("refused").starts_with("items[1]: invalid pod"));
    }

    #[test]
    fn a_critical_pod_has_its_priority() {
        let text = WEB.replace("{containers", "{priorityClassName: system-node-critical, containers");
        assert_eq!(
            one(&text).expect("a pod").spec.as_ref().and_then(|spec| spec.priority),
            Some(2_000_001_000)
        );
    }

    #[test]
    fn the_first_document_of_a_file_counts() {
        let check = |text: &str, first: &str| assert_eq!(first_document(text.as_bytes()), first.as_bytes());
        check("a: 1\n", "a: 1\n");
        check("# c\n---\na: 1\n---\n# more\n", "# c\n---\na: 1\n");
        check("--- {a: 1}\n---\nb: 2\n", "--- {a: 1}\n");
        check("a: |\n  ---\n  x\n...\n", "a: |\n  ---\n  x\n...\n");
        check("a: ---\nb: '---x'\n---x: 1\n", "a: ---\nb: '---x'\n---x: 1\n");
    }
}
