//! All containers of a pod, with their paths.

use api::field::Path;
use serde_json::Value;

use crate::validation::read;

/// Calls for each container in upstream's order (`VisitContainersWithPath`).
pub(super) fn each(path: &Path<'_>, spec: &Value, of: &mut dyn FnMut(&Path<'_>, &Value)) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let at = path.child(list);
        for (i, container) in read::list(spec, list).iter().enumerate() {
            of(&at.index(i), container);
        }
    }
}
