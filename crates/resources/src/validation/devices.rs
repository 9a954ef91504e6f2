//! Claims of devices, their templates and classes. Facts: upstream's `pkg/apis/resource/validation`.

use std::collections::{HashMap, HashSet};

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use expressions::{Program, Type};
use serde_json::Value;

use super::{check, read};

/// The most requests, constraints, configurations or selectors in one place.
const MAX: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_TOLERATIONS: usize = 16;
const MAX_EXPRESSION: usize = 10 * 1024;
const MAX_PARAMETERS: usize = 10 * 1024;
const MAX_RESERVATIONS: usize = 256;
const MAX_DOMAIN: usize = 63;
const MAX_ID: usize = 32;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

pub(crate) fn claim(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    claim_spec(&mut errors, &Path::root("spec"), read::top(object, "spec"));
    errors
}

/// What is asked for stays.
pub(crate) fn spec_stays(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let key = "spec";
    check::unchanged(&mut errors, &Path::root(key), read::top_raw(new, key), read::top_raw(old, key));
    errors
}

pub(crate) fn template(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let template = read::top(object, "spec");
    let metadata = read::of(template, "metadata");
    let at = path.child("metadata");
    check::annotations(&mut errors, &at.child("annotations"), read::pairs(metadata, "annotations"));
    check::labels(&mut errors, &at.child("labels"), read::pairs(metadata, "labels"));
    claim_spec(&mut errors, &path.child("spec"), read::of(template, "spec"));
    errors
}

pub(crate) fn class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    selectors(&mut errors, &path, spec);
    let configs = path.child("config");
    for (i, config) in bounded(&mut errors, &configs, spec, "config", MAX).iter().enumerate() {
        configuration(&mut errors, &configs.index(i), config);
    }
    if read::get(spec, "extendedResourceName").is_some() {
        let name = read::text(spec, "extendedResourceName");
        if !super::amounts::is_extended(name) {
            let detail = "must be a valid extended resource name";
            errors.push(FieldError::invalid(&path.child("extendedResourceName"), name, detail));
        }
    }
    errors
}

/// The items of a list that is not too long.
pub(super) fn bounded<'a>(
    errors: &mut ErrorList,
    path: &Path<'_>,
    parent: &'a Value,
    key: &str,
    max: usize,
) -> &'a [Value] {
    let list = read::list(parent, key);
    if list.len() <= max {
        return list;
    }
    errors.push(FieldError::too_many(path, list.len(), max));
    &[]
}

/// Each key once.
pub(super) fn unique<'a>(errors: &mut ErrorList, path: &Path<'_>, keys: impl Iterator<Item = &'a str>) {
    let mut seen = HashSet::new();
    for (i, key) in keys.enumerate() {
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(&path.index(i), key));
        }
    }
}

/// The names of requests, with those of their alternatives.
type Requests<'a> = HashMap<&'a str, HashSet<&'a str>>;

fn request_names(devices: &Value) -> Requests<'_> {
    let alternatives = |request| read::list(request, "firstAvailable").iter().map(|a| read::text(a, "name"));
    let named = |request| (read::text(request, "name"), alternatives(request).collect());
    read::list(devices, "requests").iter().map(named).collect()
}

fn claim_spec(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let path = path.child("devices");
    let devices = read::of(spec, "devices");
    let requests = path.child("requests");
    let list = bounded(errors, &requests, devices, "requests", MAX);
    for (i, request) in list.iter().enumerate() {
        device_request(errors, &requests.index(i), request);
    }
    unique(errors, &requests, list.iter().map(|request| read::text(request, "name")));
    let known = request_names(devices);
    let constraints = path.child("constraints");
    for (i, constraint) in bounded(errors, &constraints, devices, "constraints", MAX).iter().enumerate() {
        device_constraint(errors, &constraints.index(i), constraint, &known);
    }
    let configs = path.child("config");
    for (i, config) in bounded(errors, &configs, devices, "config", MAX).iter().enumerate() {
        let at = configs.index(i);
        references(errors, &at.child("requests"), config, &known);
        configuration(errors, &at, config);
    }
}

fn device_request(errors: &mut ErrorList, path: &Path<'_>, request: &Value) {
    let name = read::text(request, "name");
    check::faults(errors, &path.child("name"), name, names::dns1123_label(name));
    let alternatives = path.child("firstAvailable");
    let (exactly, several) = (read::get(request, "exactly"), read::list(request, "firstAvailable"));
    match (exactly, several.is_empty()) {
        (None, true) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required";
            errors.push(FieldError::required(path, detail));
        }
        (Some(_), false) => {
            let detail =
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
        (None, false) => {
            let list = bounded(errors, &alternatives, request, "firstAvailable", MAX_ALTERNATIVES);
            for (i, alternative) in list.iter().enumerate() {
                let at = alternatives.index(i);
                let name = read::text(alternative, "name");
                check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
                exact_request(errors, &at, alternative);
            }
            unique(errors, &alternatives, list.iter().map(|alternative| read::text(alternative, "name")));
        }
        (Some(exactly), true) => exact_request(errors, &path.child("exactly"), exactly),
    }
}

