//! The containers of a pod: of the three lists, what they have in common and what each forbids.

use std::collections::{HashMap, HashSet};

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{env, mounts, probe, security};
use crate::validation::{amounts, check, read};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const RESTART_ACTIONS: [&str; 2] = ["Restart", "RestartAllContainers"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// What of the pod matters to its containers.
pub(super) struct Surroundings<'a> {
    pub spec: &'a Value,
    /// Names of the pod's claims of devices.
    pub claims: &'a HashSet<&'a str>,
    /// The pod's volumes by name.
    pub volumes: &'a HashMap<&'a str, &'a Value>,
    pub grace_period_s: Option<i64>,
}

impl Surroundings<'_> {
    fn is_pod_user_of_host(&self) -> bool {
        read::raw(self.spec, "hostUsers").and_then(Value::as_bool) != Some(false)
    }
}

pub(super) fn containers(errors: &mut ErrorList, path: &Path<'_>, around: &Surroundings<'_>) {
    let list = read::list(around.spec, "containers");
    if list.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let mut seen = HashSet::new();
    for (i, container) in list.iter().enumerate() {
        let at = path.index(i);
        common(errors, &at, container, around);
        let name = read::text(container, "name");
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        seen.insert(name);
        probe::hooks(errors, &at, container, around.spec, around.grace_period_s);
        probe::probes(errors, &at, container);
        restart_policy(errors, &at, container);
    }
    host_ports(errors, path, list);
}

/// How a container restarts on its own, and rules for some of its exit codes.
fn restart_policy(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    const MAX_RULES: usize = 20;
    const MAX_CODES: usize = 255;
    let rules = read::list(container, "restartPolicyRules");
    let at = path.child("restartPolicy");
    match read::get(container, "restartPolicy").and_then(Value::as_str) {
        None if rules.is_empty() => {}
        None => {
            let detail = "must specify restartPolicy when restart rules are used";
            errors.push(FieldError::required(&at, detail));
        }
        Some(policy) if RESTART_POLICIES.contains(&policy) => {}
        Some(policy) => errors.push(FieldError::not_supported(&at, policy, &RESTART_POLICIES)),
    }
    let list = path.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(&list, rules.len(), MAX_RULES));
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = list.index(i);
        let action = read::text(rule, "action");
        if !RESTART_ACTIONS.contains(&action) {
            errors.push(FieldError::not_supported(&at.child("action"), action, &RESTART_ACTIONS));
        }
        let at = at.child("exitCodes");
        let Some(codes) = read::get(rule, "exitCodes") else {
            errors.push(FieldError::required(&at, "must be specified"));
            continue;
        };
        let operator = read::text(codes, "operator");
        if !matches!(operator, "In" | "NotIn") {
            errors.push(FieldError::not_supported(&at.child("operator"), operator, &["In", "NotIn"]));
        }
        let count = read::list(codes, "values").len();
        if count > MAX_CODES {
            errors.push(FieldError::too_many(&at.child("values"), count, MAX_CODES));
        }
    }
}

/// The same of init containers, which need no policy of their own.
fn init_restart_policy(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    let has_rules = !read::list(container, "restartPolicyRules").is_empty();
    match read::get(container, "restartPolicy").and_then(Value::as_str) {
        None if has_rules => {
            let detail = "must specify restartPolicy when restart rules are used";
            errors.push(FieldError::required(&path.child("restartPolicy"), detail));
        }
        None => {}
        Some(_) => restart_policy(errors, path, container),
    }
}

pub(super) fn init_containers(errors: &mut ErrorList, path: &Path<'_>, around: &Surroundings<'_>) {
    let mut seen: HashSet<&str> =
        read::list(around.spec, "containers").iter().map(|c| read::text(c, "name")).collect();
    for (i, container) in read::list(around.spec, "initContainers").iter().enumerate() {
        let at = path.index(i);
        common(errors, &at, container, around);
        init_restart_policy(errors, &at, container);
        let policy = read::text(container, "restartPolicy");
        let name = read::text(container, "name");
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        } else if !name.is_empty() {
            seen.insert(name);
        }
        host_ports(errors, path, std::slice::from_ref(container));
        if policy == "Always" {
            probe::hooks(errors, &at, container, around.spec, around.grace_period_s);
            probe::probes(errors, &at, container);
            continue;
        }
        for key in ["lifecycle"].into_iter().chain(PROBES) {
            if read::get(container, key).is_some() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&at.child(key), detail));
            }
        }
        let list = at.child("resizePolicy");
        for (j, resize) in read::list(container, "resizePolicy").iter().enumerate() {
            let restart = read::text(resize, "restartPolicy");
            if restart == "RestartContainer" {
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.push(FieldError::invalid(&list.index(j).child("restartPolicy"), restart, detail));
            }
        }
    }
}

/// Fields that no container added to a running pod may have.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

