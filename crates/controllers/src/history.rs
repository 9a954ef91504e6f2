//! The revisions of a workload's pod template, kept as ControllerRevisions (`pkg/controller/history`): which one is
//! the present template's, what is written to have it so, and which are too old to keep.
//!
//! Start with [`present`]. A revision's data is the patch that gives the workload the template again, so that
//! `kubectl rollout undo` can apply the data as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Action, Cache, Cached, DeletePolicy, Index, Key};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use crate::orphans::Orphans;
use crate::target::{dynamic, target, target_of};
use crate::template::{FNV_OFFSET, fnv1a, safe, without_zeros};

/// Upstream's limit of the part of a revision's name that is its owner's.
const PREFIX_MAX_BYTES: usize = 223;
const DIRECTIVE: &str = "$patch";

/// What a workload's history is decided from.
#[derive(Clone, Copy)]
pub(crate) struct Workload<'a> {
    pub owner: &'a OwnerReference,
    pub namespace: &'a str,
    /// Copied to the revisions that are made.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    pub template: &'a PodTemplateSpec,
    /// The label of a revision that holds its hash.
    pub hash_label: &'static str,
    pub collisions: Option<i32>,
    /// The workload's revisions, and those it is to adopt.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// Others' revisions whose names begin like the workload's.
    pub namesakes: &'a [Arc<ControllerRevision>],
}

/// The revision of the present template.
pub(crate) struct Present {
    pub revision: Arc<ControllerRevision>,
    /// How often a name was taken so far.
    pub collisions: i32,
    /// What is to be written first: the revision itself, or its new number.
    pub write: Option<Action>,
}

impl Present {
    pub fn name(&self) -> &str {
        name_of(&self.revision)
    }
}

pub(crate) fn name_of(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or("")
}

/// The hash by which pods are labelled as of a revision; the name of a revision that has no hash.
pub(crate) fn hash_of<'a>(revision: &'a ControllerRevision, label: &str) -> &'a str {
    let labels = revision.metadata.labels.as_ref();
    labels.and_then(|all| all.get(label)).map_or(name_of(revision), String::as_str)
}

/// The revisions that keep a template.
pub(crate) fn equal<'a>(
    revisions: &'a [Arc<ControllerRevision>],
    template: &PodTemplateSpec,
) -> impl Iterator<Item = &'a ControllerRevision> {
    let data = data_of(template);
    revisions.iter().map(|revision| &**revision).filter(move |revision| is_equal(revision, &data))
}

/// Finds the revision of the present template, which gets the highest number, or makes it.
pub(crate) fn present(workload: &Workload<'_>) -> Present {
    let data = data_of(workload.template);
    let sorted = sorted(workload.revisions);
    let collisions = workload.collisions.unwrap_or(0);
    let newest = sorted.last().map_or(0, |revision| revision.revision);
    if let Some(equal) = sorted.iter().rev().find(|revision| is_equal(revision, &data)) {
        if equal.revision == newest {
            return Present { revision: (*equal).clone(), collisions, write: None };
        }
        let number = newest + 1;
        let renumbered = ControllerRevision { revision: number, ..ControllerRevision::clone(equal) };
        let patch = json!({
            "metadata": {"uid": equal.metadata.uid, "resourceVersion": equal.metadata.resource_version},
            "revision": number,
        });
        let write = Some(Action::MergePatch { target: target_of(&***equal), patch });
        return Present { revision: Arc::new(renumbered), collisions, write };
    }
    make(workload, &data, newest + 1, collisions)
}

/// Makes the revision under the first name that is not another object's. An object that has the name and the same
/// data will do.
fn make(workload: &Workload<'_>, data: &Value, number: i64, mut collisions: i32) -> Present {
    loop {
        let made = object(workload, data, number, collisions);
        let all = workload.namesakes.iter().chain(workload.revisions);
        let taken = all.into_iter().find(|other| other.metadata.name == made.metadata.name);
        match taken {
            Some(other) if is_equal(other, data) => {
                return Present { revision: other.clone(), collisions, write: None };
            }
            Some(_) => collisions = collisions.saturating_add(1),
            None => {
                let target = target::<ControllerRevision>(workload.namespace, "");
                let write = Some(Action::Create { target, object: dynamic(&made) });
                return Present { revision: Arc::new(made), collisions, write };
            }
        }
    }
}

