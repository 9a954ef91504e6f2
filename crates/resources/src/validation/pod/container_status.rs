//! What the status of a container says of its user and of the devices that it has.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::{check, read};

/// Whom a container's processes run as. `key` names the list of the status.
pub(super) fn users(errors: &mut ErrorList, path: &Path<'_>, key: &str, status: &Value, spec: &Value) {
    const MAX_UID: i64 = u32::MAX as i64;
    let is_windows = read::get(spec, "os").is_some_and(|os| read::text(os, "name") == "windows");
    let list = path.child(key);
    for (i, container) in read::list(status, key).iter().enumerate() {
        let Some(user) = read::get(container, "user").and_then(|user| read::get(user, "linux")) else {
            continue;
        };
        let at = list.index(i);
        let at = at.child("user");
        let at = at.child("linux");
        if is_windows {
            errors.push(FieldError::forbidden(&at, "cannot be set for a windows pod"));
            continue;
        }
        if let Some(uid) = read::int(user, "uid").filter(|uid| !(0..=MAX_UID).contains(uid)) {
            errors.push(FieldError::invalid(&at.child("uid"), uid, names::range_message(0, MAX_UID)));
        }
        check::id(errors, &at.child("gid"), read::int(user, "gid"));
        let groups = at.child("supplementalGroups");
        for (j, group) in read::list(user, "supplementalGroups").iter().enumerate() {
            check::id(errors, &groups.index(j), group.as_i64());
        }
    }
}

/// The health of what a container was given: of claims and resources that the container asks for.
pub(super) fn allocated(
    errors: &mut ErrorList,
    path: &Path<'_>,
    key: &str,
    status: &Value,
    containers: &[Value],
) {
    let list = path.child(key);
    for (i, said) in read::list(status, key).iter().enumerate() {
        let at = list.index(i);
        let at = at.child("allocatedResourcesStatus");
        let name = read::text(said, "name");
        let container = containers.iter().find(|container| read::text(container, "name") == name);
        for (j, resource) in read::list(said, "allocatedResourcesStatus").iter().enumerate() {
            let at = at.index(j);
            if let Some(container) = container {
                asked_for(errors, &at.child("name"), read::text(resource, "name"), container);
            }
            healthy(errors, &at.child("resources"), resource);
        }
    }
}

fn asked_for(errors: &mut ErrorList, path: &Path<'_>, name: &str, container: &Value) {
    let resources = read::of(container, "resources");
    let (is_asked, detail) = match name.strip_prefix("claim:") {
        Some(claim) => (
            read::list(resources, "claims").iter().any(|asked| {
                let [asked, request] = ["name", "request"].map(|key| read::text(asked, key));
                match claim.strip_prefix(asked) {
                    Some("") => request.is_empty(),
                    Some(rest) => !request.is_empty() && rest.strip_prefix('/') == Some(request),
                    None => false,
                }
            }),
            "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty",
        ),
        None => (
            read::entries(resources, "requests").any(|(asked, _)| asked == name),
            "must match one of the container's resource requests",
        ),
    };
    if !is_asked {
        errors.push(FieldError::invalid(path, name, detail));
    }
}

fn healthy(errors: &mut ErrorList, path: &Path<'_>, resource: &Value) {
    const STATES: [&str; 3] = ["Healthy", "Unhealthy", "Unknown"];
    let mut seen = HashSet::new();
    for (i, one) in read::list(resource, "resources").iter().enumerate() {
        let at = path.index(i);
        let health = read::text(one, "health");
        if !STATES.contains(&health) {
            errors.push(FieldError::not_supported(&at.child("health"), health, &STATES));
        }
        let id = read::text(one, "resourceID");
        if !seen.insert(id) {
            errors.push(FieldError::duplicate(&at.child("resourceID"), id));
        }
    }
}

/// Containers added for a look inside are given nothing.
pub(super) fn none_allocated(errors: &mut ErrorList, path: &Path<'_>, key: &str, status: &Value) {
    let list = path.child(key);
    for (i, container) in read::list(status, key).iter().enumerate() {
        if !read::list(container, "allocatedResourcesStatus").is_empty() {
            let at = list.index(i);
            let detail = "must not be specified in container status";
            errors.push(FieldError::forbidden(&at.child("allocatedResourcesStatus"), detail));
        }
    }
}
