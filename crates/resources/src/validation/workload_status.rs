//! The statuses of what keeps pods running: no figure is negative, no part is more than the whole
//! (`pkg/apis/apps/validation/validation.go`).

use api::Object;
use api::field::{ErrorList, FieldError, Path};

use super::{check, read};

const MORE_THAN_ALL: &str = "cannot be greater than status.replicas";

/// Of replication controllers.
pub(crate) fn replicas(new: &Object, _old: &Object) -> ErrorList {
    replicas_and(new, &["observedGeneration"])
}

pub(crate) fn replica_set(new: &Object, _old: &Object) -> ErrorList {
    replicas_and(new, &["observedGeneration", "terminatingReplicas"])
}

fn replicas_and(new: &Object, others: &[&str]) -> ErrorList {
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    let mut errors = nonnegative(new, &["replicas"]);
    errors.extend(nonnegative(new, &parts));
    errors.extend(nonnegative(new, others));
    errors.extend(parts_of_all(new, &parts));
    errors.extend(available_of_ready(new, "cannot be greater than readyReplicas"));
    errors
}

pub(crate) fn deployment(new: &Object, old: &Object) -> ErrorList {
    let mut errors = nonnegative(
        new,
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
    );
    errors.extend(parts_of_all(new, &["updatedReplicas", "readyReplicas", "availableReplicas"]));
    errors.extend(available_of_ready(new, "cannot be greater than readyReplicas"));
    errors.extend(collisions(new, old));
    errors
}

pub(crate) fn stateful_set(new: &Object, old: &Object) -> ErrorList {
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    let mut errors = nonnegative(new, &["replicas"]);
    errors.extend(nonnegative(new, &parts));
    errors.extend(nonnegative(new, &["observedGeneration", "collisionCount"]));
    errors.extend(parts_of_all(new, &parts));
    errors.extend(available_of_ready(new, "cannot be greater than status.readyReplicas"));
    errors.extend(collisions(new, old));
    errors
}

pub(crate) fn daemon_set(new: &Object, old: &Object) -> ErrorList {
    let mut errors = nonnegative(
        new,
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
    );
    errors.extend(collisions(new, old));
    errors
}

fn count(object: &Object, key: &str) -> i64 {
    read::int(read::top(object, "status"), key).unwrap_or(0)
}

fn nonnegative(object: &Object, keys: &[&str]) -> ErrorList {
    let mut errors = ErrorList::new();
    let (path, status) = (Path::root("status"), read::top(object, "status"));
    for key in keys {
        check::nonnegative(&mut errors, &path.child(key), read::int(status, key));
    }
    errors
}

fn parts_of_all(object: &Object, parts: &[&str]) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    for key in parts.iter().filter(|key| count(object, key) > count(object, "replicas")) {
        errors.push(FieldError::invalid(&path.child(key), count(object, key), MORE_THAN_ALL));
    }
    errors
}

fn available_of_ready(object: &Object, detail: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    let available = count(object, "availableReplicas");
    if available > count(object, "readyReplicas") {
        let path = Path::root("status");
        errors.push(FieldError::invalid(&path.child("availableReplicas"), available, detail));
    }
    errors
}

/// The number of names that were taken only grows: names of revisions are made of it.
fn collisions(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let before = read::int(read::top(old, "status"), "collisionCount");
    let after = read::int(read::top(new, "status"), "collisionCount");
    if before.is_some_and(|before| after.is_none_or(|after| after < before)) {
        let path = Path::root("status");
        let value = after.unwrap_or(0);
        errors.push(FieldError::invalid(&path.child("collisionCount"), value, "cannot be decremented"));
    }
    errors
}
