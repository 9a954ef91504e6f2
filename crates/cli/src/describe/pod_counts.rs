//! How many pods of a controller are in which phase.

use serde_json::Value;

use super::fields::Fields as _;
use super::metadata;
use super::related::RelatedError;
use super::view::{View, core};

/// `N Running / N Waiting / N Succeeded / N Failed`
///
/// # Errors
/// When the pods cannot be listed.
pub fn shown(view: &View<'_>, selector: &str) -> Result<String, RelatedError> {
    let pods = view.neighbours(core("pods"), selector)?;
    let uid = view.object.text("metadata.uid");
    let own: Vec<&Value> = pods
        .iter()
        .filter(|pod| metadata::controller(pod).is_some_and(|owner| owner.text("uid") == uid))
        .collect();
    let count = |phase: &str| own.iter().filter(|pod| pod.text("status.phase") == phase).count();
    Ok(format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    ))
}
