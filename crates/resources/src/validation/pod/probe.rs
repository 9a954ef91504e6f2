//! Probes and lifecycle hooks: one handler each, and times that make sense.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::{check, read};

/// Signals of Linux, as upstream sorts them.
const STOP_SIGNALS: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

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

/// Hooks of a container, and the signal that ends the container; `around` is the pod's specification.
pub(super) fn hooks(
    errors: &mut ErrorList,
    path: &Path<'_>,
    container: &Value,
    around: &Value,
    grace_period_s: Option<i64>,
) {
    let Some(lifecycle) = read::get(container, "lifecycle") else { return };
    let at = path.child("lifecycle");
    for key in ["postStart", "preStop"] {
        if let Some(hook) = read::get(lifecycle, key) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(errors, &at.child(key), hook, &kinds, grace_period_s);
        }
    }
    if let Some(signal) = read::get(lifecycle, "stopSignal").and_then(Value::as_str) {
        stop_signal(errors, &at.child("stopSignal"), signal, around);
    }
}

/// Which signals there are depends on the system, which a pod that names a signal must name too.
fn stop_signal(errors: &mut ErrorList, path: &Path<'_>, signal: &str, around: &Value) {
    let Some(os) = read::get(around, "os") else {
        let detail = "may not be set for containers with empty `spec.os.name`";
        errors.push(FieldError::forbidden(path, detail));
        return;
    };
    let supported: &[&str] = match read::text(os, "name") {
        "windows" => &["SIGKILL", "SIGTERM"],
        "linux" => &STOP_SIGNALS,
        _ => return,
    };
    if !supported.contains(&signal) {
        errors.push(FieldError::not_supported(path, signal, supported));
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
