//! Which changes of a pod's status are valid.

use std::collections::{HashMap, HashSet};

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::container_status as containers;
use super::update::changed_annotations;
use crate::validation::{check, read};

const STATUSES: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// An update of the status subresource.
pub(crate) fn status_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    changed_annotations(&mut errors, new, old);
    let path = Path::root("status");
    let (after, before) = (read::top(new, "status"), read::top(old, "status"));
    conditions(&mut errors, &path.child("conditions"), after);
    let nominated = read::text(after, "nominatedNodeName");
    if !nominated.is_empty() && nominated != read::text(before, "nominatedNodeName") {
        let at = path.child("nominatedNodeName");
        check::faults(&mut errors, &at, nominated, names::dns1123_subdomain(nominated));
    }
    let is_bound = !read::text(read::top(old, "spec"), "nodeName").is_empty();
    if is_bound && !nominated.is_empty() && nominated != read::text(before, "nominatedNodeName") {
        let detail = "may not be set on pods that are already bound to a node";
        errors.push(FieldError::forbidden(&path.child("nominatedNodeName"), detail));
    }
    observed(&mut errors, &path, after);
    check::unchanged(
        &mut errors,
        &path.child("qosClass"),
        read::raw(after, "qosClass"),
        read::raw(before, "qosClass"),
    );
    let spec = read::top(old, "spec");
    for (key, list) in [
        ("containerStatuses", Some("containers")),
        ("initContainerStatuses", Some("initContainers")),
        ("ephemeralContainerStatuses", None),
    ] {
        if list.is_none() || !may_restart_all(spec) {
            transitions(&mut errors, &path, key, (after, before), list, spec);
        }
    }
    let spec = read::top(new, "spec");
    claims(&mut errors, &path, after, spec);
    addresses(&mut errors, &path, after);
    for key in STATUSES {
        containers::users(&mut errors, &path, key, after, spec);
    }
    for (key, list) in [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")] {
        containers::allocated(&mut errors, &path, key, after, read::list(spec, list));
    }
    containers::none_allocated(&mut errors, &path, "ephemeralContainerStatuses", after);
    errors
}

/// Custom conditions have qualified names.
fn conditions(errors: &mut ErrorList, path: &Path<'_>, status: &Value) {
    for (i, condition) in read::list(status, "conditions").iter().enumerate() {
        let at = path.index(i);
        observed(errors, &at, condition);
        let kind = read::text(condition, "type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            check::faults(errors, &at.child("Type"), kind, names::qualified_name(kind));
        }
    }
}

fn observed(errors: &mut ErrorList, path: &Path<'_>, owner: &Value) {
    if let Some(generation) = read::int(owner, "observedGeneration").filter(|g| *g < 0) {
        let at = path.child("observedGeneration");
        errors.push(FieldError::invalid(&at, generation, "must be a non-negative integer"));
    }
}

/// A container that has ended and is not to be restarted stays ended. Those of no `list` are never restarted.
fn transitions(
    errors: &mut ErrorList,
    path: &Path<'_>,
    key: &str,
    (after, before): (&Value, &Value),
    list: Option<&str>,
    spec: &Value,
) {
    let ended = |status: &Value| read::raw(status, "state").and_then(|s| read::get(s, "terminated")).cloned();
    let mut now = HashMap::new();
    for status in read::list(after, key) {
        now.entry(read::text(status, "name")).or_insert(status);
    }
    let at = path.child(key);
    for (i, old) in read::list(before, key).iter().enumerate() {
        let name = read::text(old, "name");
        let (Some(state), Some(new)) = (ended(old), now.get(name)) else { continue };
        let container =
            list.and_then(|list| read::list(spec, list).iter().find(|c| read::text(c, "name") == name));
        let code = read::int(&state, "exitCode").unwrap_or(0);
        if ended(new).is_none() && !container.is_some_and(|container| restarts(container, spec, code)) {
            let detail = "may not be transitioned to non-terminated state";
            errors.push(FieldError::forbidden(&at.index(i).child("state"), detail));
        }
    }
}

