//! The spec of a pod or of a pod template.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::{Value, json};

use super::container::{self, Surroundings};
use super::each::each;
use super::{affinity, dns, env, security, systems, volume, whole};
use crate::validation::{amounts, check, read};

/// Checks a pod spec. `pod_name` is given for pods alone, not for templates.
pub(in crate::validation) fn pod_spec(
    errors: &mut ErrorList,
    path: &Path<'_>,
    spec: &Value,
    pod_name: Option<&str>,
) {
    let grace = read::int(spec, "terminationGracePeriodSeconds");
    if grace.is_none() {
        errors.push(FieldError::required(&path.child("terminationGracePeriodSeconds"), ""));
    }
    let volumes = volume::volumes(errors, &path.child("volumes"), spec, pod_name);
    let claims: HashSet<&str> = read::list(spec, "resourceClaims")
        .iter()
        .map(|c| read::text(c, "name"))
        .filter(|n| !n.is_empty())
        .collect();
    resource_claims(errors, &path.child("resourceClaims"), spec);
    let around = Surroundings { spec, claims: &claims, volumes: &volumes, grace_period_s: grace };
    container::containers(errors, &path.child("containers"), &around);
    container::init_containers(errors, &path.child("initContainers"), &around);
    container::ephemeral_containers(errors, &path.child("ephemeralContainers"), &around);
    whole::resources(errors, &path.child("resources"), spec);
    host_network(errors, path, spec, pod_name.is_some());
    let policy = read::text(spec, "restartPolicy");
    check::one_of(errors, &path.child("restartPolicy"), policy, &["Always", "OnFailure", "Never"]);
    dns::policy(errors, path, spec);
    check::labels(errors, &path.child("nodeSelector"), read::pairs(spec, "nodeSelector"));
    security::of_pod(errors, path, spec);
    affinity::affinity(errors, &path.child("affinity"), spec);
    dns::config(errors, &path.child("dnsConfig"), spec);
    gates(errors, path, spec);
    affinity::spread(errors, &path.child("topologySpreadConstraints"), spec);
    systems::host_processes(errors, path, spec);
    host_users(errors, path, spec);
    dns::hostname_override(errors, path, spec);
    named_things(errors, path, spec);
    if let Some(overhead) = read::get(spec, "overhead") {
        let limits = json!({ "limits": overhead });
        amounts::of_container(errors, &path.child("overhead"), &limits, &HashSet::new());
    }
    systems::system(errors, path, spec);
    if let Some(group) = read::get(spec, "schedulingGroup") {
        scheduling_group(errors, &path.child("schedulingGroup"), group);
    }
    env::files_of_volumes(errors, path, spec);
}

/// Pods that are scheduled together.
fn scheduling_group(errors: &mut ErrorList, path: &Path<'_>, group: &Value) {
    let at = path.child("podGroupName");
    match read::get(group, "podGroupName").and_then(Value::as_str) {
        None => errors.push(FieldError::invalid(&at, Value::Null, "must specify one of: `podGroupName`")),
        Some(name) => check::faults(errors, &at, name, names::dns1123_subdomain(name)),
    }
}

fn resource_claims(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let mut seen = HashSet::new();
    for (i, claim) in read::list(spec, "resourceClaims").iter().enumerate() {
        let at = path.index(i);
        let name = read::text(claim, "name");
        if check::required(errors, &at.child("name"), name) {
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            } else {
                check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
                seen.insert(name);
            }
        }
        let both = ["resourceClaimName", "resourceClaimTemplateName"];
        match both.map(|key| read::get(claim, key).is_some()) {
            [true, true] => errors.push(FieldError::invalid(
                &at,
                claim.clone(),
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            )),
            [false, false] => errors.push(FieldError::invalid(
                &at,
                claim.clone(),
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            )),
            _ => {}
        }
        for key in both {
            if let Some(name) = read::get(claim, key).and_then(Value::as_str) {
                check::faults(errors, &at.child(key), name, names::dns1123_subdomain(name));
            }
        }
    }
}

/// On the host's network a container's port is the host's; templates may leave it open.
fn host_network(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, is_pod: bool) {
    if !read::flag(spec, "hostNetwork") {
        return;
    }
    let containers = path.child("containers");
    for (i, container) in read::list(spec, "containers").iter().enumerate() {
        let at = containers.index(i);
        let ports = at.child("ports");
        for (j, port) in read::list(container, "ports").iter().enumerate() {
            let host = read::int(port, "hostPort").unwrap_or(0);
            let own = read::int(port, "containerPort").unwrap_or(0);
            if (is_pod || host != 0) && host != own {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&ports.index(j).child("hostPort"), host, detail));
            }
        }
    }
}

