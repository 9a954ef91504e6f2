//! Probes and lifecycle hooks: one handler each, and times that make sense.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::{check, read};

pub(super) fn probes(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = read::get(container, key) else { continue };
        let at = path.child(key);
        common(errors, &at, probe);
        let successes = read::int(probe, "successThreshold").unwrap_or(0);
        let grace = read::int(probe, "terminationGracePeriodSeconds");
        if key == "readinessProbe" {
            if let Some(grace) = grace {
                let detail = "must not be set for readinessProbes";
                errors.push(FieldError::invalid(&at.child("terminationGracePeriodSeconds"), grace, detail));
            }
        } else if successes != 1 {
            errors.push(FieldError::invalid(&at.child("successThreshold"), successes, "must be 1"));
        }
    }
}

fn common(errors: &mut ErrorList, path: &Path<'_>, probe: &Value) {
    handler(errors, path, probe, &["exec", "httpGet", "tcpSocket", "grpc"], None);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        check::nonnegative(errors, &path.child(key), read::int(probe, key));
    }
    if let Some(grace) = read::int(probe, "terminationGracePeriodSeconds").filter(|g| *g <= 0) {
        let at = path.child("terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(&at, grace, "must be greater than 0"));
    }
}

pub(super) fn hooks(errors: &mut ErrorList, path: &Path<'_>, container: &Value, grace_period_s: Option<i64>) {
    let Some(lifecycle) = read::get(container, "lifecycle") else { return };
    let at = path.child("lifecycle");
    for key in ["postStart", "preStop"] {
        if let Some(hook) = read::get(lifecycle, key) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(errors, &at.child(key), hook, &kinds, grace_period_s);
        }
    }
}

fn handler(errors: &mut ErrorList, path: &Path<'_>, owner: &Value, kinds: &[&str], grace_s: Option<i64>) {
    let mut given = kinds.iter().filter_map(|kind| Some((*kind, read::get(owner, kind)?)));
    let Some((kind, action)) = given.next() else {
        errors.push(FieldError::required(path, "must specify a handler type"));
        return;
    };
    let at = path.child(kind);
    match kind {
        "exec" if read::list(action, "command").is_empty() => {
            errors.push(FieldError::required(&at.child("command"), ""));
        }
        "httpGet" => http_get(errors, &at, action),
        "tcpSocket" | "grpc" => check::port_or_name(errors, &at.child("port"), read::raw(action, "port")),
        "sleep" => {
            let seconds = read::int(action, "seconds").unwrap_or(0);
            if let Some(grace) = grace_s.filter(|grace| !(0..=*grace).contains(&seconds)) {
                let detail =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(FieldError::invalid(&at, seconds, detail));
            }
        }
        _ => {}
    }
    for (kind, _) in given {
        errors.push(FieldError::forbidden(&path.child(kind), "may not specify more than 1 handler type"));
    }
}

fn http_get(errors: &mut ErrorList, path: &Path<'_>, action: &Value) {
    check::required(errors, &path.child("path"), read::text(action, "path"));
    check::port_or_name(errors, &path.child("port"), read::raw(action, "port"));
    let scheme = read::text(action, "scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.push(FieldError::not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in read::list(action, "httpHeaders") {
        let name = read::text(header, "name");
        check::faults(errors, &path.child("httpHeaders"), name, names::http_header_name(name));
    }
}
