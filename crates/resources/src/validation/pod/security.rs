//! Security contexts of pods and containers.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::systems;
use crate::validation::{check, read};

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
/// The longest path, without the byte at its end.
const MAX_PROFILE_BYTES: usize = 4095;
const SYSCTL_MAX_BYTES: usize = 253;
const SYSCTL_FORMAT: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// The security context of a pod; `path` is the spec's.
pub(super) fn of_pod(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let at = path.child("securityContext");
    let given = read::get(spec, "securityContext");
    let context = given.unwrap_or_else(|| read::of(spec, "securityContext"));
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        check::id(errors, &at.child(key), read::int(context, key));
    }
    let groups = at.child("supplementalGroups");
    for (i, group) in read::list(context, "supplementalGroups").iter().enumerate() {
        check::id(errors, &groups.index(i), group.as_i64());
    }
    // Upstream has these fields of the pod's in the context, whether there is one or not.
    if read::flag(spec, "shareProcessNamespace") && read::flag(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&at.child("shareProcessNamespace"), true, detail));
    }
    sysctls(errors, &at.child("sysctls"), context, spec);
    let policy = |key: &str| read::get(context, key).and_then(Value::as_str);
    let one_of = |errors: &mut ErrorList, key: &str, supported: &[&str]| {
        if let Some(value) = policy(key).filter(|value| !supported.contains(value)) {
            errors.push(FieldError::not_supported(&at.child(key), value, supported));
        }
    };
    one_of(errors, "fsGroupChangePolicy", &["Always", "OnRootMismatch"]);
    seccomp(errors, &at, context);
    systems::windows_options(errors, &at, context);
    apparmor(errors, &at, context);
    one_of(errors, "supplementalGroupsPolicy", &["Merge", "Strict"]);
    one_of(errors, "seLinuxChangePolicy", &["MountOption", "Recursive"]);
}

fn sysctls(errors: &mut ErrorList, path: &Path<'_>, context: &Value, spec: &Value) {
    let mut seen = HashSet::new();
    for (i, sysctl) in read::list(context, "sysctls").iter().enumerate() {
        let at = path.index(i);
        let at = at.child("name");
        let name = read::text(sysctl, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if !is_sysctl_name(name) {
            let detail =
                format!("must have at most {SYSCTL_MAX_BYTES} characters and match regex {SYSCTL_FORMAT}");
            errors.push(FieldError::invalid(&at, name, detail));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at, name));
        }
        let dotted = name.replace('/', ".");
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        if read::flag(spec, "hostNetwork") && dotted.starts_with("net.") {
            errors.push(FieldError::invalid(&at, name, "may not be specified when 'hostNetwork' is true"));
        } else if read::flag(spec, "hostIPC") && ipc.iter().any(|p| dotted.starts_with(p)) {
            errors.push(FieldError::invalid(&at, name, "may not be specified when 'hostIPC' is true"));
        }
        seen.insert(name);
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let segment = |s: &str| {
        let b = s.as_bytes();
        let end = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        end(b.first())
            && end(b.last())
            && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_'))
    };
    name.len() <= SYSCTL_MAX_BYTES && name.split(['.', '/']).all(segment)
}

fn seccomp(errors: &mut ErrorList, path: &Path<'_>, context: &Value) {
    if let Some(profile) = read::get(context, "seccompProfile") {
        let at = path.child("seccompProfile");
        profile_type(errors, &at, profile, "type is required when seccompProfile is set");
        let local = read::get(profile, "localhostProfile").and_then(Value::as_str);
        let local_at = at.child("localhostProfile");
        match (read::text(profile, "type"), local) {
            ("Localhost", None) => {
                errors.push(FieldError::required(&local_at, "must be set when seccomp type is Localhost"));
            }
            ("Localhost", Some(file)) => check::descending_path(errors, &local_at, file),
            (_, Some(_)) => {
                let detail = "can only be set when seccomp type is Localhost";
                errors.push(FieldError::invalid(&local_at, profile.clone(), detail));
            }
            (_, None) => {}
        }
    }
}

fn apparmor(errors: &mut ErrorList, path: &Path<'_>, context: &Value) {
    if let Some(profile) = read::get(context, "appArmorProfile") {
        let at = path.child("appArmorProfile");
        profile_type(errors, &at, profile, "type is required when appArmorProfile is set");
        let local = read::get(profile, "localhostProfile").and_then(Value::as_str);
        let local_at = at.child("localhostProfile");
        match (read::text(profile, "type"), local) {
            ("Localhost", None | Some("")) => {
                errors.push(FieldError::required(&local_at, "must be set when AppArmor type is Localhost"));
            }
            ("Localhost", Some(name)) if name.trim() != name => {
                errors.push(FieldError::invalid(&local_at, name, "must not be padded with whitespace"));
            }
            ("RuntimeDefault" | "Unconfined", Some(name)) => {
                let detail = "can only be set when AppArmor type is Localhost";
                errors.push(FieldError::invalid(&local_at, name, detail));
            }
            _ => {}
        }
        let is_local = read::text(profile, "type") == "Localhost";
        if is_local && local.is_some_and(|name| name.len() > MAX_PROFILE_BYTES) {
            errors.push(FieldError::too_long(&local_at, MAX_PROFILE_BYTES));
        }
    }
}

fn profile_type(errors: &mut ErrorList, path: &Path<'_>, profile: &Value, missing: &str) {
    match read::text(profile, "type") {
        "" => errors.push(FieldError::required(&path.child("type"), missing)),
        kind => check::if_given_one_of(errors, &path.child("type"), kind, &PROFILES),
    }
}

/// The security context of a container.
pub(super) fn of_container(errors: &mut ErrorList, path: &Path<'_>, container: &Value, host_users: bool) {
    let Some(context) = read::get(container, "securityContext") else { return };
    for key in ["runAsUser", "runAsGroup"] {
        check::id(errors, &path.child(key), read::int(context, key));
    }
    let proc_mount = read::text(context, "procMount");
    let mounts = ["Default", "Unmasked"];
    if read::get(context, "procMount").is_some() && !mounts.contains(&proc_mount) {
        errors.push(FieldError::not_supported(&path.child("procMount"), proc_mount, &mounts));
    }
    if host_users && proc_mount == "Unmasked" {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.push(FieldError::invalid(&path.child("procMount"), proc_mount, detail));
    }
    seccomp(errors, path, context);
    unescalated(errors, path, context);
    systems::windows_options(errors, path, context);
    apparmor(errors, path, context);
}

/// Who may not gain privileges does not have them from the beginning.
fn unescalated(errors: &mut ErrorList, path: &Path<'_>, context: &Value) {
    if read::raw(context, "allowPrivilegeEscalation").and_then(Value::as_bool) == Some(false) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        if read::flag(context, "privileged") {
            errors.push(FieldError::invalid(path, context.clone(), detail));
        }
        let added = read::get(context, "capabilities")
            .is_some_and(|c| read::texts(c, "add").any(|name| name == "CAP_SYS_ADMIN"));
        if added {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, context.clone(), detail));
        }
    }
}
