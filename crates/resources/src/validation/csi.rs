//! Drivers of volumes, what nodes have of them, attachments, and what storage has left. Facts: upstream's
//! `pkg/apis/storage/validation`, whose paths and words these are also where they are odd.

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{amounts, check, read, selector, storage};

const MAX_NODE_ID: usize = 256;
const MIN_TOKEN_S: i64 = 600;
const MAX_TOKEN_S: i64 = 1 << 32;
const MIN_UPDATE_PERIOD_S: i64 = 10;
const MODES: [&str; 2] = ["Persistent", "Ephemeral"];
const FS_GROUP_POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
const MAX_METADATA_BYTES: usize = 256 * 1024;
const MAX_MESSAGE_BYTES: usize = 1024;

pub(crate) fn driver(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    for (key, said) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        given(&mut errors, &path.child(said), spec, key);
    }
    if read::get(spec, "fsGroupPolicy").is_some() {
        let policy = read::text(spec, "fsGroupPolicy");
        if !FS_GROUP_POLICIES.contains(&policy) {
            errors.push(FieldError::not_supported(&path.child("fsGroupPolicy"), policy, &FS_GROUP_POLICIES));
        }
    }
    token_requests(&mut errors, &path.child("tokenRequests"), spec);
    for mode in read::texts(spec, "volumeLifecycleModes").filter(|mode| !MODES.contains(mode)) {
        errors.push(FieldError::not_supported(&path.child("volumeLifecycleModes"), mode, &MODES));
    }
    given(&mut errors, &path.child("seLinuxMount"), spec, "seLinuxMount");
    let period = read::int(spec, "nodeAllocatableUpdatePeriodSeconds");
    if let Some(period) = period.filter(|period| *period < MIN_UPDATE_PERIOD_S) {
        let detail = "must be greater than or equal to 10 seconds";
        errors.push(FieldError::invalid(&path.child("nodeAllocatableUpdatePeriodSeconds"), period, detail));
    }
    errors
}

fn given(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, key: &str) {
    if read::get(spec, key).is_none() {
        errors.push(FieldError::required(path, ""));
    }
}

fn token_requests(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let mut audiences = HashSet::new();
    for (i, request) in read::list(spec, "tokenRequests").iter().enumerate() {
        let at = path.index(i);
        let audience = read::text(request, "audience");
        if !audiences.insert(audience) {
            errors.push(FieldError::duplicate(&at.child("audience"), audience));
            continue;
        }
        let Some(seconds) = read::int(request, "expirationSeconds") else { continue };
        let detail = if seconds < MIN_TOKEN_S {
            "may not specify a duration less than 10 minutes"
        } else if seconds > MAX_TOKEN_S {
            "may not specify a duration larger than 2^32 seconds"
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&at.child("expirationSeconds"), seconds, detail));
    }
}

/// How a driver's volumes are attached and live stays as it was.
pub(crate) fn driver_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = driver(new);
    let path = Path::root("spec");
    let [after, before] = [new, old].map(|object| read::top(object, "spec"));
    for (key, said) in
        [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
    {
        check::unchanged(&mut errors, &path.child(said), read::raw(after, key), read::raw(before, key));
    }
    errors
}

pub(crate) fn node(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let path = path.child("drivers");
    let mut seen = HashSet::new();
    for (i, driver) in read::list(read::top(object, "spec"), "drivers").iter().enumerate() {
        let at = path.index(i);
        let name = read::text(driver, "name");
        check::faults(&mut errors, &at.child("name"), name, names::dns1123_subdomain(name));
        let id = read::text(driver, "nodeID");
        check::required(&mut errors, &at.child("nodeID"), id);
        if id.len() > MAX_NODE_ID {
            let detail = format!("must be {MAX_NODE_ID} characters or less");
            errors.push(FieldError::invalid(&at.child("nodeID"), id, detail));
        }
        let count = read::int(read::of(driver, "allocatable"), "count");
        let allocatable = at.child("allocatable");
        check::nonnegative(&mut errors, &allocatable.child("count"), count);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        topology_keys(&mut errors, &at, driver);
    }
    errors
}

fn topology_keys(errors: &mut ErrorList, path: &Path<'_>, driver: &Value) {
    let mut seen = HashSet::new();
    for key in read::texts(driver, "topologyKeys") {
        check::required(errors, path, key);
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(path, key));
        }
        check::faults(errors, path, key, names::qualified_name(key));
    }
}

