//! The effect of a deletion on an object: a pure decision ([`plan`]). Facts: upstream's
//! `apiserver/pkg/registry/rest/delete.go` and `generic/registry/store.go`.

use api::{Error, Object};
use jiff::{SignedDuration, Timestamp};
use resources::Resource;
use serde_json::Value;

use super::metadata::seconds;
use super::options::{DeleteOptions, Propagation};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Deletion {
    /// Nothing holds the object.
    Remove,
    /// It is marked and stays for now.
    Mark(Object),
    /// It is marked already, and this request changes nothing.
    Pending,
}

/// Decides what a delete does to `object`.
pub(crate) fn plan(row: &Resource, object: &Object, options: &DeleteOptions, now: Timestamp) -> Deletion {
    let mut next = object.clone();
    let grace = match graceful(row, &mut next, options, now) {
        Grace::Pending => return Deletion::Pending,
        Grace::Changed(seconds) => Some(seconds),
        Grace::None => None,
    };
    settle_finalizers(row, &mut next, options);
    let held = next.finalizers().next().is_some() || row.logic.is_held(&next);
    if grace.is_none_or(|s| s == 0) && !held {
        return Deletion::Remove;
    }
    if grace.is_none() {
        mark(&mut next, now);
        row.logic.mark_deleted(&mut next);
    }
    if next == *object { Deletion::Pending } else { Deletion::Mark(next) }
}

enum Grace {
    /// The kind or the object's state knows none.
    None,
    /// The object now has so many seconds.
    Changed(i64),
    Pending,
}

fn graceful(row: &Resource, object: &mut Object, options: &DeleteOptions, now: Timestamp) -> Grace {
    let asked = options.grace_period_s;
    let Some(period) = row.logic.grace_period_s(object, asked) else { return Grace::None };
    let Some(deletion) = object.deletion_timestamp().map(str::to_owned) else {
        let grace = period.max(0);
        set_deletion(object, now + lasting(grace), grace);
        bump_generation(object);
        return Grace::Changed(grace);
    };
    let Some(before) = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64) else {
        return Grace::None;
    };
    // What was once granted can only be shortened.
    match (asked.map(|a| a.max(0)), deletion.parse::<Timestamp>()) {
        (Some(asked), Ok(deletion)) if asked < before => {
            set_deletion(object, deletion - (lasting(before) - lasting(asked)), asked);
            Grace::Changed(asked)
        }
        _ if before == 0 && object.finalizers().next().is_none() => Grace::Changed(0),
        _ => Grace::Pending,
    }
}

/// A grace period as a time that can be added to now: whatever number a client or a pod gives.
fn lasting(grace_s: i64) -> SignedDuration {
    SignedDuration::from_secs(grace_s.clamp(0, 1 << 32))
}

fn set_deletion(object: &mut Object, at: Timestamp, grace_s: i64) {
    let metadata = object.metadata_mut();
    metadata.insert("deletionTimestamp".into(), seconds(at).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace_s.into());
}

fn bump_generation(object: &mut Object) {
    let generation = object.generation();
    if generation > 0 {
        object.metadata_mut().insert("generation".into(), (generation + 1).into());
    }
}

/// Marks an object of a kind without grace.
fn mark(object: &mut Object, now: Timestamp) {
    if object.deletion_timestamp().is_none() {
        set_deletion(object, now, 0);
        bump_generation(object);
    }
}

/// The garbage collector's finalizers, as the policy wants them. Once deletion has begun they stay.
fn settle_finalizers(row: &Resource, object: &mut Object, options: &DeleteOptions) {
    let has = |name: &str| object.finalizers().any(|f| f == name);
    let (orphan, foreground) = match options.propagation {
        Some(Propagation::Orphan) => (true, false),
        Some(Propagation::Foreground) => (false, true),
        Some(Propagation::Background) => (false, false),
        None if has(ORPHAN) || has(FOREGROUND) => (has(ORPHAN), has(FOREGROUND)),
        None => (row.rules.orphan_by_default, false),
    };
    let mut finalizers: Vec<Value> =
        object.finalizers().filter(|f| *f != ORPHAN && *f != FOREGROUND).map(Into::into).collect();
    finalizers.extend(
        [(orphan, ORPHAN), (foreground, FOREGROUND)].iter().filter(|(on, _)| *on).map(|(_, f)| (*f).into()),
    );
    let metadata = object.metadata_mut();
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
}

