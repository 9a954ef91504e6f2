//! Addresses of Services: who has one, and the ranges they come from. Upstream: `ValidateIPAddress` and
//! `ValidateServiceCIDR` of `pkg/apis/networking/validation`.

use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

/// The name of an IPAddress: the address in its one canonical form.
pub(crate) fn address_name(name: &str) -> names::Faults {
    let detail = match name.parse::<IpAddr>() {
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned(),
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            "must not be an IPv4-mapped IPv6 address".to_owned()
        }
        Ok(address) if address.to_string() != name => format!("must be in canonical form (\"{address}\")"),
        Ok(_) => return names::Faults::new(),
    };
    vec![detail]
}

pub(crate) fn ip_address(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = Path::root("spec");
    let at = spec.child("parentRef");
    let Some(parent) = read::get(read::top(object, "spec"), "parentRef") else {
        errors.push(FieldError::required(&at, ""));
        return errors;
    };
    let group = read::text(parent, "group");
    if !group.is_empty() {
        check::faults(&mut errors, &at.child("group"), group, names::dns1123_subdomain(group));
    }
    for (key, is_required) in [("resource", true), ("name", true), ("namespace", false)] {
        let (path, value) = (at.child(key), read::text(parent, key));
        let given = if is_required { check::required(&mut errors, &path, value) } else { !value.is_empty() };
        if given {
            check::faults(&mut errors, &path, value, names::path_segment_name(value, false));
        }
    }
    errors
}

/// Who has an address stays.
pub(crate) fn ip_address_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = Path::root("spec");
    let parent = |object| read::raw(read::top(object, "spec"), "parentRef");
    check::unchanged(&mut errors, &spec.child("parentRef"), parent(new), parent(old));
    errors
}

pub(crate) fn service_cidr(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let at = path.child("cidrs");
    let spec = read::top(object, "spec");
    let cidrs: Vec<&str> = read::texts(spec, "cidrs").collect();
    let whole = || serde_json::json!({"CIDRs": cidrs});
    match &cidrs[..] {
        [] => errors.push(FieldError::required(&at, "at least one CIDR required")),
        [first, second] if is_v6(first) == is_v6(second) => {
            let detail =
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.push(FieldError::invalid(&at, whole(), detail));
        }
        [_, _, _, ..] => errors.push(FieldError::invalid(&at, whole(), "may only hold up to 2 values")),
        _ => cidrs.iter().enumerate().for_each(|(i, cidr)| canonical(&mut errors, &at.index(i), cidr)),
    }
    errors
}

fn is_v6(cidr: &str) -> bool {
    cidr.contains(':')
}

/// A prefix in its one form, with no bits of an address behind it. Upstream: `IsValidCIDR`.
fn canonical(errors: &mut ErrorList, path: &Path<'_>, cidr: &str) {
    let before = errors.len();
    check::cidr(errors, path, cidr);
    let Some((address, length)) = cidr.split_once('/').filter(|_| errors.len() == before) else { return };
    let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else { return };
    let masked = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::from((u32::from(v4) & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::from((u128::from(v6) & mask).to_be_bytes())
        }
    };
    let form = format!("{masked}/{bits}");
    let detail = if masked != address {
        "must not have bits set beyond the prefix length".to_owned()
    } else if form != cidr {
        format!("must be in canonical form (\"{form}\")")
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, cidr, detail));
}

/// The ranges of an object stay, but that a second family may be added.
pub(crate) fn service_cidr_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = Path::root("spec");
    let cidrs = |object| read::list(read::top(object, "spec"), "cidrs");
    let (after, before) = (cidrs(new), cidrs(old));
    let at = spec.child("cidrs");
    let changed =
        |i: usize, value: &Value| FieldError::invalid(&at.index(i), value.clone(), check::IMMUTABLE);
    if before.len() == after.len() {
        let pairs = before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after);
        errors.extend(pairs.map(|(i, (_, after))| changed(i, after)));
    } else if let ([first], [kept, _]) = (before, after) {
        errors.extend((first != kept).then(|| changed(0, kept)));
        errors.extend(service_cidr(new));
    } else {
        errors.push(FieldError::invalid(&at, after.to_vec(), check::IMMUTABLE));
    }
    errors
}
