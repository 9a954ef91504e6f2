//! The decision about one object, from what was read live (`attemptToDeleteItem` in upstream's
//! `pkg/controller/garbagecollector`).

use informer::{Action, DeletePolicy, Plan, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::graph::{Dependent, FOREGROUND, Identity, Known, ORPHAN, Uid};

/// What an owner's live state means for a dependent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The owner exists and does not wait for its dependents.
    Solid,
    /// The owner is gone, or another object has its name now.
    Absent,
    /// The owner waits for its dependents to be deleted.
    Waits,
    /// The owner's state is unknown; nothing may be done because of this owner.
    Unknown,
}

/// One object, read live.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    pub known: Known,
    /// `None`: gone, or another object has its name now.
    pub live: Option<ObjectMeta>,
    /// In the order of the live owner references.
    pub owners: Vec<(OwnerReference, Owner)>,
    /// Of an object whose dependents are to be orphaned: those of custom kinds, which are still there. Their lists are
    /// not merged by the server.
    pub unmerged: Vec<(Identity, ObjectMeta)>,
}

/// What to do, and what to look at next.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decision {
    pub plan: Plan,
    /// The object is gone: the graph removes it.
    pub gone: bool,
    pub check: Vec<Uid>,
}

pub(super) fn target(identity: &Identity) -> Target {
    let row = &identity.row;
    Target::new(&row.group, &row.version, &row.plural, &identity.namespace, &identity.name)
}

/// Decides whether the object is deleted, or has to wait no longer.
pub(super) fn check(situation: &Situation) -> Decision {
    let known = &situation.known;
    let Some(live) = &situation.live else { return Decision { gone: true, ..Decision::default() } };
    let in_foreground = live.deletion_timestamp.is_some() && has(live, FOREGROUND);
    if in_foreground {
        return wait_or_finish(known, live);
    }
    if live.deletion_timestamp.is_some() {
        // Somebody else's finalizers hold it.
        return Decision::default();
    }
    let with = |wanted: Owner| {
        let chosen = situation.owners.iter().filter(move |(_, state)| *state == wanted);
        chosen.map(|(reference, _)| reference.uid.as_str()).collect::<Vec<_>>()
    };
    let (solid, absent, waiting) = (with(Owner::Solid), with(Owner::Absent), with(Owner::Waits));
    if situation.owners.is_empty() || (absent.is_empty() && waiting.is_empty()) {
        return Decision::default();
    }
    if !with(Owner::Unknown).is_empty() && solid.is_empty() {
        return Decision::default();
    }
    let mut plan = Plan::nothing();
    if !solid.is_empty() {
        let lost: Vec<&str> = absent.into_iter().chain(waiting).collect();
        plan.then(without_owners(&known.identity, live, &lost));
        return done(plan, "some owners are gone, others stay");
    }
    if !waiting.is_empty() && !known.dependents.is_empty() {
        if known.dependents.iter().any(|d| d.waits) {
            // A circle: something further down waits as well. Nobody may block anybody then.
            plan.then(unblocked(&known.identity, live));
        }
        plan.then(deletion(&known.identity, live, "Foreground"));
        return done(plan, "its owner waits for it, and it has dependents itself");
    }
    let policy = if has(live, ORPHAN) {
        "Orphan"
    } else if has(live, FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    };
    plan.then(deletion(&known.identity, live, policy));
    done(plan, "all owners are gone")
}

fn done(plan: Plan, why: &str) -> Decision {
    Decision { plan: plan.because(why), ..Decision::default() }
}

/// In foreground deletion: gone as soon as no blocking dependent is left.
fn wait_or_finish(known: &Known, live: &ObjectMeta) -> Decision {
    let blocking: Vec<&Dependent> = known.dependents.iter().filter(|d| d.blocks).collect();
    if blocking.is_empty() {
        let mut plan = Plan::nothing();
        plan.then(without_finalizer(&known.identity, live, FOREGROUND));
        return done(plan, "all dependents that block its deletion are gone");
    }
    let check = blocking.iter().filter(|d| !d.waits).map(|d| d.identity.uid.clone()).collect();
    Decision { check, ..Decision::default() }
}

/// Whether the object's dependents are to be set free.
pub(super) fn is_to_orphan(live: &ObjectMeta) -> bool {
    live.deletion_timestamp.is_some() && has(live, ORPHAN)
}

/// Whether the server merges lists of the object's kind.
pub(super) fn is_merged(identity: &Identity) -> bool {
    identity.row.schema.custom().is_none()
}

/// Orphans the dependents and removes the object's finalizer.
pub(super) fn orphan(situation: &Situation) -> Decision {
    let Some(live) = &situation.live else { return Decision { gone: true, ..Decision::default() } };
    if !is_to_orphan(live) {
        return Decision::default();
    }
    let identity = &situation.known.identity;
    let mut plan = Plan::nothing();
    let merged = situation.known.dependents.iter().filter(|dependent| is_merged(&dependent.identity));
    let merged = merged.map(|dependent| release(&dependent.identity, identity));
    let others = situation.unmerged.iter();
    let others = others.map(|(dependent, live)| without_owners(dependent, live, &[&identity.uid]));
    let released: Vec<Action> = merged.chain(others).collect();
    if !released.is_empty() {
        plan.then(Action::Batch(released));
    }
    plan.then(without_finalizer(identity, live, ORPHAN));
    done(plan, "its dependents are to be orphaned")
}

/// Takes one owner out of a dependent's references; the merge by uid makes a race harmless.
fn release(dependent: &Identity, owner: &Identity) -> Action {
    let gone = json!({"$patch": "delete", "uid": *owner.uid});
    Action::StrategicPatch {
        target: target(dependent),
        patch: json!({"metadata": {"ownerReferences": [gone], "uid": *dependent.uid}}),
    }
}

fn has(live: &ObjectMeta, finalizer: &str) -> bool {
    live.finalizers.iter().flatten().any(|f| f == finalizer)
}

fn deletion(identity: &Identity, live: &ObjectMeta, propagation: &'static str) -> Action {
    Action::Delete {
        target: target(identity),
        policy: DeletePolicy {
            uid: Some(identity.uid.to_string()),
            // An owner added meanwhile must be seen first.
            resource_version: live.resource_version.clone(),
            propagation: Some(propagation),
            grace_period_s: None,
        },
    }
}

fn patch(identity: &Identity, live: &ObjectMeta, field: &str, value: Value) -> Action {
    // An empty list is none.
    let value = if value.as_array().is_some_and(Vec::is_empty) { Value::Null } else { value };
    Action::MergePatch {
        target: target(identity),
        patch: json!({"metadata": {
            "uid": *identity.uid,
            "resourceVersion": live.resource_version,
            field: value,
        }}),
    }
}

fn without_finalizer(identity: &Identity, live: &ObjectMeta, finalizer: &str) -> Action {
    let left: Vec<&String> = live.finalizers.iter().flatten().filter(|f| *f != finalizer).collect();
    patch(identity, live, "finalizers", json!(left))
}

fn without_owners(identity: &Identity, live: &ObjectMeta, lost: &[&str]) -> Action {
    let owners = live.owner_references.iter().flatten();
    let left: Vec<&OwnerReference> = owners.filter(|o| !lost.contains(&o.uid.as_str())).collect();
    patch(identity, live, "ownerReferences", json!(left))
}

fn unblocked(identity: &Identity, live: &ObjectMeta) -> Action {
    let mut owners = live.owner_references.clone().unwrap_or_default();
    for owner in &mut owners {
        owner.block_owner_deletion = Some(false);
    }
    patch(identity, live, "ownerReferences", json!(owners))
}