fn object(workload: &Workload<'_>, data: &Value, number: i64, collisions: i32) -> ControllerRevision {
    let hash = hash(data, collisions);
    let mut prefix = workload.owner.name.as_str();
    while prefix.len() > PREFIX_MAX_BYTES {
        prefix = &prefix[..prefix.floor_char_boundary(PREFIX_MAX_BYTES)];
    }
    let mut labels = workload.template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(workload.hash_label.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: Some(workload.namespace.to_owned()),
            labels: Some(labels),
            annotations: workload.annotations.cloned(),
            owner_references: Some(vec![workload.owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data.clone())),
        revision: number,
    }
}

/// The hash of a revision's data and of the number of names that were taken.
fn hash(data: &Value, collisions: i32) -> String {
    // Objects in a `Value` are sorted by key: the order of fields in the type does not matter.
    let sum = fnv1a(FNV_OFFSET, data.to_string().as_bytes());
    safe(fnv1a(sum, collisions.to_string().as_bytes()))
}

/// The patch that gives a workload this template.
fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).expect("typed API objects serialize to JSON");
    if let Some(fields) = template.as_object_mut() {
        fields.insert(DIRECTIVE.to_owned(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

/// The template that a revision keeps; `None` where the data is something else.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove(DIRECTIVE);
    serde_json::from_value(template).ok()
}

/// Whether a revision keeps the template of `data`. Compared as templates, because bytes that an older version wrote
/// may say the same in another way.
fn is_equal(revision: &ControllerRevision, data: &Value) -> bool {
    template_of(revision).is_some_and(|kept| {
        let kept = data_of(&kept);
        kept == *data || without_zeros(kept) == without_zeros(data.clone())
    })
}

/// Revisions in the order of their numbers.
pub(crate) fn sorted(revisions: &[Arc<ControllerRevision>]) -> Vec<&Arc<ControllerRevision>> {
    let mut sorted: Vec<_> = revisions.iter().collect();
    sorted.sort_by_key(|revision| {
        let meta = &revision.metadata;
        (revision.revision, meta.creation_timestamp.as_ref().map(|time| time.0), meta.name.clone())
    });
    sorted
}

/// Deletes the oldest revisions that no pod is of, beyond the limit.
pub(crate) fn truncation(
    revisions: &[Arc<ControllerRevision>],
    is_live: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Vec<Action> {
    let Ok(limit) = usize::try_from(limit.unwrap_or(10)) else { return Vec::new() };
    let idle: Vec<_> = sorted(revisions).into_iter().filter(|revision| !is_live(revision)).collect();
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).map(|revision| deletion(revision)).collect()
}

pub(crate) fn deletion(revision: &ControllerRevision) -> Action {
    Action::Delete {
        target: target_of(revision),
        policy: DeletePolicy { uid: revision.metadata.uid.clone(), ..DeletePolicy::default() },
    }
}

/// Where a controller finds revisions.
pub(crate) struct Revisions {
    cache: Cache<ControllerRevision>,
    owned: Index<ControllerRevision>,
    orphans: Orphans<ControllerRevision>,
}

/// What a round finds of one workload's revisions.
pub(crate) struct Found {
    pub owned: Vec<Cached<ControllerRevision>>,
    /// Orphans that the workload's selector picks.
    pub orphans: Vec<Cached<ControllerRevision>>,
    /// Others whose names begin like the workload's.
    pub namesakes: Vec<Cached<ControllerRevision>>,
}

impl Revisions {
    pub fn new(cache: Cache<ControllerRevision>) -> Self {
        Self { owned: cache.by_controller(), orphans: Orphans::new(&cache), cache }
    }

    pub fn find(&self, key: &Key, uid: &str, selector: &LabelSelector) -> Found {
        let namespace = &*key.namespace;
        let owned: Vec<_> =
            self.owned.get(uid).into_iter().filter(|revision| revision.namespace() == namespace).collect();
        let mut orphans = self.orphans.selected(namespace, selector);
        orphans.retain(|revision| !revision.is_being_deleted());
        let mut namesakes = self.cache.named_like(namespace, &format!("{}-", key.name));
        namesakes.retain(|other| !owned.iter().chain(&orphans).any(|own| own.key == other.key));
        Found { owned, orphans, namesakes }
    }
}

#[cfg(test)]
mod tests;
