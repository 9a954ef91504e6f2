//! Slices of the devices of a driver. Facts: upstream's `validateResourceSliceSpec` (`pkg/apis/resource/validation`).

use std::sync::LazyLock;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use regex::Regex;
use serde_json::Value;

use super::devices::{bounded, driver_name, pool_name, qualified_name, unique};
use super::{check, pod, read};

const MAX_DEVICES: usize = 128;
/// The same where one has taints or consumes counters.
const MAX_INTRICATE_DEVICES: usize = 64;
const MAX_COUNTER_SETS: usize = 8;
const MAX_COUNTERS: usize = 32;
/// The most attributes and capacities of a device.
const MAX_PROPERTIES: usize = 32;
const MAX_TAINTS: usize = 16;
const MAX_CONSUMPTIONS: usize = 2;
const MAX_CONDITIONS: usize = 4;
const MAX_VALUE: usize = 64;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// Versions as semver.org has them.
static VERSION: LazyLock<Regex> = LazyLock::new(|| {
    const NUMBER: &str = r"(0|[1-9]\d*)";
    const PRERELEASE: &str = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)";
    const BUILD: &str = "[0-9a-zA-Z-]+";
    let text =
        format!(r"^{NUMBER}\.{NUMBER}\.{NUMBER}(-{PRERELEASE}(\.{PRERELEASE})*)?(\+{BUILD}(\.{BUILD})*)?$");
    Regex::new(&text).expect("a pattern")
});

pub(crate) fn slice(object: &Object) -> ErrorList {
    judge(object, None)
}

pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    judge(new, Some(old))
}

fn judge(object: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    driver_name(&mut errors, &path.child("driver"), read::text(spec, "driver"));
    let pool = read::of(spec, "pool");
    let at = path.child("pool");
    pool_name(&mut errors, &at.child("name"), read::text(pool, "name"));
    let count = read::int(pool, "resourceSliceCount").unwrap_or(0);
    if count <= 0 {
        errors.push(FieldError::invalid(&at.child("resourceSliceCount"), count, check::NOT_POSITIVE));
    }
    if let Some(generation) = read::int(pool, "generation").filter(|generation| *generation < 0) {
        let detail = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&at.child("generation"), generation, detail));
    }
    if let Some(before) = old.map(|old| read::top(old, "spec")) {
        let name = |spec| read::raw(read::of(spec, "pool"), "name");
        check::unchanged(&mut errors, &at.child("name"), name(spec), name(before));
        for key in ["driver", "nodeName"] {
            check::unchanged(&mut errors, &path.child(key), read::raw(spec, key), read::raw(before, key));
        }
    }
    place(&mut errors, &path, spec);
    let has = |key| read::get(spec, key).is_some();
    if has("sharedCounters") && has("devices") {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(&path, "", detail));
    }
    devices(&mut errors, &path.child("devices"), spec);
    counter_sets(&mut errors, &path.child("sharedCounters"), spec);
    errors
}

/// From where the devices can be reached: one way of saying so.
fn place(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    if read::get(spec, "nodeName").is_some() {
        let name = read::text(spec, "nodeName");
        if name.is_empty() {
            let detail = "must be either unset or set to a non-empty string";
            errors.push(FieldError::invalid(&path.child("nodeName"), "", detail));
        } else {
            check::faults(errors, &path.child("nodeName"), name, names::dns1123_subdomain(name));
        }
    }
    if let Some(selector) = read::get(spec, "nodeSelector") {
        let at = path.child("nodeSelector");
        pod::node_selector(errors, &at, selector);
        let terms = read::list(selector, "nodeSelectorTerms");
        if terms.len() != 1 {
            let detail = "must have exactly one node selector term";
            errors.push(FieldError::invalid(&at.child("nodeSelectorTerms"), terms.to_vec(), detail));
        }
    }
    for key in ["allNodes", "perDeviceNodeSelection"] {
        if read::get(spec, key).is_some() && !read::flag(spec, key) {
            let detail = "must be either unset or set to true";
            errors.push(FieldError::invalid(&path.child(key), false, detail));
        }
    }
    let given = given_places(spec, &PLACES);
    let detail =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.as_slice() {
        [] => errors.push(FieldError::required(path, detail)),
        [_] => {}
        _ => {
            let detail = format!("{detail}, but multiple fields are set");
            errors.push(FieldError::invalid(path, format!("{{{}}}", given.join(", ")), detail));
        }
    }
}

/// Which of the keys say where something is.
fn given_places(parent: &Value, keys: &[&str]) -> Vec<String> {
    let is_given = |key: &str| match key {
        "nodeName" => !read::text(parent, "nodeName").is_empty(),
        "nodeSelector" => read::get(parent, "nodeSelector").is_some(),
        key => read::flag(parent, key),
    };
    keys.iter().filter(|key| is_given(key)).map(|key| format!("`{key}`")).collect()
}

fn devices(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let intricate =
        |device: &Value| ["taints", "consumesCounters"].iter().any(|key| !read::list(device, key).is_empty());
    let max =
        if read::list(spec, "devices").iter().any(intricate) { MAX_INTRICATE_DEVICES } else { MAX_DEVICES };
    let list = bounded(errors, path, spec, "devices", max);
    for (i, one) in list.iter().enumerate() {
        device(errors, &path.index(i), one, read::flag(spec, "perDeviceNodeSelection"));
    }
    unique(errors, path, list.iter().map(|device| read::text(device, "name")));
}