/// Checks the preconditions of a delete.
///
/// # Errors
/// 409 in upstream's words.
pub(crate) fn check_preconditions(
    row: &Resource,
    object: &Object,
    options: &DeleteOptions,
) -> Result<(), Error> {
    let resource = row.group_resource();
    if let Some(uid) = &options.uid
        && uid != object.uid()
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            object.uid()
        );
        return Err(Error::conflict(&resource, object.name(), &why));
    }
    if let Some(version) = &options.resource_version
        && version != object.resource_version()
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            object.resource_version()
        );
        return Err(Error::conflict(&resource, object.name(), &why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use resources::{Changes, Logic};
    use serde_json::json;

    /// A kind with grace.
    struct Graceful;

    impl Logic for Graceful {
        fn changes(&self) -> Changes<'_> {
            Changes::Any("a test")
        }

        fn grace_period_s(&self, _object: &Object, asked: Option<i64>) -> Option<i64> {
            Some(asked.unwrap_or(30))
        }
    }

    fn row(grace: bool) -> Resource {
        let table = resources::builtin();
        let mut row = Arc::unwrap_or_clone(Arc::clone(table.find("", "v1", "configmaps").unwrap()));
        if grace {
            row.logic = Arc::new(Graceful);
        }
        row
    }

    fn object(metadata: Value) -> Object {
        Object::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn marked(deletion: Deletion) -> Object {
        match deletion {
            Deletion::Mark(object) => object,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn grace_is_granted_once_and_only_shortened() {
        let row = row(true);
        let first = marked(plan(&row, &object(json!({})), &DeleteOptions::default(), now()));
        assert_eq!(first.deletion_timestamp(), Some("2026-01-01T00:00:30Z"));
        let longer = DeleteOptions { grace_period_s: Some(60), ..DeleteOptions::default() };
        assert_eq!(plan(&row, &first, &longer, now()), Deletion::Pending);
        let shorter = DeleteOptions { grace_period_s: Some(5), ..DeleteOptions::default() };
        let second = marked(plan(&row, &first, &shorter, now()));
        assert_eq!(second.deletion_timestamp(), Some("2026-01-01T00:00:05Z"));
        let at_once = DeleteOptions { grace_period_s: Some(0), ..DeleteOptions::default() };
        assert_eq!(plan(&row, &second, &at_once, now()), Deletion::Remove);
    }

    #[test]
    fn the_longest_grace_there_is_can_still_be_shortened() {
        let ask = |grace_period_s| DeleteOptions { grace_period_s, ..DeleteOptions::default() };
        let first = marked(plan(&row(true), &object(json!({"name": "a"})), &ask(Some(i64::MAX)), now()));
        let second = marked(plan(&row(true), &first, &ask(Some(1)), now()));
        let deletion: Timestamp = second.deletion_timestamp().expect("marked").parse().expect("a time");
        assert_eq!(deletion, now() + SignedDuration::from_secs(1));
        assert_eq!(plan(&row(true), &second, &ask(Some(0)), now()), Deletion::Remove);
    }

    #[test]
    fn finalizers_hold_and_policies_add_them() {
        let row = row(false);
        assert_eq!(plan(&row, &object(json!({})), &DeleteOptions::default(), now()), Deletion::Remove);
        let held =
            marked(plan(&row, &object(json!({"finalizers": ["a/b"]})), &DeleteOptions::default(), now()));
        assert_eq!(held.at(&["metadata", "deletionGracePeriodSeconds"]), Some(&json!(0)));
        assert_eq!(plan(&row, &held, &DeleteOptions::default(), now()), Deletion::Pending);
        let foreground =
            DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
        let waiting = marked(plan(&row, &object(json!({})), &foreground, now()));
        assert_eq!(waiting.finalizers().collect::<Vec<_>>(), [FOREGROUND]);
    }
}
