//! Revisions: the number of a set, the annotations a set gets, and how a new set is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use kube::core::ObjectMeta;

use super::rolling;
use super::rollout::{DESIRED, MAX, Revision, Rollout};
use super::template::{self, HASH_LABEL};
use crate::target::controller_reference;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The numbers a set had before it came back into use.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const HISTORY_LIMIT_BYTES: usize = 2000;

/// Annotations of a deployment that its sets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// A set's number; 0 where it has none.
pub(super) fn number(revision: &Revision) -> i64 {
    revision.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn next(old: &[Revision]) -> i64 {
    old.iter().map(number).max().unwrap_or(0) + 1
}

/// Keeps the present set of the template up to date: the newest number, the deployment's annotations.
pub(super) fn keep_up(rollout: &mut Rollout<'_>) {
    let next = next(&rollout.old);
    let copied = copied(rollout);
    let min_ready_s = rollout.spec.min_ready_seconds.unwrap_or(0);
    let Some(new) = &mut rollout.new else { return };
    new.min_ready_s = min_ready_s;
    for (key, value) in copied {
        new.annotate(&key, value);
    }
    let before = new.annotation(REVISION).map(str::to_owned);
    if number(new) < next {
        new.annotate(REVISION, next.to_string());
        if let Some(before) = before.filter(|b| !b.is_empty()) {
            let history = history(new.annotation(HISTORY), &before);
            new.annotate(HISTORY, history);
        }
    }
}

/// The history with one more number; the oldest are forgotten where it grows too long.
fn history(so_far: Option<&str>, number: &str) -> String {
    let mut numbers: Vec<&str> = so_far.unwrap_or("").split(',').filter(|n| !n.is_empty()).collect();
    numbers.push(number);
    while numbers.len() > 1 && numbers.iter().map(|n| n.len() + 1).sum::<usize>() > HISTORY_LIMIT_BYTES {
        numbers.remove(0);
    }
    numbers.join(",")
}

fn copied(rollout: &Rollout<'_>) -> BTreeMap<String, String> {
    let all = rollout.deployment.metadata.annotations.iter().flatten();
    all.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The name of the set for the deployment's template, and the hash in it.
pub(super) fn new_name(rollout: &Rollout<'_>) -> (String, String) {
    let collisions = rollout.deployment.status.as_ref().and_then(|s| s.collision_count);
    let hash = template::hash(&rollout.spec.template, collisions);
    (format!("{}-{hash}", rollout.name()), hash)
}

/// Adds the set for the deployment's template, as large as the strategy allows.
pub(super) fn make_new(rollout: &mut Rollout<'_>, name: &str, hash: &str) {
    let mut template = rollout.spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = meta.labels.clone();
    let mut selector = rollout.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.to_owned());
    let min_ready_s = rollout.spec.min_ready_seconds.unwrap_or(0);
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: rollout.deployment.metadata.namespace.clone(),
            labels,
            owner_references: Some(vec![controller_reference(rollout.deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: Some(min_ready_s).filter(|s| *s > 0),
            selector,
            template: Some(template),
        }),
        status: None,
    };
    let mut new = Revision { is_new: true, ..Revision::of(Arc::new(set)) };
    for (key, value) in copied(rollout) {
        new.annotate(&key, value);
    }
    new.annotate(REVISION, next(&rollout.old).to_string());
    Rollout::note_scale(&mut new, rollout.replicas, rollout.ceiling());
    rollout.new = Some(new);
    let size = rolling::new_size(rollout);
    if let Some(new) = &mut rollout.new {
        new.replicas = size;
    }
}

/// The object to create for a revision that does not exist yet.
pub(super) fn object(revision: &Revision) -> ReplicaSet {
    let mut set = ReplicaSet::clone(&revision.set);
    set.metadata.annotations = Some(revision.annotations.clone());
    if let Some(spec) = &mut set.spec {
        spec.replicas = Some(revision.replicas);
    }
    set
}

/// Old sets without pods beyond the deployment's history limit, oldest numbers first.
pub(super) fn beyond_history<'a>(rollout: &'a Rollout<'_>) -> Vec<&'a Revision> {
    let limit = match rollout.spec.revision_history_limit {
        None | Some(i32::MAX) => return Vec::new(),
        Some(limit) => usize::try_from(limit).unwrap_or(0),
    };
    let mut kept: Vec<&Revision> =
        rollout.old.iter().filter(|r| r.set.metadata.deletion_timestamp.is_none()).collect();
    let surplus = kept.len().saturating_sub(limit);
    kept.sort_by_key(|r| number(r));
    let idle = |r: &&Revision| {
        let observed = r.set.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
        r.actual() == 0
            && r.replicas == 0
            && r.size_before() == 0
            && r.set.metadata.generation.unwrap_or(0) <= observed
    };
    kept.into_iter().take(surplus).filter(idle).collect()
}