fn exact_request(errors: &mut ErrorList, path: &Path<'_>, request: &Value) {
    let (at, class) = (path.child("deviceClassName"), read::text(request, "deviceClassName"));
    if check::required(errors, &at, class) {
        check::faults(errors, &at, class, names::dns1123_subdomain(class));
    }
    selectors(errors, path, request);
    let mode = read::text(request, "allocationMode");
    let count = read::int(request, "count").unwrap_or(0);
    match mode {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(&path.child("count"), count, detail));
        }
        "ExactCount" if count <= 0 => {
            errors.push(FieldError::invalid(&path.child("count"), count, check::NOT_POSITIVE));
        }
        "All" | "ExactCount" => {}
        other => {
            let modes = ["All", "ExactCount"];
            errors.push(FieldError::not_supported(&path.child("allocationMode"), other, &modes));
        }
    }
    let tolerations = path.child("tolerations");
    let list = bounded(errors, &tolerations, request, "tolerations", MAX_TOLERATIONS);
    for (i, toleration) in list.iter().enumerate() {
        device_toleration(errors, &tolerations.index(i), toleration);
    }
}

fn selectors(errors: &mut ErrorList, path: &Path<'_>, parent: &Value) {
    let path = path.child("selectors");
    for (i, selector) in bounded(errors, &path, parent, "selectors", MAX).iter().enumerate() {
        let at = path.index(i);
        let at = at.child("cel");
        let Some(cel) = read::get(selector, "cel") else {
            errors.push(FieldError::required(&at, ""));
            continue;
        };
        expression(errors, &at.child("expression"), read::text(cel, "expression"));
    }
}

/// An expression that is true of the devices that are meant.
fn expression(errors: &mut ErrorList, path: &Path<'_>, text: &str) {
    if text.len() > MAX_EXPRESSION {
        errors.push(FieldError::too_long(path, MAX_EXPRESSION));
        return;
    }
    let why = match Program::compile(text, &[("device", &Type::Dyn)]) {
        Err(rejected) => format!("compilation failed: {rejected}"),
        Ok(program) if !matches!(program.result_type(), Type::Bool | Type::Dyn) => {
            "must evaluate to bool or the unknown type, not ".to_owned() + &program.result_type().to_string()
        }
        Ok(_) => return,
    };
    errors.push(FieldError::invalid(path, text, why));
}

fn device_toleration(errors: &mut ErrorList, path: &Path<'_>, toleration: &Value) {
    let [key, operator, value, effect] =
        ["key", "operator", "value", "effect"].map(|key| read::text(toleration, key));
    if !key.is_empty() {
        check::faults(errors, &path.child("key"), key, names::qualified_name(key));
    }
    match operator {
        "Exists" if !value.is_empty() => {
            let detail = "must be empty for operator `Exists`";
            errors.push(FieldError::invalid(&path.child("value"), value, detail));
        }
        "Equal" => check::faults(errors, &path.child("value"), value, names::label_value(value)),
        other => check::one_of(errors, &path.child("operator"), other, &["Equal", "Exists"]),
    }
    check::if_given_one_of(errors, &path.child("effect"), effect, &EFFECTS);
}

fn device_constraint(errors: &mut ErrorList, path: &Path<'_>, constraint: &Value, known: &Requests<'_>) {
    references(errors, &path.child("requests"), constraint, known);
    let keys = ["matchAttribute", "distinctAttribute"];
    match keys.into_iter().find(|key| read::get(constraint, key).is_some()) {
        Some(key) => attribute_name(errors, &path.child(key), read::text(constraint, key)),
        None => {
            let detail = r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;
            errors.push(FieldError::required(path, detail));
        }
    }
}

/// The name of an attribute, with its domain.
fn attribute_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    qualified_name(errors, path, name);
    if !name.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(path, name, detail));
    }
}

/// The name of an attribute or a capacity: of its own, or in a domain.
pub(super) fn qualified_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    if !check::required(errors, path, name) {
        return;
    }
    let Some((domain, id)) = name.split_once('/') else { return identifier(errors, path, name) };
    if domain.is_empty() {
        errors.push(FieldError::invalid(path, "", "the domain must not be empty"));
    } else {
        driver_name(errors, path, domain);
    }
    if id.is_empty() {
        errors.push(FieldError::invalid(path, "", "the name must not be empty"));
    } else {
        identifier(errors, path, id);
    }
}

fn identifier(errors: &mut ErrorList, path: &Path<'_>, id: &str) {
    if id.len() > MAX_ID {
        errors.push(FieldError::too_long(path, MAX_ID));
    }
    let mut bytes = id.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !starts || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let detail = names::regex_message(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
            "[A-Za-z_][A-Za-z0-9_]*",
            &["my_name", "MY_NAME", "MyName"],
        );
        errors.push(FieldError::invalid(path, id, detail));
    }
}

