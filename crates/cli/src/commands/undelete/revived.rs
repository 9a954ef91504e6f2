//! From an object as it was to one that can be created. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::builder::Info;
use crate::failure::Failure;

/// What the server fills in anew.
const FILLED_IN: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];
/// Finalizers that the server itself sets while it deletes.
const OF_DELETION: [&str; 2] = ["foregroundDeletion", "orphan"];

/// The object without what belonged to its first life.
pub fn fresh(object: &Value) -> Value {
    let mut body = object.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.retain(|field, _| !FILLED_IN.contains(&field.as_str()));
        if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            finalizers.retain(|name| !name.as_str().is_some_and(|name| OF_DELETION.contains(&name)));
        }
    }
    // The scheduler decides again.
    if body["kind"] == "Pod"
        && body["apiVersion"] == "v1"
        && let Some(spec) = body["spec"].as_object_mut()
    {
        spec.remove("nodeName");
    }
    body
}

/// Leaves the owner references whose owners are there, under the uids that they have now.
///
/// # Errors
/// `present`'s.
pub fn keep_owners(
    body: &mut Value,
    mut present: impl FnMut(&Value) -> Result<Option<String>, Failure>,
) -> Result<(), Failure> {
    let Some(metadata) = body["metadata"].as_object_mut() else { return Ok(()) };
    let Some(Value::Array(references)) = metadata.remove("ownerReferences") else { return Ok(()) };
    let mut kept = Vec::new();
    for mut reference in references {
        if let Some(uid) = present(&reference)? {
            reference["uid"] = uid.into();
            kept.push(reference);
        }
    }
    if !kept.is_empty() {
        metadata.insert("ownerReferences".to_owned(), kept.into());
    }
    Ok(())
}

/// Has a claim be bound anew: to its volume, or to any where that one is gone.
pub fn unbind(claim: &mut Value, volume_is_gone: bool) {
    if let Some(annotations) = claim["metadata"]["annotations"].as_object_mut() {
        annotations.retain(|key, _| !key.starts_with("pv.kubernetes.io/"));
    }
    if volume_is_gone && let Some(spec) = claim["spec"].as_object_mut() {
        spec.remove("volumeName");
    }
}

/// The objects so that no one comes before its owners; else in the order given.
pub fn owners_first(mut waiting: Vec<Info>) -> Vec<Info> {
    let uid = |info: &Info| info.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut done = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let left: BTreeSet<String> = waiting.iter().map(uid).collect();
        let waits = |info: &Info| {
            let references = info.object["metadata"]["ownerReferences"].as_array();
            references.into_iter().flatten().any(|reference| {
                let owner = reference["uid"].as_str().unwrap_or_default();
                owner != uid(info) && left.contains(owner)
            })
        };
        let (later, ready): (Vec<Info>, Vec<Info>) = waiting.into_iter().partition(waits);
        if ready.is_empty() {
            // Owners in a circle: any order is as good.
            done.extend(later);
            break;
        }
        done.extend(ready);
        waiting = later;
    }
    done
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_of_the_first_life_goes() {
        let old = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "uid": "u", "resourceVersion": "1", "finalizers": ["a/b", "foregroundDeletion"],
                "ownerReferences": [{"uid": "gone"}, {"uid": "old"}]},
            "spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Running"},
        });
        let mut new = fresh(&old);
        keep_owners(&mut new, |reference| Ok((reference["uid"] == "old").then(|| "new".to_owned()))).unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "finalizers": ["a/b"], "ownerReferences": [{"uid": "new"}]},
            "spec": {"containers": []},
        });
        assert_eq!(new, expected);
    }

    #[test]
    fn claims_are_bound_anew() {
        let mut claim = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes", "a": "b"}},
            "spec": {"volumeName": "v"}});
        unbind(&mut claim, false);
        assert_eq!(claim, json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"volumeName": "v"}}));
        unbind(&mut claim, true);
        assert_eq!(claim["spec"], json!({}));
    }
}
