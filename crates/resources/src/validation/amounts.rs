//! Names and amounts of resources: of containers, pods, nodes, quotas.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use api::quantity::Quantity;
use serde_json::Value;

use super::{check, read};

/// The most names that an error lists.
const MAX_NAMED: usize = 16;
/// Names without a prefix that mean something somewhere.
const STANDARD: [&str; 22] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
    "resourceclaims",
    "count",
];
/// Those that quotas bound.
const OF_QUOTAS: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// Those counted in whole numbers.
const COUNTED: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// The name of any resource.
fn resource_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) -> bool {
    let faults = names::qualified_name(name);
    if !faults.is_empty() {
        check::faults(errors, path, name, faults);
        return false;
    }
    let standard = STANDARD.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-");
    if !name.contains('/') && !standard {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(path, name, detail));
        return false;
    }
    true
}

fn container_resource_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    resource_name(errors, path, name);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

fn pod_resource_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    if resource_name(errors, path, name) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.push(FieldError::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
}

/// An amount that is not negative, and whole where only whole ones make sense.
pub(super) fn amount(errors: &mut ErrorList, path: &Path<'_>, name: &str, value: &Value) {
    let Some(quantity) = parse(value) else { return };
    if quantity.signum() < 0 {
        errors.push(FieldError::invalid(path, quantity.to_string(), check::NEGATIVE));
    }
    let whole = COUNTED.contains(&name) || is_extended(name);
    if whole && quantity.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(path, quantity.to_string(), "must be an integer"));
    }
}

pub(super) fn parse(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// The name of what a limit range bounds of objects of a kind.
pub(super) fn of_limit(errors: &mut ErrorList, path: &Path<'_>, kind: &str, name: &str) {
    if matches!(kind, "Pod" | "Container") {
        container_resource_name(errors, path, name);
    } else {
        resource_name(errors, path, name);
    }
}

/// A bound of a quota.
pub(super) fn quota(errors: &mut ErrorList, path: &Path<'_>, name: &str, value: &Value) {
    resource_name(errors, path, name);
    if !name.contains('/') && !is_standard_of_quota(name) {
        errors.push(FieldError::invalid(path, name, "must be a standard resource for quota"));
    }
    amount(errors, path, name, value);
}

/// Whether a quota bounds what is called so in every cluster.
pub(super) fn is_standard_of_quota(name: &str) -> bool {
    OF_QUOTAS.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// Requests and limits of a container.
pub(super) fn of_container(
    errors: &mut ErrorList,
    path: &Path<'_>,
    resources: &Value,
    pod_claims: &HashSet<&str>,
) {
    requirements(errors, path, resources, container_resource_name);
    claims(errors, &path.child("claims"), resources, pod_claims);
}

/// Requests and limits of a pod as a whole.
pub(super) fn of_pod(errors: &mut ErrorList, path: &Path<'_>, resources: &Value) {
    if read::get(resources, "claims").is_some() {
        let detail = "claims cannot be set for Resources at pod-level";
        errors.push(FieldError::forbidden(&path.child("claims"), detail));
    }
    requirements(errors, path, resources, pod_resource_name);
}

fn requirements(
    errors: &mut ErrorList,
    path: &Path<'_>,
    resources: &Value,
    check_name: fn(&mut ErrorList, &Path<'_>, &str),
) {
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    for (name, value) in read::entries(resources, "limits") {
        named_amount(errors, &limits.key(name), name, value, check_name);
    }
    for (name, value) in read::entries(resources, "requests") {
        named_amount(errors, &requests.key(name), name, value, check_name);
        let limit = read::raw(resources, "limits").and_then(|l| l.get(name)).and_then(parse);
        let Some(request) = parse(value) else { continue };
        match limit {
            Some(limit) if request != limit && !may_overcommit(name) => {
                let detail = format!("must be equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(&requests, request.to_string(), detail));
            }
            Some(limit) if request > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(&requests, request.to_string(), detail));
            }
            None if !may_overcommit(name) => {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(&limits, detail));
            }
            _ => {}
        }
    }
    let mut named = read::entries(resources, "limits").chain(read::entries(resources, "requests"));
    let plain = named.any(|(name, _)| matches!(name, "cpu" | "memory"));
    let mut named = read::entries(resources, "limits").chain(read::entries(resources, "requests"));
    if !plain && named.any(|(name, _)| is_huge_page(name)) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

fn named_amount(
    errors: &mut ErrorList,
    path: &Path<'_>,
    name: &str,
    value: &Value,
    check_name: fn(&mut ErrorList, &Path<'_>, &str),
) {
    check_name(errors, path, name);
    amount(errors, path, name, value);
    let page = name.strip_prefix("hugepages-").and_then(|size| size.parse::<Quantity>().ok());
    if let (Some(page), Some(quantity)) = (page, parse(value)) {
        let divisible = page.value() > 0 && quantity.value() % page.value() == 0;
        if !divisible {
            let detail = format!("{quantity} is not positive integer multiple of {name}");
            errors.push(FieldError::invalid(path, quantity.to_string(), detail));
        }
    }
}

fn claims(errors: &mut ErrorList, path: &Path<'_>, resources: &Value, pod_claims: &HashSet<&str>) {
    for (i, claim) in read::list(resources, "claims").iter().enumerate() {
        let at = path.index(i);
        let name = read::text(claim, "name");
        if !check::required(errors, &at, name) || pod_claims.contains(&name) {
            continue;
        }
        let mut error = FieldError::not_found(&at, name);
        error.detail = if pod_claims.is_empty() {
            "must be one of the names in pod.spec.resourceClaims which is empty".to_owned()
        } else {
            // Not all of them: each of many errors would name each of many claims.
            let mut known: Vec<&str> = pod_claims.iter().copied().take(MAX_NAMED).collect();
            known.sort_unstable();
            format!("must be one of the names in pod.spec.resourceClaims: {}", known.join(", "))
        };
        errors.push(error);
    }
}
