//! Ingresses and their classes. Upstream: `pkg/apis/networking/validation/validation.go`.

use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// What a path that is compared as text must not hold: it could be another way to write a path.
const PATH_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const PATH_SUFFIXES: [&str; 2] = ["/..", "/."];
const CONTROLLER_MAX_BYTES: usize = 250;
const HTTP_PATH_FMT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
const SCOPES: [&str; 2] = ["Cluster", "Namespace"];

/// Of a new Ingress.
pub(crate) fn ingress(object: &Object) -> ErrorList {
    let mut errors = whole(object, Allowed::default());
    let class = read::get(read::top(object, "spec"), "ingressClassName").and_then(Value::as_str);
    if let (Some(named), Some(class)) = (object.annotation(CLASS_ANNOTATION), class)
        && named != class
    {
        let path = Path::root("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid(&path.child(CLASS_ANNOTATION), named, detail));
    }
    errors
}

/// Of a changed Ingress: what was stored before a rule was made stays valid.
pub(crate) fn ingress_update(new: &Object, old: &Object) -> ErrorList {
    let spec = read::top(old, "spec");
    let secrets = read::list(spec, "tls").iter().map(|entry| read::text(entry, "secretName"));
    let is_odd = |secret: &str| !secret.is_empty() && !names::dns1123_subdomain(secret).is_empty();
    let secret_names = secrets.into_iter().any(is_odd);
    let wildcard_rules = read::list(spec, "rules").iter().any(|rule| {
        let mut errors = ErrorList::new();
        rule_value(&mut errors, &Path::root("http"), rule);
        read::text(rule, "host").contains('*') && !errors.is_empty()
    });
    whole(new, Allowed { secret_names, wildcard_rules })
}

pub(crate) fn ingress_status_update(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let path = path.child("loadBalancer");
    let path = path.child("ingress");
    for (i, entry) in
        read::list(read::of(read::top(new, "status"), "loadBalancer"), "ingress").iter().enumerate()
    {
        let at = path.index(i);
        let [ip, name] = ["ip", "hostname"].map(|key| read::text(entry, key));
        if !ip.is_empty() {
            check::ip(&mut errors, &at.child("ip"), ip);
        }
        if !name.is_empty() {
            check::faults(&mut errors, &at.child("hostname"), name, names::dns1123_subdomain(name));
            not_an_address(&mut errors, &at.child("hostname"), name);
        }
    }
    errors
}

/// What an Ingress may hold because it held it before.
#[derive(Clone, Copy, Default)]
struct Allowed {
    secret_names: bool,
    wildcard_rules: bool,
}

fn whole(object: &Object, allowed: Allowed) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let default = read::get(spec, "defaultBackend");
    let rules = read::list(spec, "rules");
    if rules.is_empty() && default.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&path, Value::Null, detail));
    }
    if let Some(default) = default {
        backend(&mut errors, &path.child("defaultBackend"), default);
    }
    let rules_path = path.child("rules");
    for (i, rule) in rules.iter().enumerate() {
        let at = rules_path.index(i);
        host(&mut errors, &at.child("host"), read::text(rule, "host"));
        if !allowed.wildcard_rules || !read::text(rule, "host").contains('*') {
            rule_value(&mut errors, &at.child("http"), rule);
        }
    }
    let tls = path.child("tls");
    for (i, entry) in read::list(spec, "tls").iter().enumerate() {
        let at = tls.index(i);
        let hosts = at.child("hosts");
        for (j, name) in read::texts(entry, "hosts").enumerate() {
            let faults = host_faults(name);
            check::faults(&mut errors, &hosts.index(j), name, faults);
        }
        let secret = read::text(entry, "secretName");
        if !secret.is_empty() && !allowed.secret_names {
            check::faults(&mut errors, &at.child("secretName"), secret, names::dns1123_subdomain(secret));
        }
    }
    let class = read::text(spec, "ingressClassName");
    if !class.is_empty() {
        let faults = names::dns1123_subdomain(class);
        check::faults(&mut errors, &path.child("ingressClassName"), class, faults);
    }
    errors
}

fn host(errors: &mut ErrorList, path: &Path<'_>, host: &str) {
    if host.is_empty() {
        return;
    }
    not_an_address(errors, path, host);
    check::faults(errors, path, host, host_faults(host));
}

fn not_an_address(errors: &mut ErrorList, path: &Path<'_>, host: &str) {
    if host.parse::<IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, host, "must be a DNS name, not an IP address"));
    }
}

fn rule_value(errors: &mut ErrorList, path: &Path<'_>, rule: &Value) {
    let Some(http) = read::get(rule, "http") else { return };
    let paths = path.child("paths");
    if read::list(http, "paths").is_empty() {
        errors.push(FieldError::required(&paths, ""));
    }
    for (j, found) in read::list(http, "paths").iter().enumerate() {
        http_path(errors, &paths.index(j), found);
    }
}

