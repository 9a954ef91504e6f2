//! What the operating system that a pod names allows, and what Windows alone has.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::each::each;
use crate::validation::{check, read};

const SYSTEMS: [&str; 2] = ["linux", "windows"];
/// What of the pod's security context Windows does not know.
const OF_PODS: [&str; 11] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
    "sysctls",
];
/// What of a container's security context Windows does not know.
const OF_CONTAINERS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];
const MAX_SPEC_KIB: usize = 64;
const MAX_DOMAIN: usize = 256;
const MAX_USER: usize = 104;

/// The system that a pod names, and what must not be said of a pod of that system.
pub(super) fn system(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(os) = read::get(spec, "os") else { return };
    match read::text(os, "name") {
        "" => errors.push(FieldError::required(&path.child("os").child("name"), "")),
        "linux" => linux(errors, path, spec),
        "windows" => windows(errors, path, spec),
        name => errors.push(FieldError::not_supported(&path.child("os"), name, &SYSTEMS)),
    }
}

fn linux(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let detail = "windows options cannot be set for a linux pod";
    let mut judge = |path: &Path<'_>, owner: &Value| {
        let context = read::get(owner, "securityContext");
        if context.is_some_and(|context| read::get(context, "windowsOptions").is_some()) {
            let at = path.child("securityContext");
            errors.push(FieldError::forbidden(&at.child("windowsOptions"), detail));
        }
    };
    judge(path, spec);
    each(path, spec, &mut judge);
}

fn windows(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let detail = "cannot be set for a windows pod";
    if let Some(context) = read::get(spec, "securityContext") {
        let at = path.child("securityContext");
        for key in OF_PODS {
            let is_empty_list = key == "sysctls" && read::list(context, key).is_empty();
            if read::get(context, key).is_some() && !is_empty_list {
                errors.push(FieldError::forbidden(&at.child(key), detail));
            }
        }
    }
    for key in ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"] {
        let is_set = match key {
            "hostPID" | "hostIPC" => read::flag(spec, key),
            _ => read::get(spec, key).is_some(),
        };
        if is_set {
            errors.push(FieldError::forbidden(&path.child(key), detail));
        }
    }
    each(path, spec, &mut |at, container| {
        let Some(context) = read::get(container, "securityContext") else { return };
        let at = at.child("securityContext");
        for key in OF_CONTAINERS {
            if read::get(context, key).is_some() {
                errors.push(FieldError::forbidden(&at.child(key), detail));
            }
        }
    });
}

/// The options of a security context that are for Windows.
pub(super) fn windows_options(errors: &mut ErrorList, path: &Path<'_>, context: &Value) {
    let Some(options) = read::get(context, "windowsOptions") else { return };
    let at = path.child("windowsOptions");
    let text = |key: &str| read::get(options, key).and_then(Value::as_str);
    if let Some(name) = text("gmsaCredentialSpecName") {
        check::faults(errors, &at.child("gmsaCredentialSpecName"), name, names::dns1123_subdomain(name));
    }
    if let Some(spec) = text("gmsaCredentialSpec") {
        let detail = match spec.len() {
            0 => Some("gmsaCredentialSpec cannot be an empty string".to_owned()),
            length if length > MAX_SPEC_KIB * 1024 => {
                Some(format!("gmsaCredentialSpec size must be under {MAX_SPEC_KIB} KiB"))
            }
            _ => None,
        };
        let at = at.child("gmsaCredentialSpec");
        errors.extend(detail.map(|detail| FieldError::invalid(&at, spec, detail)));
    }
    if let Some(name) = text("runAsUserName") {
        check::faults(errors, &at.child("runAsUserName"), name, user_name(name));
    }
}

/// A name of a user, after a domain and a backslash or alone.
fn user_name(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts.as_slice() {
        [""] => return vec!["runAsUserName cannot be an empty string".to_owned()],
        _ if name.chars().any(|c| c.is_ascii_control()) => {
            return vec!["runAsUserName cannot contain control characters".to_owned()];
        }
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return vec!["runAsUserName cannot contain more than one backslash".to_owned()],
    };
    let mut faults = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= MAX_DOMAIN) {
        faults.push(format!("runAsUserName's Domain length must be under {MAX_DOMAIN} characters"));
    }
    if domain.is_some_and(|domain| !is_net_bios_name(domain) && !is_dns_name(domain)) {
        faults.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".to_owned());
    }
    if user.is_empty() {
        faults.push("runAsUserName's User cannot be empty".to_owned());
    } else if user.len() > MAX_USER {
        faults.push(format!("runAsUserName's User length must not be longer than {MAX_USER} characters"));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        faults.push("runAsUserName's User cannot contain only periods or spaces".to_owned());
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        let detail = r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#;
        faults.push(detail.to_owned());
    }
    faults
}

/// At most 15 characters, and no dot in front.
fn is_net_bios_name(domain: &str) -> bool {
    let is_taken = |c: char| !matches!(c, '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    (1..=15).contains(&domain.chars().count()) && !domain.starts_with('.') && domain.chars().all(is_taken)
}

/// Labels of letters of either case.
fn is_dns_name(domain: &str) -> bool {
    domain.split('.').all(|label| names::is_dns1123_label(&label.to_ascii_lowercase()))
}

/// Containers that are processes of the host are so all together, and on the host's network.
pub(super) fn host_processes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let asked = |owner: &Value| {
        let context = read::get(owner, "securityContext")?;
        read::raw(read::get(context, "windowsOptions")?, "hostProcess")?.as_bool()
    };
    let pod = asked(spec);
    let (mut all, mut on_host) = (0, 0);
    each(path, spec, &mut |at, container| {
        all += 1;
        let own = asked(container);
        on_host += usize::from(own.or(pod) == Some(true));
        if let (Some(pod), Some(own)) = (pod, own)
            && pod != own
        {
            let at = at.child("securityContext");
            let at = at.child("windowsOptions");
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.push(FieldError::invalid(&at.child("hostProcess"), own, detail));
        }
    });
    if on_host == 0 {
        return;
    }
    if on_host != all {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", detail));
    }
    if !read::flag(spec, "hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(&path.child("hostNetwork"), false, detail));
    }
}
