//! The fields about a Service's cluster addresses and their families, and how these may change. Upstream:
//! `ValidateServiceClusterIPsRelatedFields` and `validateUpgradeDowngrade…` of `pkg/apis/core/validation`.

use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::{Value, json};

use super::super::{check, read};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const NONE: &str = "None";

/// Everything wrong with the addresses and families of a Service; what allocation relies on.
pub fn service_address_errors(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    if read::text(spec, "type") == "ExternalName" {
        return errors;
    }
    let at = path.child("clusterIPs");
    let (single, list) = (read::text(spec, "clusterIP"), texts(spec, "clusterIPs"));
    match (single.is_empty(), list.first()) {
        (false, None) => errors.push(FieldError::required(&at, "")),
        (false, Some(first)) if *first != single => {
            errors.push(FieldError::invalid(&at, list.clone(), "first value must match `clusterIP`"));
        }
        (true, Some(_)) => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.push(FieldError::invalid(&at, list.clone(), detail));
        }
        _ => {}
    }
    let families = texts(spec, "ipFamilies");
    check_families(&mut errors, &path.child("ipFamilies"), &families);
    if let Some(policy) = read::get(spec, "ipFamilyPolicy").and_then(Value::as_str)
        && !POLICIES.contains(&policy)
    {
        errors.push(FieldError::not_supported(&path.child("ipFamilyPolicy"), policy, &POLICIES));
    }
    if !check_each(&mut errors, &at, &list) {
        return errors;
    }
    let parsed: Vec<IpAddr> = list.iter().filter_map(|address| address.parse().ok()).collect();
    if list.len() > 1 && !is_dual(&parsed) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(&at, list.clone(), detail));
    }
    if list != [NONE] {
        for (i, (address, family)) in parsed.iter().zip(&families).enumerate() {
            let expected = match (*family, address) {
                ("IPv4", IpAddr::V6(_)) => "IPv4",
                ("IPv6", IpAddr::V4(_)) => "IPv6",
                _ => continue,
            };
            let detail = format!("expected an {expected} value as indicated by `ipFamilies[{i}]`");
            errors.push(FieldError::invalid(&at.index(i), list[i], detail));
        }
    }
    errors
}

fn texts<'a>(spec: &'a Value, key: &str) -> Vec<&'a str> {
    read::texts(spec, key).collect()
}

fn check_families(errors: &mut ErrorList, path: &Path<'_>, families: &[&str]) {
    for (i, family) in families.iter().enumerate() {
        if !FAMILIES.contains(family) {
            errors.push(FieldError::not_supported(&path.index(i), *family, &FAMILIES));
        }
        if families[..i].contains(family) {
            errors.push(FieldError::duplicate(&path.index(i), *family));
        }
    }
}

/// Checks the addresses one by one; false where what is wrong would only lead to more of the same.
fn check_each(errors: &mut ErrorList, path: &Path<'_>, list: &[&str]) -> bool {
    let mut sound = true;
    for (i, address) in list.iter().enumerate() {
        if i == 0 && *address == NONE {
            if list.len() > 1 {
                sound = false;
                let detail = "'None' must be the first and only value";
                errors.push(FieldError::invalid(path, list.to_vec(), detail));
            }
            continue;
        }
        let before = errors.len();
        check::ip(errors, &path.index(i), address);
        sound &= errors.len() == before;
    }
    if list.len() > 2 {
        errors.push(FieldError::invalid(path, list.to_vec(), "may only hold up to 2 values"));
    }
    sound
}

fn is_dual(addresses: &[IpAddr]) -> bool {
    let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    addresses.len() == 2 && v4 == 1
}

fn is_headless(spec: &Value) -> bool {
    texts(spec, "clusterIPs") == [NONE]
}

/// Everything wrong with a change of addresses and families between Services that have addresses.
pub(super) fn changes(errors: &mut ErrorList, path: &Path<'_>, after: &Value, before: &Value) {
    let external = |spec| read::text(spec, "type") == "ExternalName";
    if external(after) || external(before) {
        return;
    }
    let (headless, was_headless) = (is_headless(after), is_headless(before));
    if !(headless && was_headless) {
        let field = Field { key: "clusterIPs", same_length_at_own_index: true, noun: "clusterIP" };
        changed(errors, path, &field, after, before);
    }
    if !headless && !was_headless {
        let field = Field { key: "ipFamilies", same_length_at_own_index: false, noun: "ipFamily" };
        changed(errors, path, &field, after, before);
    }
}

/// A list whose first value stays and whose second may come and go.
struct Field {
    key: &'static str,
    /// Upstream reports a changed family at the first index, whichever it is.
    same_length_at_own_index: bool,
    noun: &'static str,
}

fn changed(errors: &mut ErrorList, path: &Path<'_>, field: &Field, after: &Value, before: &Value) {
    let at = path.child(field.key);
    let (new, old) = (texts(after, field.key), texts(before, field.key));
    let given = |key| {
        let value = read::raw(after, key).cloned().unwrap_or(Value::Null);
        if value.is_null() { json!([]) } else { value }
    };
    let fixed = "may not change once set";
    if new.len() == old.len() {
        for (i, _) in new.iter().zip(&old).enumerate().filter(|(_, (new, old))| new != old) {
            let index = if field.same_length_at_own_index { i } else { 0 };
            errors.push(FieldError::invalid(&at.index(index), given(field.key), fixed));
        }
        return;
    }
    if new.is_empty() {
        let detail = format!("primary {} can not be unset", field.noun);
        errors.push(FieldError::invalid(&at.index(0), given(field.key), detail));
    } else if old.first().is_some_and(|old| *old != new[0]) {
        errors.push(FieldError::invalid(&at.index(0), given("clusterIPs"), fixed));
    }
    let policy = read::get(after, "ipFamilyPolicy").and_then(Value::as_str);
    if new.len() < old.len() && new.len() == 1 && policy != Some("SingleStack") {
        let value = policy.map_or(Value::Null, Value::from);
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {}", field.noun);
        errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), value, detail));
    }
}
