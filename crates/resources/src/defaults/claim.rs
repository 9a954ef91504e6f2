//! Claims of storage: alone, as a StatefulSet's template, or as a pod's volume.

use serde_json::json;

use super::resource_list;
use crate::fill::{self, Fields};

/// A claim, alone or as a template.
pub(super) fn claim(claim: &mut Fields) {
    if let Some(status) = fill::object(claim, "status") {
        fill::text(status, "phase", "Pending");
        resource_list::round(status, "capacity");
        resource_list::round(status, "allocatedResources");
    }
    if let Some(spec) = fill::object(claim, "spec") {
        claim_spec(spec);
    }
}

/// The spec of a claim.
pub(super) fn claim_spec(spec: &mut Fields) {
    fill::value(spec, "volumeMode", "Filesystem");
    fill::value(spec, "resources", json!({}));
    if let Some(resources) = fill::within(spec, "resources") {
        resource_list::round_requirements(resources);
    }
    // A data source of either form is repeated in the other form.
    if let Some(source) = spec.get("dataSource").filter(|s| s.is_object()).cloned() {
        fill::value(spec, "dataSourceRef", source);
    }
}