fn gates(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let readiness = path.child("readinessGates");
    for (i, gate) in read::list(spec, "readinessGates").iter().enumerate() {
        let kind = read::text(gate, "conditionType");
        let at = readiness.index(i);
        check::faults(errors, &at.child("conditionType"), kind, names::qualified_name(kind));
    }
    let scheduling = path.child("schedulingGates");
    let mut seen = HashSet::new();
    for (i, gate) in read::list(spec, "schedulingGates").iter().enumerate() {
        let name = read::text(gate, "name");
        check::faults(errors, &scheduling.index(i), name, names::qualified_name(name));
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&scheduling.index(i), name));
        }
        seen.insert(name);
    }
}

fn host_users(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    if read::raw(spec, "hostUsers").and_then(Value::as_bool) != Some(false) {
        return;
    }
    let detail = "when `hostUsers` is false";
    for (key, name) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if read::flag(spec, key) {
            errors.push(FieldError::forbidden(&path.child(name), detail));
        }
    }
    each(path, spec, &mut |at, container| {
        if !read::list(container, "volumeDevices").is_empty() {
            errors.push(FieldError::forbidden(&at.child("volumeDevices"), detail));
        }
    });
}

/// Names of other objects, and of the pod itself in the network; in upstream's order, with what stands between them.
fn named_things(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for key in ["serviceAccountName", "nodeName"] {
        let name = read::text(spec, key);
        if !name.is_empty() {
            check::faults(errors, &path.child(key), name, names::dns1123_subdomain(name));
        }
    }
    deadline(errors, path, spec);
    for key in ["hostname", "subdomain"] {
        let name = read::text(spec, key);
        if !name.is_empty() {
            check::faults(errors, &path.child(key), name, names::dns1123_label(name));
        }
    }
    tolerations(errors, &path.child("tolerations"), spec);
    dns::host_aliases(errors, &path.child("hostAliases"), spec);
    let class = read::text(spec, "priorityClassName");
    if !class.is_empty() {
        check::faults(errors, &path.child("priorityClassName"), class, names::dns1123_subdomain(class));
    }
    if let Some(class) = read::get(spec, "runtimeClassName").and_then(Value::as_str) {
        check::faults(errors, &path.child("runtimeClassName"), class, names::dns1123_subdomain(class));
    }
    if let Some(policy) = read::get(spec, "preemptionPolicy").and_then(Value::as_str) {
        let policies = ["PreemptLowerPriority", "Never"];
        check::one_of(errors, &path.child("preemptionPolicy"), policy, &policies);
    }
}

fn deadline(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let range = 1..=i64::from(i32::MAX);
    if let Some(deadline) = read::int(spec, "activeDeadlineSeconds").filter(|d| !range.contains(d)) {
        let detail = names::range_message(1, i64::from(i32::MAX));
        errors.push(FieldError::invalid(&path.child("activeDeadlineSeconds"), deadline, detail));
    }
}

/// Tolerations of a pod, or of the pods of a class.
pub(in crate::validation) fn tolerations(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for (i, toleration) in read::list(spec, "tolerations").iter().enumerate() {
        let at = path.index(i);
        let [key, operator, value, effect] =
            ["key", "operator", "value", "effect"].map(|k| read::text(toleration, k));
        if !key.is_empty() {
            check::faults(errors, &at.child("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&at.child("operator"), operator, detail));
        }
        if read::int(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&at.child("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => {
                let faults = names::label_value(value);
                if !faults.is_empty() {
                    errors.push(FieldError::invalid(&at.child("operator"), value, faults.join(";")));
                }
            }
            "Exists" if !value.is_empty() => errors.push(FieldError::invalid(
                &at.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            )),
            "Exists" => {}
            other => {
                errors.push(FieldError::not_supported(&at.child("operator"), other, &["Equal", "Exists"]));
            }
        }
        check::if_given_one_of(errors, &at.child("effect"), effect, &TAINT_EFFECTS);
    }
}

/// What a taint does to pods that do not tolerate it.
pub(in crate::validation) const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
