//! Namespaces, nodes, and what bounds namespaces: quotas and limit ranges.

use std::cmp::Ordering;
use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{amounts, check, pod, read};

pub(crate) fn namespace(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let path = path.child("finalizers");
    for finalizer in read::texts(read::top(object, "spec"), "finalizers") {
        check::faults(&mut errors, &path, finalizer, names::qualified_name(finalizer));
        if !finalizer.contains('/') && finalizer != "kubernetes" {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path, finalizer, detail));
        }
    }
    errors
}

/// The phase goes with the deletion.
pub(crate) fn namespace_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let phase = read::text(read::top(new, "status"), "phase");
    let (expected, detail) = match new.deletion_timestamp() {
        None => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
        Some(_) => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
    };
    if phase != expected {
        errors.push(FieldError::invalid(&path.child("Phase"), phase, detail));
    }
    errors
}

pub(crate) fn node(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let metadata = Path::root("metadata");
    let spec = read::top(object, "spec");
    // Upstream's path of taints begins with the metadata.
    taints(&mut errors, &metadata.child("taints"), spec);
    node_amounts(&mut errors, object);
    let status = read::top(object, "status");
    let swap = read::get(read::of(status, "nodeInfo"), "swap").and_then(|swap| read::int(swap, "capacity"));
    if let Some(swap) = swap.filter(|swap| *swap <= 0) {
        let at = metadata.child("nodeSwapStatus");
        errors.push(FieldError::invalid(&at.child("capacity"), swap, check::NOT_POSITIVE));
    }
    features(&mut errors, &Path::root("status").child("declaredFeatures"), status);
    let path = Path::root("spec");
    pod_cidrs(&mut errors, &path.child("podCIDRs"), spec);
    errors
}

/// What a node says that it can do, sorted.
fn features(errors: &mut ErrorList, path: &Path<'_>, status: &Value) {
    const MAX_BYTES: usize = 253;
    let list: Vec<&str> = read::texts(status, "declaredFeatures").collect();
    for (i, feature) in list.iter().enumerate() {
        let is_segment = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let why = if feature.len() > MAX_BYTES {
            Some(format!("must be no more than {MAX_BYTES} characters"))
        } else if !feature.starts_with(|c: char| c.is_ascii_uppercase())
            || !feature.split('/').all(is_segment)
        {
            Some("must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes".to_owned())
        } else {
            None
        };
        if let Some(why) = why {
            let detail = format!("invalid feature name {feature:?}: {why}");
            errors.push(FieldError::invalid(&path.index(i), *feature, detail));
        }
        let Some(next) = list.get(i + 1) else { continue };
        match feature.cmp(next) {
            Ordering::Less => {}
            Ordering::Equal => errors.push(FieldError::duplicate(&path.index(i + 1), *next)),
            Ordering::Greater => {
                let detail = "list must be sorted alphabetically";
                errors.push(FieldError::invalid(&path.index(i + 1), *next, detail));
            }
        }
    }
}

fn taints(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let mut seen = HashSet::new();
    for (i, taint) in read::list(spec, "taints").iter().enumerate() {
        let at = path.index(i);
        let [key, value, effect] = ["key", "value", "effect"].map(|k| read::text(taint, k));
        check::faults(errors, &at.child("key"), key, names::qualified_name(key));
        let faults = names::label_value(value);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&at.child("value"), value, faults.join(";")));
        }
        check::one_of(errors, &at.child("effect"), effect, &pod::TAINT_EFFECTS);
        if seen.contains(&(key, effect)) {
            let mut error = FieldError::duplicate(&at, taint.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
        seen.insert((key, effect));
    }
}

fn node_amounts(errors: &mut ErrorList, node: &Object) {
    let path = Path::root("status");
    for key in ["capacity", "allocatable"] {
        let at = path.child(key);
        for (name, value) in read::entries(read::top(node, "status"), key) {
            amounts::amount(errors, &at.child(name), name, value);
        }
    }
}

fn pod_cidrs(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let cidrs: Vec<&str> = read::texts(spec, "podCIDRs").collect();
    for (i, cidr) in cidrs.iter().enumerate() {
        check::cidr(errors, &path.index(i), cidr);
    }
    if cidrs.len() > 1 {
        let six = cidrs.iter().filter(|c| c.contains(':')).count();
        if cidrs.len() > 2 || six != 1 {
            let detail = "may specify no more than one CIDR for each IP family";
            errors.push(FieldError::invalid(path, cidrs, detail));
        }
    }
}

pub(crate) fn node_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = node(new);
    let addresses = Path::root("status");
    let addresses = addresses.child("addresses");
    let mut seen = HashSet::new();
    for (i, address) in read::list(read::top(new, "status"), "addresses").iter().enumerate() {
        if !seen.insert(address.to_string()) {
            errors.push(FieldError::duplicate(&addresses.index(i), address.clone()));
        }
    }
    let path = Path::root("spec");
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    let cidrs = read::list(before, "podCIDRs");
    if !cidrs.is_empty() && cidrs != read::list(after, "podCIDRs") {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("podCIDRs"), detail));
    }
    let provider = read::text(before, "providerID");
    if !provider.is_empty() && provider != read::text(after, "providerID") {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("providerID"), detail));
    }
    if read::text(after, "externalID") != read::text(before, "externalID") {
        errors.push(FieldError::forbidden(&path.child("externalID"), "may not be updated"));
    }
    errors
}
