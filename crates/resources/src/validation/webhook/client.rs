//! Where a webhook is: a URL, or a path of a Service.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::read;

const FORM: &str = "; desired format: https://host[/path]";

/// A client configuration: one of URL and Service.
pub(in crate::validation) fn client(errors: &mut ErrorList, path: &Path<'_>, client: &Value) {
    let (address, service) = (read::get(client, "url"), read::get(client, "service"));
    match (address, service) {
        (Some(_), None) => url(errors, &path.child("url"), read::text(client, "url")),
        (None, Some(named)) => self::service(errors, &path.child("service"), named),
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
}

/// A URL has scheme, host and path, and nothing else.
fn url(errors: &mut ErrorList, path: &Path<'_>, url: &str) {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", url),
    };
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(FieldError::invalid(path, scheme, detail));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or("") };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if host.is_empty() {
        errors.push(FieldError::invalid(path, host, format!("host must be provided{FORM}")));
    }
    if let Some(user) = user {
        errors.push(FieldError::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        errors.push(FieldError::invalid(path, fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        errors.push(FieldError::invalid(path, query, "query parameters are not permitted in the URL"));
    }
}

fn service(errors: &mut ErrorList, path: &Path<'_>, service: &Value) {
    if read::text(service, "name").is_empty() {
        errors.push(FieldError::required(&path.child("name"), "service name is required"));
    }
    if read::text(service, "namespace").is_empty() {
        errors.push(FieldError::required(&path.child("namespace"), "service namespace is required"));
    }
    let port = read::int(service, "port").unwrap_or(443);
    let faults = names::port_number(port);
    if !faults.is_empty() {
        let detail = format!("port is not valid: {}", faults.join(", "));
        errors.push(FieldError::invalid(&path.child("port"), port, detail));
    }
    self::path(errors, &path.child("path"), read::text(service, "path"));
}

fn path(errors: &mut ErrorList, at: &Path<'_>, path: &str) {
    if path.is_empty() || path == "/" {
        return;
    }
    if path == "//" {
        errors.push(FieldError::invalid(at, path, "segment[0] may not be empty"));
        return;
    }
    if !path.starts_with('/') {
        errors.push(FieldError::invalid(at, path, "must start with a '/'"));
    }
    // As upstream: what stands in the first slash's place is not looked at.
    let mut rest = path.chars();
    rest.next();
    let rest = rest.as_str();
    for (i, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            errors.push(FieldError::invalid(at, path, format!("segment[{i}] may not be empty")));
            continue;
        }
        for fault in names::dns1123_subdomain(step) {
            errors.push(FieldError::invalid(at, path, format!("segment[{i}]: {fault}")));
        }
    }
}
