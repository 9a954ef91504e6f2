//! Classes of runtimes. Facts: upstream's `pkg/apis/node/validation`.

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, Path};
use api::names;
use serde_json::{Value, json};

use super::{amounts, check, pod, read};

pub(crate) fn runtime_class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let handler = read::top_raw(object, "handler").and_then(Value::as_str).unwrap_or("");
    check::faults(&mut errors, &Path::root("handler"), handler, names::dns1123_label(handler));
    let overhead = read::top(object, "overhead");
    if let Some(fixed) = read::get(overhead, "podFixed") {
        // As upstream: an overhead is judged, and its errors are told, as the limits of a container.
        let limits = json!({"limits": fixed});
        amounts::of_container(&mut errors, &Path::root("overhead"), &limits, &HashSet::new());
    }
    let scheduling = read::top(object, "scheduling");
    let path = Path::root("scheduling");
    check::labels(&mut errors, &path.child("nodeSelector"), read::pairs(scheduling, "nodeSelector"));
    pod::tolerations(&mut errors, &path.child("tolerations"), scheduling);
    errors
}

/// Pods run under the handler: it stays.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let key = "handler";
    check::unchanged(&mut errors, &Path::root(key), read::top_raw(new, key), read::top_raw(old, key));
    errors
}
