//! What a namespace's LimitRanges say: defaults for containers, and bounds for containers, pods and claims.
//!
//! `defaults` and `bounds` are pure. Upstream: `plugin/pkg/admission/limitranger/admission.go`.

mod bounds;
mod defaults;

use api::{Error, Object};
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod};

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::{Lookup, decode};

/// The plugin `LimitRanger`.
pub struct LimitRanger {
    lookup: Lookup,
}

impl LimitRanger {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    /// The limit ranges of the request's namespace, in the order of their names.
    fn ranges(&self, review: &Review<'_>) -> Vec<LimitRange> {
        let Some(cache) = self.lookup.resource("", "limitranges") else { return Vec::new() };
        if cache.is_empty() {
            return Vec::new();
        }
        let entries = cache.snapshot(Some(&review.attributes.namespace)).entries;
        entries.iter().filter_map(|entry| decode(entry)).collect()
    }
}

/// What limit ranges can be about. Containers of an existing pod change only by `resize`, and a claim or pod that is
/// being deleted is let go whatever it asks for.
fn concerns(review: &Review<'_>) -> bool {
    if review.old.is_some_and(|old| old.deletion_timestamp().is_some()) {
        return false;
    }
    let written = matches!(review.operation, Operation::Create | Operation::Update);
    let resized = review.is_about("", "pods") && review.attributes.subresource == "resize";
    (review.is_about_whole("", "pods") && review.operation == Operation::Create)
        || (resized && review.operation == Operation::Update)
        || (review.is_about_whole("", "persistentvolumeclaims") && written)
}

impl Immediate for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = concerns(review) && review.is_about("", "pods");
        let Some(pod) = object.filter(|_| concerned) else { return Ok(()) };
        for range in self.ranges(review) {
            defaults::give(pod, &range);
        }
        Ok(())
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(object) = object.filter(|_| concerns(review)) else { return Ok(()) };
        let ranges = self.ranges(review);
        if ranges.is_empty() {
            return Ok(());
        }
        let unreadable = |error| Error::bad_request(format!("the object cannot be read: {error}"));
        let faults = if review.is_about("", "pods") {
            let pod: Pod = object.typed().map_err(unreadable)?;
            let spec = pod.spec.unwrap_or_default();
            ranges.iter().map(|range| bounds::pod(range, &spec)).find(|faults| !faults.is_empty())
        } else {
            let claim: PersistentVolumeClaim = object.typed().map_err(unreadable)?;
            let spec = claim.spec.unwrap_or_default();
            ranges.iter().map(|range| bounds::claim(range, &spec)).find(|faults| !faults.is_empty())
        };
        match faults {
            None => Ok(()),
            Some(faults) => Err(review.forbid(Some(object), bounds::aggregate(&faults))),
        }
    }
}

#[cfg(test)]
mod tests;
