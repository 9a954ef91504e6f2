//! PersistentVolumeClaim.

use serde_json::Value;

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::persistent_volume;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::{View, core};
use super::volumes;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let claim = view.object;
    let pods = view.neighbours(core("pods"), "")?;
    metadata::names(text, claim);
    put!(text, 0, "StorageClass:\t{}", volumes::class_of(claim));
    persistent_volume::status(view, text);
    put!(text, 0, "Volume:\t{}", claim.text("spec.volumeName"));
    metadata::labels_and_annotations(text, claim);
    put!(text, 0, "Finalizers:\t{}", claim.bracketed("metadata.finalizers"));
    let (mut capacity, mut modes) = (String::new(), String::new());
    if !claim.text("spec.volumeName").is_empty() {
        modes = volumes::access_modes(claim, "status.accessModes");
        capacity = claim.quantity("status.capacity.storage").to_string();
    }
    put!(text, 0, "Capacity:\t{capacity}");
    put!(text, 0, "Access Modes:\t{modes}");
    if claim.has("spec.volumeMode") {
        put!(text, 0, "VolumeMode:\t{}", claim.text("spec.volumeMode"));
    }
    volumes::data_source(text, 0, claim);
    let mut names = users(claim, &pods);
    names.sort();
    metadata::listed(text, 0, "", "Used By", &names);
    conditions(view, text);
    events::write(view, text);
    Ok(())
}

/// The pods that mount the claim, and those that own it.
fn users(claim: &Value, pods: &[Value]) -> Vec<String> {
    let name = claim.text("metadata.name");
    let mut users: Vec<&Value> = Vec::new();
    for pod in pods {
        let mounts = pod.items("spec.volumes").iter();
        users.extend(mounts.filter(|v| v.text("persistentVolumeClaim.claimName") == name).map(|_| pod));
    }
    for owner in claim.items("metadata.ownerReferences").iter().filter(|owner| owner.text("kind") == "Pod") {
        let uid = owner.text("uid");
        let found = pods.iter().find(|pod| pod.text("metadata.uid") == uid);
        if let Some(pod) = found.filter(|_| users.iter().all(|user| user.text("metadata.uid") != uid)) {
            users.push(pod);
        }
    }
    users.into_iter().map(|pod| pod.text("metadata.name").to_owned()).collect()
}

fn conditions(view: &View<'_>, text: &mut Text) {
    let conditions = view.object.items("status.conditions");
    if conditions.is_empty() {
        return;
    }
    put!(text, 0, "Conditions:");
    put!(text, 1, "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage");
    put!(text, 1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in conditions {
        let (kind, status) = (condition.text("type"), condition.text("status"));
        let (probe, change) =
            (view.time(condition.at("lastProbeTime")), view.time(condition.at("lastTransitionTime")));
        let (reason, message) = (condition.text("reason"), condition.text("message"));
        put!(text, 1, "{kind} \t{status} \t{probe} \t{change} \t{reason} \t{message}");
    }
}