/// The name of a driver.
pub(super) fn driver_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    if !check::required(errors, path, name) {
        return;
    }
    if name.len() > MAX_DOMAIN {
        errors.push(FieldError::too_long(path, MAX_DOMAIN));
    }
    check::faults(errors, path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

/// Names of requests, each of which is there.
fn references(errors: &mut ErrorList, path: &Path<'_>, parent: &Value, known: &Requests<'_>) {
    let list = bounded(errors, path, parent, "requests", MAX);
    for (i, name) in list.iter().enumerate() {
        reference(errors, &path.index(i), name.as_str().unwrap_or(""), known);
    }
    unique(errors, path, list.iter().map(|name| name.as_str().unwrap_or("")));
}

fn reference(errors: &mut ErrorList, path: &Path<'_>, name: &str, known: &Requests<'_>) {
    let segments: Vec<&str> = name.split('/').collect();
    let is_known = match segments.as_slice() {
        [request] => known.contains_key(request),
        [request, alternative] => known.get(request).is_some_and(|of| of.contains(alternative)),
        _ => return errors.push(FieldError::invalid(path, name, NO_REQUEST)),
    };
    for segment in segments {
        check::faults(errors, path, segment, names::dns1123_label(segment));
    }
    if !is_known {
        errors.push(FieldError::invalid(path, name, NO_REQUEST));
    }
}

/// What a driver is told.
fn configuration(errors: &mut ErrorList, path: &Path<'_>, config: &Value) {
    let at = path.child("opaque");
    let Some(opaque) = read::get(config, "opaque") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    driver_name(errors, &at.child("driver"), read::text(opaque, "driver"));
    let at = at.child("parameters");
    match read::get(opaque, "parameters") {
        None => errors.push(FieldError::required(&at, "")),
        Some(parameters) if parameters.to_string().len() > MAX_PARAMETERS => {
            errors.push(FieldError::too_long(&at, MAX_PARAMETERS));
        }
        Some(Value::Object(_)) => {}
        Some(_) => {
            errors.push(FieldError::invalid(&at, "<value omitted>", "must be a valid JSON object"));
        }
    }
}

/// Who may use the devices, once they are allocated, and that an allocation stays.
pub(crate) fn claim_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let [after, before] = [new, old].map(|claim| read::top(claim, "status"));
    let at = path.child("reservedFor");
    let list = bounded(&mut errors, &at, after, "reservedFor", MAX_RESERVATIONS);
    for (i, consumer) in list.iter().enumerate() {
        let at = at.index(i);
        for key in ["resource", "name", "uid"] {
            check::required(&mut errors, &at.child(key), read::text(consumer, key));
        }
    }
    unique(&mut errors, &at, list.iter().map(|consumer| read::text(consumer, "uid")));
    let allocation = read::get(after, "allocation");
    if !read::list(after, "reservedFor").is_empty() {
        let known = read::list(before, "reservedFor");
        if allocation.is_none() {
            let detail = "may not be specified when `allocated` is not set";
            errors.push(FieldError::forbidden(&at, detail));
        } else if new.deletion_timestamp().is_some() && list.iter().any(|consumer| !known.contains(consumer))
        {
            let detail =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(FieldError::forbidden(&at, detail));
        }
    }
    let at = path.child("allocation");
    match (allocation, read::get(before, "allocation")) {
        (Some(_), Some(_)) => {
            let key = "allocation";
            check::unchanged(&mut errors, &at, read::raw(after, key), read::raw(before, key));
        }
        (Some(allocation), None) => {
            let known = request_names(read::of(read::top(new, "spec"), "devices"));
            allocated(&mut errors, &at, allocation, &known);
        }
        (None, _) => {}
    }
    errors
}

fn allocated(errors: &mut ErrorList, path: &Path<'_>, allocation: &Value, known: &Requests<'_>) {
    let at = path.child("devices");
    let devices = read::of(allocation, "devices");
    let results = at.child("results");
    for (i, result) in bounded(errors, &results, devices, "results", MAX).iter().enumerate() {
        let at = results.index(i);
        reference(errors, &at.child("request"), read::text(result, "request"), known);
        driver_name(errors, &at.child("driver"), read::text(result, "driver"));
        pool_name(errors, &at.child("pool"), read::text(result, "pool"));
        let device = read::text(result, "device");
        check::faults(errors, &at.child("device"), device, names::dns1123_label(device));
    }
    let configs = at.child("config");
    // Those of the class, and those of the claim.
    for (i, config) in bounded(errors, &configs, devices, "config", 2 * MAX).iter().enumerate() {
        let at = configs.index(i);
        let source = read::text(config, "source");
        check::one_of(errors, &at.child("source"), source, &["FromClaim", "FromClass"]);
        references(errors, &at.child("requests"), config, known);
        configuration(errors, &at, config);
    }
    if let Some(selector) = read::get(allocation, "nodeSelector") {
        super::pod::node_selector(errors, &path.child("nodeSelector"), selector);
    }
}

/// The name of a pool: subdomains, separated by slashes.
pub(super) fn pool_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    const MAX_POOL: usize = 253;
    if !check::required(errors, path, name) {
        return;
    }
    if name.len() > MAX_POOL {
        errors.push(FieldError::too_long(path, MAX_POOL));
        return;
    }
    for part in name.split('/') {
        check::faults(errors, path, part, names::dns1123_subdomain(part));
    }
}
