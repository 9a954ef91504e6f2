//! PersistentVolume.

use serde_json::Value;

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;
use super::volumes;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let volume = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, volume);
    put!(text, 0, "Finalizers:\t{}", volume.bracketed("metadata.finalizers"));
    put!(text, 0, "StorageClass:\t{}", volumes::class_of(volume));
    status(view, text);
    let claim = volume.at("spec.claimRef");
    let claim = claim.map(|claim| format!("{}/{}", claim.text("namespace"), claim.text("name")));
    put!(text, 0, "Claim:\t{}", claim.unwrap_or_default());
    put!(text, 0, "Reclaim Policy:\t{}", volume.text("spec.persistentVolumeReclaimPolicy"));
    put!(text, 0, "Access Modes:\t{}", volumes::access_modes(volume, "spec.accessModes"));
    if volume.has("spec.volumeMode") {
        put!(text, 0, "VolumeMode:\t{}", volume.text("spec.volumeMode"));
    }
    put!(text, 0, "Capacity:\t{}", volume.quantity("spec.capacity.storage"));
    affinity(text, volume);
    put!(text, 0, "Message:\t{}", volume.text("status.message"));
    put!(text, 0, "Source:");
    volumes::of_persistent(text, volume.at("spec").unwrap_or(&Value::Null));
    events::write(view, text);
    Ok(())
}

/// The phase of a volume or a claim, or that it is being deleted.
pub fn status(view: &View<'_>, text: &mut Text) {
    match view.object.at("metadata.deletionTimestamp") {
        Some(time) => put!(text, 0, "Status:\tTerminating (lasts {})", view.since(Some(time))),
        None => put!(text, 0, "Status:\t{}", view.object.text("status.phase")),
    }
}

fn affinity(text: &mut Text, volume: &Value) {
    let Some(required) = volume.at("spec.nodeAffinity.required") else {
        put!(text, 0, "Node Affinity:\t<none>");
        return;
    };
    put!(text, 0, "Node Affinity:\t");
    let terms = required.items("nodeSelectorTerms");
    put!(text, 1, "Required Terms:\t{}", if terms.is_empty() { "<none>" } else { "" });
    for (index, term) in terms.iter().enumerate() {
        let lines: Vec<String> = term.items("matchExpressions").iter().map(expression).collect();
        metadata::listed(text, 2, "", &format!("Term {index}"), &lines);
    }
}

fn expression(expression: &Value) -> String {
    let shown = format!("{} {}", expression.text("key"), expression.text("operator").to_lowercase());
    match expression.texts("values") {
        values if values.is_empty() => shown,
        values => format!("{shown} [{}]", values.join(", ")),
    }
}