/// A driver that stays says of the node what it said before, but for how many volumes there is room.
pub(crate) fn node_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = node(new);
    let path = Path::root("spec");
    let path = path.child("drivers");
    let [after, before] = [new, old].map(|object| read::list(read::top(object, "spec"), "drivers"));
    for driver in after {
        let name = read::text(driver, "name");
        let Some(old) = before.iter().find(|old| read::text(old, "name") == name) else { continue };
        let [new, old] = [driver, old].map(without_room);
        check::unchanged(&mut errors, &path, Some(&new), Some(&old));
    }
    errors
}

fn without_room(driver: &Value) -> Value {
    let mut driver = driver.clone();
    if let Some(fields) = driver.as_object_mut() {
        fields.remove("allocatable");
    }
    driver
}

pub(crate) fn attachment(object: &Object) -> ErrorList {
    let mut errors = common_of_attachment(object);
    let spec = read::top(object, "spec");
    let path = Path::root("spec");
    let attacher = read::text(spec, "attacher");
    check::faults(&mut errors, &path.child("attacher"), attacher, names::dns1123_subdomain(attacher));
    let source = read::of(spec, "source");
    if read::get(source, "persistentVolumeName").is_some() {
        let name = read::text(source, "persistentVolumeName");
        let at = path.child("source");
        check::faults(&mut errors, &at.child("persistentVolumeName"), name, names::dns1123_subdomain(name));
    }
    errors
}

/// What is attached where stays.
pub(crate) fn attachment_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = common_of_attachment(new);
    let key = "spec";
    check::unchanged(&mut errors, &Path::root(key), read::top_raw(new, key), read::top_raw(old, key));
    errors
}

fn common_of_attachment(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    check::required(&mut errors, &path.child("attacher"), read::text(spec, "attacher"));
    attached(&mut errors, &path.child("source"), read::of(spec, "source"));
    let node = read::text(spec, "nodeName");
    check::faults(&mut errors, &path.child("nodeName"), node, names::dns1123_subdomain(node));
    let path = Path::root("status");
    let status = read::top(object, "status");
    let bytes: usize = read::pairs(status, "attachmentMetadata").map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        errors.push(FieldError::too_long(&path.child("attachmentMetadata"), MAX_METADATA_BYTES));
    }
    for key in ["attachError", "detachError"] {
        volume_error(&mut errors, &path.child(key), read::of(status, key));
    }
    errors
}

fn attached(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (read::get(source, "inlineVolumeSpec"), read::get(source, "persistentVolumeName")) {
        (None, None) => errors.push(FieldError::required(path, detail)),
        (Some(_), Some(_)) => errors.push(FieldError::forbidden(path, detail)),
        (None, Some(_)) => {
            if read::text(source, "persistentVolumeName").is_empty() {
                let detail = "must specify non empty persistentVolumeName";
                errors.push(FieldError::required(&path.child("persistentVolumeName"), detail));
            }
        }
        (Some(spec), None) => storage::inline_volume(errors, &path.child("inlineVolumeSpec"), spec),
    }
}

fn volume_error(errors: &mut ErrorList, path: &Path<'_>, error: &Value) {
    if read::text(error, "message").len() > MAX_MESSAGE_BYTES {
        // As upstream: another bound is told than the one that counts.
        errors.push(FieldError::too_long(&path.child("message"), MAX_METADATA_BYTES));
    }
    if let Some(code) = read::int(error, "errorCode").filter(|code| *code < 0) {
        let detail = names::range_message(0, i64::from(i32::MAX));
        errors.push(FieldError::invalid(&path.child("errorCode"), code, detail));
    }
}

pub(crate) fn capacity(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let topology = read::top_raw(object, "nodeTopology").filter(|value| !value.is_null());
    selector::label_selector(&mut errors, &Path::root("nodeTopology"), topology);
    let class = read::top_raw(object, "storageClassName").and_then(Value::as_str).unwrap_or("");
    check::faults(&mut errors, &Path::root("storageClassName"), class, names::dns1123_subdomain(class));
    let left = read::top_raw(object, "capacity").and_then(amounts::parse);
    if let Some(left) = left.filter(|left| left.signum() < 0) {
        errors.push(FieldError::invalid(&Path::root("capacity"), left.to_string(), check::NEGATIVE));
    }
    errors
}

/// Of what there is a capacity stays.
pub(crate) fn capacity_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    for key in ["nodeTopology", "storageClassName"] {
        check::unchanged(&mut errors, &Path::root(key), read::top_raw(new, key), read::top_raw(old, key));
    }
    errors
}