/// Whether a container may have all those of its pod start again, however they have ended.
fn may_restart_all(spec: &Value) -> bool {
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| read::list(spec, list));
    let mut rules = containers.flat_map(|container| read::list(container, "restartPolicyRules"));
    rules.any(|rule| read::text(rule, "action") == "RestartAllContainers")
}

/// Whether a container that ended with a code is started again: by a rule of its own, its own policy, or the pod's.
fn restarts(container: &Value, spec: &Value, code: i64) -> bool {
    let own = read::get(container, "restartPolicy").and_then(Value::as_str);
    let is_ruled = read::list(container, "restartPolicyRules").iter().any(|rule| {
        read::get(rule, "exitCodes").is_some_and(|codes| {
            let is_named = read::list(codes, "values").iter().any(|value| value.as_i64() == Some(code));
            match read::text(codes, "operator") {
                "In" => is_named,
                "NotIn" => !is_named,
                _ => false,
            }
        })
    });
    match own.unwrap_or_else(|| read::text(spec, "restartPolicy")) {
        _ if own.is_some() && is_ruled => true,
        "OnFailure" => code != 0,
        "Never" => false,
        _ => true,
    }
}

/// Claims that were made for the pod are those that the pod asks for.
fn claims(errors: &mut ErrorList, path: &Path<'_>, status: &Value, spec: &Value) {
    let asked: HashSet<&str> =
        read::list(spec, "resourceClaims").iter().map(|claim| read::text(claim, "name")).collect();
    let at = path.child("resourceClaimStatuses");
    let mut seen = HashSet::new();
    for (i, claim) in read::list(status, "resourceClaimStatuses").iter().enumerate() {
        let at = at.index(i);
        let name = read::text(claim, "name");
        if !asked.contains(name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(FieldError::invalid(&at.child("name"), name, detail));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        if let Some(made) = read::get(claim, "resourceClaimName").and_then(Value::as_str) {
            check::faults(errors, &at.child("resourceClaimName"), made, names::dns1123_subdomain(made));
        }
    }
    if let Some(extended) = read::get(status, "extendedResourceClaimStatus") {
        extended_claim(errors, &path.child("extendedResourceClaimStatus"), extended, spec);
    }
}

/// The claim made for extended resources says which container's request each of its requests is for.
fn extended_claim(errors: &mut ErrorList, path: &Path<'_>, claim: &Value, spec: &Value) {
    let lists = ["containers", "initContainers"];
    let containers: HashMap<&str, &Value> = lists
        .iter()
        .rev()
        .flat_map(|list| read::list(spec, list))
        .map(|container| (read::text(container, "name"), container))
        .collect();
    let list = path.child("requestMappings");
    let mappings = read::list(claim, "requestMappings");
    if mappings.is_empty() {
        errors.push(FieldError::required(&list, "at least one request mapping is required"));
    }
    let mut seen = HashSet::new();
    for (i, mapping) in mappings.iter().enumerate() {
        let at = list.index(i);
        let keys = ["containerName", "resourceName", "requestName"];
        let [container, resource, request] = keys.map(|key| read::text(mapping, key));
        match containers.get(container) {
            None => {
                let detail =
                    "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.push(FieldError::invalid(&at.child("containerName"), container, detail));
            }
            Some(owner) if read::at(owner, &["resources", "requests", resource]).is_none() => {
                let detail = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.push(FieldError::invalid(&at.child("resourceName"), resource, detail));
            }
            Some(_) => {}
        }
        check::faults(errors, &path.child("requestName"), request, names::dns1123_label(request));
        if !seen.insert([container, resource, request]) {
            for (key, value) in keys.into_iter().zip([container, resource, request]) {
                errors.push(FieldError::duplicate(&at.child(key), value));
            }
        }
    }
    let name = read::text(claim, "resourceClaimName");
    if check::required(errors, &path.child("resourceClaimName"), name) {
        check::faults(errors, &path.child("resourceClaimName"), name, names::dns1123_subdomain(name));
    }
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
