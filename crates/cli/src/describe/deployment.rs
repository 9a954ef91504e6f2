//! Deployment.

use serde_json::Value;

use super::conditions;
use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::pod_template;
use super::related::{DescribeError, ResourceName};
use super::selectors;
use super::text::{Text, put};
use super::view::{View, parsed};

const REPLICA_SETS: ResourceName<'_> = ResourceName { group: "apps", version: "v1", resource: "replicasets" };

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let deployment = view.object;
    let selector = selectors::strict(deployment, "spec.selector")?.to_string();
    metadata::names(text, deployment);
    put!(text, 0, "CreationTimestamp:\t{}", view.time(deployment.at("metadata.creationTimestamp")));
    metadata::labels_and_annotations(text, deployment);
    put!(text, 0, "Selector:\t{selector}");
    put!(
        text,
        0,
        "Replicas:\t{} desired | {} updated | {} total | {} available | {} unavailable",
        deployment.number("spec.replicas"),
        deployment.number("status.updatedReplicas"),
        deployment.number("status.replicas"),
        deployment.number("status.availableReplicas"),
        deployment.number("status.unavailableReplicas")
    );
    put!(text, 0, "StrategyType:\t{}", deployment.text("spec.strategy.type"));
    put!(text, 0, "MinReadySeconds:\t{}", deployment.number("spec.minReadySeconds"));
    if let Some(rolling) = deployment.at("spec.strategy.rollingUpdate") {
        // Missing numbers are nil pointers in upstream, which print so.
        let shown =
            |path: &str| if rolling.has(path) { rolling.number_or_text(path) } else { "<nil>".to_owned() };
        let (unavailable, surge) = (shown("maxUnavailable"), shown("maxSurge"));
        put!(text, 0, "RollingUpdateStrategy:\t{unavailable} max unavailable, {surge} max surge");
    }
    pod_template::write(text, view, Some(deployment.at("spec.template").unwrap_or(&Value::Null)));
    conditions::short(text, deployment);
    if let Ok(sets) = view.neighbours(REPLICA_SETS, &selector) {
        replica_sets(text, deployment, &sets);
    }
    events::write(view, text);
    Ok(())
}

/// The sets that the Deployment owns: the one of today's template, and the older ones that have or want pods.
fn replica_sets(text: &mut Text, deployment: &Value, sets: &[Value]) {
    let uid = deployment.text("metadata.uid");
    let mut own: Vec<&Value> = sets
        .iter()
        .filter(|set| metadata::controller(set).is_some_and(|owner| owner.text("uid") == uid))
        .collect();
    own.sort_by_key(|set| (parsed(set.at("metadata.creationTimestamp")), set.text("metadata.name")));
    let template = comparable(deployment);
    let new = own.iter().find(|set| comparable(set) == template).copied();
    let old: Vec<&Value> =
        own.into_iter().filter(|set| !new.is_some_and(|new| std::ptr::eq(new, *set))).collect();
    if old.is_empty() && new.is_none() {
        return;
    }
    put!(text, 0, "OldReplicaSets:\t{}", shown(&old));
    put!(text, 0, "NewReplicaSet:\t{}", shown(&new.into_iter().collect::<Vec<_>>()));
}

/// The template without the label that tells sets apart.
fn comparable(object: &Value) -> Value {
    let mut template = object.at("spec.template").cloned().unwrap_or(Value::Null);
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    if let Some(metadata) = template.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
    }
    template
}

fn shown(sets: &[&Value]) -> String {
    let parts: Vec<String> = sets
        .iter()
        .map(|set| {
            let (has, wants) = (set.number("status.replicas"), set.number("spec.replicas"));
            format!("{} ({has}/{wants} replicas created)", set.text("metadata.name"))
        })
        .collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(", ") }
}