fn host_faults(host: &str) -> names::Faults {
    if host.contains('*') { names::wildcard_dns1123_subdomain(host) } else { names::dns1123_subdomain(host) }
}

fn http_path(errors: &mut ErrorList, path: &Path<'_>, found: &Value) {
    let [url, kind] = ["path", "pathType"].map(|k| read::text(found, k));
    let at = path.child("path");
    match kind {
        "" => {
            errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified"));
            return;
        }
        "Exact" | "Prefix" => {
            if !url.starts_with('/') {
                errors.push(FieldError::invalid(&at, url, "must be an absolute path"));
            }
            for sequence in PATH_SEQUENCES.iter().filter(|sequence| url.contains(**sequence)) {
                errors.push(FieldError::invalid(&at, url, format!("must not contain '{sequence}'")));
            }
            for suffix in PATH_SUFFIXES.iter().filter(|suffix| url.ends_with(**suffix)) {
                errors.push(FieldError::invalid(&at, url, format!("cannot end with '{suffix}'")));
            }
        }
        "ImplementationSpecific" if url.is_empty() || url.starts_with('/') => {}
        "ImplementationSpecific" => {
            errors.push(FieldError::invalid(&at, url, "must be an absolute path"));
        }
        kind => errors.push(FieldError::not_supported(&path.child("pathType"), kind, &PATH_TYPES)),
    }
    backend(errors, &path.child("backend"), read::of(found, "backend"));
}

fn backend(errors: &mut ErrorList, path: &Path<'_>, backend: &Value) {
    let service = match (read::get(backend, "service"), read::get(backend, "resource")) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::invalid(path, "", "cannot set both resource and service backends"));
            return;
        }
        (None, None) => {
            errors.push(FieldError::invalid(path, "", "resource or service backend is required"));
            return;
        }
        (None, Some(resource)) => {
            reference(errors, &path.child("resource"), resource);
            return;
        }
        (Some(service), None) => service,
    };
    let at = path.child("service");
    let name = read::text(service, "name");
    if check::required(errors, &at.child("name"), name) {
        check::faults(errors, &at.child("name"), name, names::dns1035_label(name));
    }
    let port = read::of(service, "port");
    let at = at.child("port");
    match (read::text(port, "name"), read::int(port, "number").unwrap_or(0)) {
        ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
        ("", number) => check::port(errors, &at.child("number"), number),
        (name, 0) => check::faults(errors, &at.child("name"), name, names::port_name(name)),
        _ => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
    }
}

/// A reference to an object of another kind.
fn reference(errors: &mut ErrorList, path: &Path<'_>, reference: &Value) {
    if let Some(group) = read::get(reference, "apiGroup").and_then(Value::as_str) {
        check::faults(errors, &path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for key in ["kind", "name"] {
        let (at, value) = (path.child(key), read::text(reference, key));
        if check::required(errors, &at, value) {
            check::faults(errors, &at, value, names::path_segment_name(value, false));
        }
    }
}

pub(crate) fn ingress_class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    controller(&mut errors, &path.child("controller"), read::text(spec, "controller"));
    let Some(parameters) = read::get(spec, "parameters") else { return errors };
    let path = path.child("parameters");
    reference(&mut errors, &path, parameters);
    let namespace = read::get(parameters, "namespace").and_then(Value::as_str);
    let at = path.child("namespace");
    match (read::text(parameters, "scope"), namespace) {
        ("Namespace", None) => {
            errors.push(FieldError::required(&at, "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", Some(namespace)) => {
            check::faults(&mut errors, &at, namespace, names::dns1123_label(namespace));
        }
        ("Cluster", Some(_)) => {
            errors.push(FieldError::forbidden(&at, "`parameters.scope` is set to 'Cluster'"));
        }
        ("Cluster", None) => {}
        (scope, _) => errors.push(FieldError::not_supported(&path.child("scope"), scope, &SCOPES)),
    }
    errors
}

pub(crate) fn ingress_class_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let [is, was] = [new, old].map(|object| read::raw(read::top(object, "spec"), "controller"));
    check::unchanged(&mut errors, &path.child("controller"), is, was);
    errors.extend(ingress_class(new));
    errors
}

/// A path with a domain before it, such as `acme.io/foo`.
fn controller(errors: &mut ErrorList, path: &Path<'_>, value: &str) {
    if !check::required(errors, path, value) {
        return;
    }
    if value.len() > CONTROLLER_MAX_BYTES {
        errors.push(FieldError::too_long(path, CONTROLLER_MAX_BYTES));
    }
    let Some((domain, rest)) =
        value.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty())
    else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(path, value, detail));
        return;
    };
    check::faults(errors, path, domain, names::dns1123_subdomain(domain));
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || br"/-._~%!$&'()*+,;=:".contains(&b);
    if !rest.bytes().all(is_allowed) {
        errors.push(FieldError::invalid(
            path,
            rest,
            names::regex_message("Invalid path", HTTP_PATH_FMT, &[]),
        ));
    }
}
