//! How a pod finds names: policy, resolver configuration, aliases in its hosts file.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::{check, read};

const POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
/// What resolvers of the C library take.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;

pub(super) fn policy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    check::one_of(errors, &path.child("dnsPolicy"), read::text(spec, "dnsPolicy"), &POLICIES);
}

pub(super) fn config(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let none = read::text(spec, "dnsPolicy") == "None";
    let Some(config) = read::get(spec, "dnsConfig") else {
        if none {
            errors.push(FieldError::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        return;
    };
    let servers = read::list(config, "nameservers");
    let servers_path = path.child("nameservers");
    if none && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(&servers_path, detail));
        return;
    }
    if servers.len() > MAX_NAMESERVERS {
        let detail = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(&servers_path, servers.to_vec(), detail));
    }
    for (i, server) in read::texts(config, "nameservers").enumerate() {
        check::ip(errors, &servers_path.index(i), server);
    }
    searches(errors, &path.child("searches"), config);
    let options = path.child("options");
    for (i, option) in read::list(config, "options").iter().enumerate() {
        if read::text(option, "name").is_empty() {
            errors.push(FieldError::required(&options.index(i), "must not be empty"));
        }
    }
}

fn searches(errors: &mut ErrorList, path: &Path<'_>, config: &Value) {
    let searches = read::list(config, "searches");
    if searches.len() > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(FieldError::invalid(path, searches.to_vec(), detail));
    }
    let bytes: usize = read::texts(config, "searches").map(|s| s.len() + 1).sum();
    if bytes > MAX_SEARCH_BYTES + 1 {
        let detail = format!(
            "must not have more than {MAX_SEARCH_BYTES} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(path, searches.to_vec(), detail));
    }
    for (i, search) in read::texts(config, "searches").enumerate() {
        if search != "." {
            let domain = search.strip_suffix('.').unwrap_or(search);
            // Underscores are taken, as in names of services in the DNS.
            let faults = names::dns1123_subdomain(&domain.replace('_', "a"));
            check::faults(errors, &path.index(i), domain, faults);
        }
    }
}

pub(super) fn host_aliases(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for (i, alias) in read::list(spec, "hostAliases").iter().enumerate() {
        let at = path.index(i);
        check::ip(errors, &at.child("ip"), read::text(alias, "ip"));
        let hostnames = at.child("hostnames");
        for (j, name) in read::texts(alias, "hostnames").enumerate() {
            check::faults(errors, &hostnames.index(j), name, names::dns1123_subdomain(name));
        }
    }
}

/// The name that a pod shows of itself instead of its own.
pub(super) fn hostname_override(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    const MAX_BYTES: usize = 64;
    let Some(name) = read::get(spec, "hostnameOverride").and_then(Value::as_str) else { return };
    let at = path.child("hostnameOverride");
    for key in ["setHostnameAsFQDN", "hostNetwork"] {
        if read::flag(spec, key) {
            errors.push(FieldError::forbidden(&at, format!("may not be specified when {key} is true")));
        }
    }
    if name.len() > MAX_BYTES {
        errors.push(FieldError::too_long(&at, MAX_BYTES));
    }
    check::faults(errors, &at, name, names::dns1123_subdomain(name));
}
