//! Labels, annotations and owners, which most descriptions begin with.

use serde_json::Value;

use super::fields::Fields as _;
use super::text::{Text, put};

const NONE: &str = "<none>";
/// Longer annotations are cut.
const MAX_ANNOTATION_BYTES: usize = 140;
/// Written by `kubectl apply`; long, and the object in another form.
const SKIPPED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Name, namespace, labels, annotations.
pub fn head(text: &mut Text, object: &Value) {
    names(text, object);
    labels(text, "Labels", object, "metadata.labels");
    annotations(text, "Annotations", object, "metadata.annotations");
}

pub fn names(text: &mut Text, object: &Value) {
    put!(text, 0, "Name:\t{}", object.text("metadata.name"));
    put!(text, 0, "Namespace:\t{}", object.text("metadata.namespace"));
}

pub fn labels_and_annotations(text: &mut Text, object: &Value) {
    labels(text, "Labels", object, "metadata.labels");
    annotations(text, "Annotations", object, "metadata.annotations");
}

/// A map, an entry a line.
pub fn labels(text: &mut Text, title: &str, object: &Value, path: &str) {
    labels_indented(text, "", title, object, path);
}

pub fn labels_indented(text: &mut Text, indent: &str, title: &str, object: &Value, path: &str) {
    let lines: Vec<String> = object
        .entries(path)
        .into_iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    listed(text, 0, indent, title, &lines);
}

/// Lines behind a title, or that there are none.
pub fn listed(text: &mut Text, level: usize, indent: &str, title: &str, lines: &[String]) {
    text.write(level, format_args!("{indent}{title}:\t"));
    let Some((first, rest)) = lines.split_first() else {
        text.line(0, NONE);
        return;
    };
    text.line(0, first);
    for other in rest {
        put!(text, level, "{indent}\t{other}");
    }
}

pub fn annotations(text: &mut Text, title: &str, object: &Value, path: &str) {
    text.write(0, format_args!("{title}:\t"));
    let mut entries = object.entries(path);
    entries.retain(|(key, _)| *key != SKIPPED_ANNOTATION);
    if entries.is_empty() {
        text.line(0, NONE);
        return;
    }
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            text.write(0, "\t");
        }
        let value = value.as_str().unwrap_or_default();
        let value = value.strip_suffix('\n').unwrap_or(value);
        if value.len() + key.len() + 2 > MAX_ANNOTATION_BYTES || value.contains('\n') {
            put!(text, 0, "{key}:");
            for part in value.split('\n') {
                put!(text, 0, "\t  {}", shortened(part, MAX_ANNOTATION_BYTES - 2));
            }
        } else {
            put!(text, 0, "{key}: {value}");
        }
    }
}

/// Cut behind so many bytes; a character is not cut in two, which stock kubectl does.
pub fn shortened(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(max_bytes)])
}

/// The owner that controls the object.
pub fn controller(object: &Value) -> Option<&Value> {
    object.items("metadata.ownerReferences").iter().find(|owner| owner.flag("controller"))
}

pub fn controlled_by(text: &mut Text, object: &Value) {
    if let Some(owner) = controller(object) {
        put!(text, 0, "Controlled By:\t{}/{}", owner.text("kind"), owner.text("name"));
    }
}