fn device(errors: &mut ErrorList, path: &Path<'_>, device: &Value, has_place: bool) {
    let name = read::text(device, "name");
    check::faults(errors, &path.child("name"), name, names::dns1123_label(name));
    let properties = read::entries(device, "attributes").count() + read::entries(device, "capacity").count();
    if properties > MAX_PROPERTIES {
        let detail =
            format!("the total number of attributes and capacities must not exceed {MAX_PROPERTIES}");
        errors.push(FieldError::invalid(path, properties, detail));
    }
    let attributes = path.child("attributes");
    for (name, value) in read::entries(device, "attributes") {
        let at = attributes.key(name);
        qualified_name(errors, &at, name);
        attribute(errors, &at, value);
    }
    let capacities = path.child("capacity");
    for (name, capacity) in read::entries(device, "capacity") {
        let at = capacities.key(name);
        qualified_name(errors, &at, name);
        if !read::flag(device, "allowMultipleAllocations") && read::get(capacity, "requestPolicy").is_some() {
            let detail = "allowMultipleAllocations must be true";
            errors.push(FieldError::forbidden(&at.child("requestPolicy"), detail));
        }
    }
    let taints = path.child("taints");
    for (i, one) in bounded(errors, &taints, device, "taints", MAX_TAINTS).iter().enumerate() {
        taint(errors, &taints.index(i), one);
    }
    consumptions(errors, &path.child("consumesCounters"), device);
    place_of_device(errors, path, device, has_place);
    for key in ["bindingConditions", "bindingFailureConditions"] {
        let at = path.child(key);
        for (i, condition) in bounded(errors, &at, device, key, MAX_CONDITIONS).iter().enumerate() {
            let condition = condition.as_str().unwrap_or("");
            check::faults(errors, &at.index(i), condition, names::qualified_name(condition));
        }
    }
}

fn place_of_device(errors: &mut ErrorList, path: &Path<'_>, device: &Value, has_place: bool) {
    if !has_place {
        if PLACES[..3].iter().any(|key| read::get(device, key).is_some()) {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
        return;
    }
    if read::get(device, "nodeName").is_some() {
        let name = read::text(device, "nodeName");
        if name.is_empty() {
            errors.push(FieldError::invalid(&path.child("nodeName"), "", "must not be empty"));
        } else {
            check::faults(errors, &path.child("nodeName"), name, names::dns1123_subdomain(name));
        }
    }
    if let Some(selector) = read::get(device, "nodeSelector") {
        pod::node_selector(errors, &path.child("nodeSelector"), selector);
    }
    if read::get(device, "allNodes").is_some() && !read::flag(device, "allNodes") {
        let detail = "must be either unset or set to true";
        errors.push(FieldError::invalid(&path.child("allNodes"), false, detail));
    }
    let given = given_places(device, &PLACES[..3]);
    let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match given.as_slice() {
        [] => errors.push(FieldError::required(path, detail)),
        [_] => {}
        _ => errors.push(FieldError::invalid(path, format!("{{{}}}", given.join(", ")), detail)),
    }
}

fn attribute(errors: &mut ErrorList, path: &Path<'_>, value: &Value) {
    let text = |key| read::get(value, key).map(|_| read::text(value, key));
    let string = text("string");
    if string.is_some_and(|text| text.len() > MAX_VALUE) {
        errors.push(FieldError::too_long(&path.child("string"), MAX_VALUE));
    }
    if let Some(version) = text("version") {
        let at = path.child("version");
        if !VERSION.is_match(version) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(FieldError::invalid(&at, version, detail));
        }
        if version.len() > MAX_VALUE {
            errors.push(FieldError::too_long(&at, MAX_VALUE));
        }
    }
    let kinds = ["bool", "int", "string", "version"];
    let shown = match kinds.iter().filter(|kind| read::get(value, kind).is_some()).count() {
        0 => Value::from(""),
        1 => return,
        _ => value.clone(),
    };
    errors.push(FieldError::invalid(path, shown, "exactly one value must be specified"));
}

fn taint(errors: &mut ErrorList, path: &Path<'_>, taint: &Value) {
    let [key, value, effect] = ["key", "value", "effect"].map(|key| read::text(taint, key));
    check::faults(errors, &path.child("key"), key, names::qualified_name(key));
    check::faults(errors, &path.child("value"), value, names::label_value(value));
    check::one_of(errors, &path.child("effect"), effect, &EFFECTS);
}

fn consumptions(errors: &mut ErrorList, path: &Path<'_>, device: &Value) {
    let list = bounded(errors, path, device, "consumesCounters", MAX_CONSUMPTIONS);
    for (i, consumption) in list.iter().enumerate() {
        let at = path.index(i);
        let set = read::text(consumption, "counterSet");
        if check::required(errors, &at.child("counterSet"), set) {
            check::faults(errors, &at.child("counterSet"), set, names::dns1123_label(set));
        }
        counters(errors, &at.child("counters"), consumption);
    }
    unique(errors, path, list.iter().map(|consumption| read::text(consumption, "counterSet")));
}

fn counter_sets(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let list = bounded(errors, path, spec, "sharedCounters", MAX_COUNTER_SETS);
    for (i, set) in list.iter().enumerate() {
        let at = path.index(i);
        let name = read::text(set, "name");
        if check::required(errors, &at.child("name"), name) {
            check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
        }
        counters(errors, &at.child("counters"), set);
    }
    unique(errors, path, list.iter().map(|set| read::text(set, "name")));
}

fn counters(errors: &mut ErrorList, path: &Path<'_>, parent: &Value) {
    let count = read::entries(parent, "counters").count();
    if count == 0 {
        errors.push(FieldError::required(path, ""));
    } else if count > MAX_COUNTERS {
        errors.push(FieldError::too_many(path, count, MAX_COUNTERS));
    } else {
        for (name, _) in read::entries(parent, "counters") {
            check::faults(errors, &path.key(name), name, names::dns1123_label(name));
        }
    }
}
