//! The conditions of a namespace that is being deleted, in upstream's words
//! (`pkg/controller/namespace/deletion/status_condition_utils.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::contents::Contents;

/// A condition's type, status, reason and message.
type Words = (&'static str, &'static str, &'static str, String);

/// The conditions that report `contents`. Unchanged conditions keep their transition time; conditions of
/// other writers are kept.
pub(super) fn of(
    before: &[NamespaceCondition],
    contents: &Contents,
    now: jiff::Timestamp,
) -> Vec<NamespaceCondition> {
    let mut conditions = before.to_vec();
    for (type_, status, reason, message) in words(contents) {
        let told = conditions.iter_mut().find(|c| c.type_ == type_);
        if let Some(told) = told {
            if told.status != status {
                told.last_transition_time = Some(Time(now));
            }
            told.status = status.to_owned();
            told.reason = Some(reason.to_owned());
            told.message = Some(message);
            continue;
        }
        conditions.push(NamespaceCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        });
    }
    conditions
}

fn words(contents: &Contents) -> [Words; 5] {
    [
        discovery_failure(contents),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        content_failure(&contents.failures),
        content_remaining(contents),
        finalizers_remaining(contents),
    ]
}

fn discovery_failure(contents: &Contents) -> Words {
    const TYPE: &str = "NamespaceDeletionDiscoveryFailure";
    let failed = &contents.undiscovered;
    if failed.is_empty() {
        return (TYPE, "False", "ResourcesDiscovered", "All resources successfully discovered".to_owned());
    }
    let mut each: Vec<String> =
        failed.iter().map(|gv| format!("{gv}: stale GroupVersion discovery: {gv}")).collect();
    each.sort();
    let message = format!(
        "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
        failed.len(),
        each.join(", ")
    );
    (TYPE, "True", "DiscoveryFailed", message)
}

fn content_failure(failures: &[String]) -> Words {
    const TYPE: &str = "NamespaceDeletionContentFailure";
    if failures.is_empty() {
        let message = "All content successfully deleted, may be waiting on finalization";
        return (TYPE, "False", "ContentDeleted", message.to_owned());
    }
    let message =
        format!("Failed to delete all resource types, {} remaining: {}", failures.len(), failures.join(", "));
    (TYPE, "True", "ContentDeletionFailed", message)
}

fn content_remaining(contents: &Contents) -> Words {
    const TYPE: &str = "NamespaceContentRemaining";
    let mut left: Vec<String> = contents
        .next()
        .map(|r| {
            let resource = &r.target.resource;
            format!("{}.{} has {} resource instances", resource.resource, resource.group, r.count)
        })
        .collect();
    if left.is_empty() {
        return (TYPE, "False", "ContentRemoved", "All content successfully removed".to_owned());
    }
    left.sort();
    (TYPE, "True", "SomeResourcesRemain", format!("Some resources are remaining: {}", left.join(", ")))
}

fn finalizers_remaining(contents: &Contents) -> Words {
    const TYPE: &str = "NamespaceFinalizersRemaining";
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in contents.next().flat_map(|r| &r.finalizers) {
        *all.entry(finalizer).or_default() += count;
    }
    if all.is_empty() {
        let message = "All content-preserving finalizers finished";
        return (TYPE, "False", "ContentHasNoFinalizers", message.to_owned());
    }
    let told: Vec<String> = all.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
    let message = format!("Some content in the namespace has finalizers remaining: {}", told.join(", "));
    (TYPE, "True", "SomeFinalizersRemain", message)
}
