//! Templates of pods, and what they share with pods: tolerations, spreading.

use serde_json::Value;

use super::containers::{self, Known};
use super::fields::Fields as _;
use super::metadata;
use super::selectors;
use super::text::{Text, put};
use super::view::View;
use super::volumes;

const SPACE: &str = "  ";

pub fn write(text: &mut Text, view: &View<'_>, template: Option<&Value>) {
    put!(text, 0, "Pod Template:");
    let Some(template) = template else {
        text.write(1, "<unset>");
        return;
    };
    metadata::labels(text, "  Labels", template, "metadata.labels");
    if !template.entries("metadata.annotations").is_empty() {
        metadata::annotations(text, "  Annotations", template, "metadata.annotations");
    }
    let spec = template.at("spec").unwrap_or(&Value::Null);
    if !spec.text("serviceAccountName").is_empty() {
        put!(text, 1, "Service Account:\t{}", spec.text("serviceAccountName"));
    }
    let known = Known { view, pod: None, statuses: "", space: SPACE };
    if !spec.items("initContainers").is_empty() {
        containers::write(text, "Init Containers", spec.items("initContainers"), known);
    }
    containers::write(text, "Containers", spec.items("containers"), known);
    volumes::of_pod(text, spec, SPACE);
    spreading(text, spec, SPACE);
    if !spec.text("priorityClassName").is_empty() {
        put!(text, 1, "Priority Class Name:\t{}", spec.text("priorityClassName"));
    }
    metadata::labels(text, "  Node-Selectors", spec, "nodeSelector");
    tolerations(text, "  Tolerations", spec);
}

pub fn spreading(text: &mut Text, spec: &Value, space: &str) {
    let mut constraints: Vec<&Value> = spec.items("topologySpreadConstraints").iter().collect();
    constraints.sort_by_key(|constraint| constraint.text("topologyKey"));
    for (index, constraint) in constraints.into_iter().enumerate() {
        let title = if index == 0 { "Topology Spread Constraints:" } else { "" };
        let mut shown = format!(
            "{space}{title}\t{}:{} when max skew {} is exceeded",
            constraint.text("topologyKey"),
            constraint.text("whenUnsatisfiable"),
            constraint.number("maxSkew")
        );
        if constraint.has("labelSelector") {
            shown.push_str(&format!(" for selector {}", selectors::shown(constraint, "labelSelector")));
        }
        put!(text, 0, "{shown}");
    }
}

pub fn tolerations(text: &mut Text, title: &str, spec: &Value) {
    let mut tolerations: Vec<&Value> = spec.items("tolerations").iter().collect();
    tolerations.sort_by_key(|toleration| toleration.text("key"));
    let lines: Vec<String> = tolerations.into_iter().map(toleration).collect();
    metadata::listed(text, 0, "", title, &lines);
}

fn toleration(toleration: &Value) -> String {
    let (key, value, effect) = (toleration.text("key"), toleration.text("value"), toleration.text("effect"));
    let mut shown = key.to_owned();
    if !value.is_empty() {
        shown.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        shown.push_str(&format!(":{effect}"));
    }
    if toleration.text("operator") == "Exists" && value.is_empty() {
        // With neither key nor effect it tolerates everything.
        shown.push_str(if key.is_empty() && effect.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if toleration.has("tolerationSeconds") {
        shown.push_str(&format!(" for {}s", toleration.number("tolerationSeconds")));
    }
    shown
}
