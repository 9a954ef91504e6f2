//! Which changes of a pod's status are valid.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::mirror;
use crate::validation::{check, read};

/// An update of the status subresource.
pub(crate) fn status_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    mirror::changed(&mut errors, new, old);
    let path = Path::root("status");
    let (after, before) = (read::top(new, "status"), read::top(old, "status"));
    let conditions = Path::root("metadata");
    let conditions = conditions.child("conditions");
    for (i, condition) in read::list(after, "conditions").iter().enumerate() {
        let kind = read::text(condition, "type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            let at = conditions.index(i);
            check::faults(&mut errors, &at.child("Type"), kind, names::qualified_name(kind));
        }
    }
    let nominated = read::text(after, "nominatedNodeName");
    if !nominated.is_empty() && nominated != read::text(before, "nominatedNodeName") {
        let at = path.child("nominatedNodeName");
        check::faults(&mut errors, &at, nominated, names::dns1123_subdomain(nominated));
    }
    check::unchanged(
        &mut errors,
        &path.child("qosClass"),
        read::raw(after, "qosClass"),
        read::raw(before, "qosClass"),
    );
    let spec = read::top(old, "spec");
    let policy = read::text(spec, "restartPolicy");
    transitions(&mut errors, &path.child("containerStatuses"), after, before, policy, spec);
    transitions(&mut errors, &path.child("initContainerStatuses"), after, before, policy, spec);
    transitions(&mut errors, &path.child("ephemeralContainerStatuses"), after, before, "Never", spec);
    addresses(&mut errors, &path, after);
    errors
}

/// A container that has ended and is not to be restarted stays ended.
fn transitions(
    errors: &mut ErrorList,
    path: &Path<'_>,
    after: &Value,
    before: &Value,
    policy: &str,
    spec: &Value,
) {
    if policy == "Always" {
        return;
    }
    let full = path.to_string();
    let key = full.rsplit('.').next().unwrap_or_default();
    let ended = |status: &Value| read::raw(status, "state").and_then(|s| read::get(s, "terminated")).cloned();
    for (i, old) in read::list(before, key).iter().enumerate() {
        let Some(state) = ended(old) else { continue };
        let failed = read::int(&state, "exitCode").unwrap_or(0) != 0;
        let name = read::text(old, "name");
        if (failed && policy == "OnFailure") || restarts_by_itself(spec, name) {
            continue;
        }
        let revived =
            read::list(after, key).iter().any(|s| read::text(s, "name") == name && ended(s).is_none());
        if revived {
            let at = path.index(i);
            let detail = "may not be transitioned to non-terminated state";
            errors.push(FieldError::forbidden(&at.child("state"), detail));
        }
    }
}

/// A container with a restart policy or rules of its own.
fn restarts_by_itself(spec: &Value, name: &str) -> bool {
    ["containers", "initContainers"].iter().any(|list| {
        read::list(spec, list).iter().any(|c| {
            read::text(c, "name") == name && !matches!(read::text(c, "restartPolicy"), "" | "Never")
                || read::text(c, "name") == name && !read::list(c, "restartPolicyRules").is_empty()
        })
    })
}

fn addresses(errors: &mut ErrorList, path: &Path<'_>, status: &Value) {
    for key in ["podIPs", "hostIPs"] {
        let at = path.child(key);
        let list: Vec<&str> = read::list(status, key).iter().map(|a| read::text(a, "ip")).collect();
        if key == "hostIPs"
            && let Some(first) = list.first()
            && *first != read::text(status, "hostIP")
        {
            let at = at.index(0);
            errors.push(FieldError::invalid(&at.child("ip"), *first, "must be equal to `hostIP`"));
        }
        for (i, address) in list.iter().enumerate() {
            check::ip(errors, &at.index(i), address);
        }
        if list.len() > 1 {
            let six = list.iter().filter(|a| a.contains(':')).count();
            if list.len() > 2 || six != 1 {
                let detail = "may specify no more than one IP for each IP family";
                let value = read::raw(status, key).cloned().unwrap_or(Value::Null);
                errors.push(FieldError::invalid(&at, value, detail));
            }
        }
    }
}