pub(super) fn ephemeral_containers(errors: &mut ErrorList, path: &Path<'_>, around: &Surroundings<'_>) {
    let names_of = |key| read::list(around.spec, key).iter().map(|c| read::text(c, "name"));
    let others: HashSet<&str> = names_of("containers").chain(names_of("initContainers")).collect();
    let mut seen = others.clone();
    for (i, container) in read::list(around.spec, "ephemeralContainers").iter().enumerate() {
        let at = path.index(i);
        common(errors, &at, container, around);
        trimmed_image(errors, &at, container);
        let name = read::text(container, "name");
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        seen.insert(name);
        let target = read::text(container, "targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            errors.push(FieldError::not_found(&at.child("targetContainerName"), target));
        }
        let detail = "cannot be set for an Ephemeral Container";
        for key in NOT_EPHEMERAL {
            let empty = Value::Object(serde_json::Map::new());
            if read::get(container, key).is_some_and(|v| *v != empty) {
                errors.push(FieldError::forbidden(&at.child(key), detail));
            }
        }
        let mounts = at.child("volumeMounts");
        for (j, mount) in read::list(container, "volumeMounts").iter().enumerate() {
            for key in ["subPath", "subPathExpr"] {
                if !read::text(mount, key).is_empty() {
                    errors.push(FieldError::forbidden(&mounts.index(j).child(key), detail));
                }
            }
        }
    }
}

/// What pods check and templates do not.
pub(super) fn trimmed_images(errors: &mut ErrorList, path: &Path<'_>, containers: &[Value]) {
    for (i, container) in containers.iter().enumerate() {
        trimmed_image(errors, &path.index(i), container);
    }
}

fn trimmed_image(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    let image = read::text(container, "image");
    if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&path.child("image"), image, detail));
    }
}

fn common(errors: &mut ErrorList, path: &Path<'_>, container: &Value, around: &Surroundings<'_>) {
    let name = read::text(container, "name");
    if check::required(errors, &path.child("name"), name) {
        check::faults(errors, &path.child("name"), name, names::dns1123_label(name));
    }
    check::required(errors, &path.child("image"), read::text(container, "image"));
    check::one_of(
        errors,
        &path.child("terminationMessagePolicy"),
        read::text(container, "terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    );
    ports(errors, &path.child("ports"), container);
    env::env(errors, &path.child("env"), container);
    env::env_from(errors, &path.child("envFrom"), container);
    mounts::mounts(errors, &path.child("volumeMounts"), container, around.volumes);
    mounts::devices(errors, &path.child("volumeDevices"), container, around.volumes);
    let policy = read::text(container, "imagePullPolicy");
    check::one_of(errors, &path.child("imagePullPolicy"), policy, &PULL_POLICIES);
    if let Some(resources) = read::get(container, "resources") {
        amounts::of_container(errors, &path.child("resources"), resources, around.claims);
    }
    resize_policy(errors, &path.child("resizePolicy"), container, around.spec);
    security::of_container(errors, &path.child("securityContext"), container, around.is_pod_user_of_host());
}

fn ports(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    let mut seen = HashSet::new();
    for (i, port) in read::list(container, "ports").iter().enumerate() {
        let at = path.index(i);
        let name = read::text(port, "name");
        if !name.is_empty() {
            let faults = names::port_name(name);
            if !faults.is_empty() {
                check::faults(errors, &at.child("name"), name, faults);
            } else if seen.contains(&name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            } else {
                seen.insert(name);
            }
        }
        match read::int(port, "containerPort").unwrap_or(0) {
            0 => errors.push(FieldError::required(&at.child("containerPort"), "")),
            number => check::port(errors, &at.child("containerPort"), number),
        }
        if let Some(number) = read::int(port, "hostPort").filter(|n| *n != 0) {
            check::port(errors, &at.child("hostPort"), number);
        }
        check::one_of(errors, &at.child("protocol"), read::text(port, "protocol"), &PROTOCOLS);
    }
}

/// No two ports of the containers want the same port of the host.
fn host_ports(errors: &mut ErrorList, path: &Path<'_>, containers: &[Value]) {
    let mut seen = HashSet::new();
    for (i, container) in containers.iter().enumerate() {
        let at = path.index(i);
        let ports = at.child("ports");
        for (j, port) in read::list(container, "ports").iter().enumerate() {
            let Some(number) = read::int(port, "hostPort").filter(|n| *n != 0) else { continue };
            let wanted = format!("{}/{}/{number}", read::text(port, "protocol"), read::text(port, "hostIP"));
            if seen.contains(&wanted) {
                errors.push(FieldError::duplicate(&ports.index(j).child("hostPort"), wanted));
            } else {
                seen.insert(wanted);
            }
        }
    }
}

fn resize_policy(errors: &mut ErrorList, path: &Path<'_>, container: &Value, spec: &Value) {
    let mut seen = HashSet::new();
    for (i, policy) in read::list(container, "resizePolicy").iter().enumerate() {
        let [resource, restart] = ["resourceName", "restartPolicy"].map(|k| read::text(policy, k));
        if seen.contains(&resource) {
            errors.push(FieldError::duplicate(&path.index(i), resource));
        }
        seen.insert(resource);
        check::one_of(errors, path, resource, &["cpu", "memory"]);
        check::one_of(errors, path, restart, &["NotRequired", "RestartContainer"]);
        if read::text(spec, "restartPolicy") == "Never" && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, restart, detail));
        }
    }
}
