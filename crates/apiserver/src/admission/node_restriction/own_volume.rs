//! What a node may change of the volumes that are its own directories: it says that a directory was made, and lets a
//! volume go whose directory it has removed. No rule of upstream's, whose nodes make no volumes.

use api::{Error, Object};
use serde_json::Value;

use super::super::plugin::{Operation, Review};

const NODE: &str = "knarr.dev/node";
const FINALIZER: &str = "knarr.dev/directory";
const MADE: &str = "knarr.dev/directory-made";

/// # Errors
/// When the volume is not the node's, or anything else of it changes.
pub(super) fn judge(node: &str, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
    let (Operation::Update, Some(new), Some(old)) = (review.operation, object, review.old) else {
        return Err(review.forbid(object, format!("unexpected operation {:?}", review.operation.as_str())));
    };
    if old.label(NODE) != Some(node) {
        let why = format!("node {node:?} can only update persistent volumes that are its own directories");
        return Err(review.forbid(object, why));
    }
    let is_held = |volume: &Object| finalizers(volume).iter().any(|held| held == FINALIZER);
    let takes_back = volume_made(old) && !volume_made(new);
    if rest(new) == rest(old) && (is_held(old) || !is_held(new)) && !takes_back {
        return Ok(());
    }
    let why = format!(
        "node {node:?} can only say that the directory of a persistent volume was made, and let the volume go"
    );
    Err(review.forbid(object, why))
}

fn volume_made(volume: &Object) -> bool {
    volume.annotation(MADE).is_some()
}

fn finalizers(volume: &Object) -> Vec<Value> {
    volume.at(&["metadata", "finalizers"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The volume without what its node may change.
fn rest(volume: &Object) -> Object {
    let mut rest = volume.clone();
    let mut others = finalizers(volume);
    others.retain(|held| held != FINALIZER);
    rest.set_at(&["metadata", "finalizers"], others.into());
    for field in ["managedFields", "resourceVersion"] {
        rest.remove_at(&["metadata", field]);
    }
    rest.remove_at(&["metadata", "annotations", MADE]);
    rest
}
