//! The checks of the level `baseline`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe, SELinuxOptions};

use super::super::subject::{APPARMOR_PREFIX, SECCOMP_POD, SECCOMP_PREFIX, Subject};
use super::words::{containers, names_where, plural, quoted, setters};
use super::{Check, Finding};

pub(super) const CHECKS: &[Check] = &[
    Check::new("appArmorProfile", 0, apparmor),
    Check::new("capabilities_baseline", 0, capabilities),
    Check::new("hostNamespaces", 0, host_namespaces),
    Check::new("hostPathVolumes", 0, host_paths),
    Check::new("hostPorts", 0, host_ports),
    Check::new("hostProbesAndHostLifecycle", 34, probe_hosts),
    Check::new("privileged", 0, privileged),
    Check::new("procMount", 0, proc_mount),
    Check::new("procMount", 35, proc_mount_35),
    Check::new("seLinuxOptions", 0, se_linux_0),
    Check::new("seLinuxOptions", 31, se_linux_31),
    Check::new("seccompProfile_baseline", 0, seccomp_annotations),
    Check::new("seccompProfile_baseline", 19, seccomp),
    Check::new("sysctls", 0, |subject| sysctls(subject, 0)),
    Check::new("sysctls", 27, |subject| sysctls(subject, 27)),
    Check::new("sysctls", 29, |subject| sysctls(subject, 29)),
    Check::new("sysctls", 32, |subject| sysctls(subject, 32)),
    Check::new("windowsHostProcess", 0, host_process),
];

/// Capabilities that may be added.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel parameters that may be set, with the minor version since which.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn apparmor(subject: &Subject) -> Option<Finding> {
    let mut values = BTreeSet::new();
    let mut bad = |profile: &str| {
        let bad = !matches!(profile, "RuntimeDefault" | "Localhost");
        if bad {
            values.insert(profile.to_owned());
        }
        bad
    };
    let whole = subject.spec.security_context.as_ref().and_then(|s| s.app_armor_profile.as_ref());
    let pod = whole.is_some_and(|profile| bad(&profile.type_));
    let names = names_where(subject, |container| {
        let profile = container.security.and_then(|s| s.app_armor_profile.as_ref());
        profile.is_some_and(|profile| bad(&profile.type_))
    });
    let annotated: Vec<String> = subject
        .annotations
        .iter()
        .filter(|(key, value)| {
            let allowed = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APPARMOR_PREFIX) && !allowed
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let count = values.len() + annotated.len();
    let set = setters(pod, &names).map(|who| {
        let values: Vec<_> = values.iter().collect();
        format!("{who} must not set AppArmor profile type to {}", quoted(&values))
    });
    let details: Vec<String> = set.into_iter().chain(annotated).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", count);
    (count > 0).then(|| Finding::new(reason, details.join(", ")))
}

fn capabilities(subject: &Subject) -> Option<Finding> {
    let mut added = BTreeSet::new();
    let names = names_where(subject, |container| {
        let add = container.security.and_then(|s| s.capabilities.as_ref()?.add.as_ref());
        let forbidden: Vec<_> =
            add.into_iter().flatten().filter(|name| !CAPABILITIES.contains(&name.as_str())).collect();
        added.extend(forbidden.iter().copied());
        !forbidden.is_empty()
    });
    let added: Vec<_> = added.into_iter().collect();
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            quoted(&added)
        );
        Finding::new("non-default capabilities", detail)
    })
}

fn host_namespaces(subject: &Subject) -> Option<Finding> {
    let spec = &subject.spec;
    let all = [
        (spec.host_network, "hostNetwork=true"),
        (spec.host_pid, "hostPID=true"),
        (spec.host_ipc, "hostIPC=true"),
    ];
    let shared: Vec<_> = all.into_iter().filter(|(on, _)| *on == Some(true)).map(|(_, name)| name).collect();
    (!shared.is_empty()).then(|| Finding::new("host namespaces", shared.join(", ")))
}

fn host_paths(subject: &Subject) -> Option<Finding> {
    let volumes = subject.spec.volumes.iter().flatten();
    let names: Vec<_> = volumes.filter(|volume| volume.host_path.is_some()).map(|v| &v.name).collect();
    (!names.is_empty()).then(|| {
        let detail = format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
        Finding::new("hostPath volumes", detail)
    })
}

fn host_ports(subject: &Subject) -> Option<Finding> {
    let mut ports = BTreeSet::new();
    let names = names_where(subject, |container| {
        let taken = container.ports.iter().filter_map(|port| port.host_port.filter(|port| *port != 0));
        let before = ports.len();
        let taken: Vec<_> = taken.map(|port| port.to_string()).collect();
        let some = !taken.is_empty();
        ports.extend(taken);
        some || ports.len() > before
    });
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {}",
            containers(&names),
            plural("uses", "use", names.len()),
            plural("hostPort", "hostPorts", ports.len()),
            ports.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        );
        Finding::new("hostPort", detail)
    })
}

fn probe_hosts(subject: &Subject) -> Option<Finding> {
    let mut hosts: BTreeSet<&str> = BTreeSet::new();
    let mut names = names_where(subject, |container| {
        let probed = container.probes.iter().flatten().flat_map(|probe| of_probe(probe));
        let handlers = container.lifecycle.into_iter().flat_map(|l| [&l.post_start, &l.pre_stop]).flatten();
        let found: Vec<_> =
            probed.chain(handlers.flat_map(of_handler)).filter(|host| !host.is_empty()).collect();
        hosts.extend(found.iter().copied());
        !found.is_empty()
    });
    names.sort_unstable();
    let hosts: Vec<_> = hosts.into_iter().collect();
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {}",
            containers(&names),
            plural("uses", "use", names.len()),
            plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
            quoted(&hosts)
        );
        Finding::new("probe or lifecycle host", detail)
    })
}

fn of_probe(probe: &Probe) -> impl Iterator<Item = &str> {
    let http = probe.http_get.as_ref().and_then(|get| get.host.as_deref());
    http.into_iter().chain(probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref()))
}

fn of_handler(handler: &LifecycleHandler) -> impl Iterator<Item = &str> {
    let http = handler.http_get.as_ref().and_then(|get| get.host.as_deref());
    http.into_iter().chain(handler.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref()))
}

fn privileged(subject: &Subject) -> Option<Finding> {
    let names = names_where(subject, |container| {
        container.security.is_some_and(|security| security.privileged == Some(true))
    });
    (!names.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
        Finding::new("privileged", detail)
    })
}

pub(super) fn proc_mount(subject: &Subject) -> Option<Finding> {
    let mut types = BTreeSet::new();
    let names = names_where(subject, |container| {
        let mount = container.security.and_then(|s| s.proc_mount.as_deref()).filter(|m| *m != "Default");
        types.extend(mount);
        mount.is_some()
    });
    let types: Vec<_> = types.into_iter().collect();
    (!names.is_empty()).then(|| {
        let detail =
            format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&types));
        Finding::new("procMount", detail)
    })
}

fn proc_mount_35(subject: &Subject) -> Option<Finding> {
    if subject.has_own_users() { None } else { proc_mount(subject) }
}

fn se_linux_0(subject: &Subject) -> Option<Finding> {
    se_linux(subject, &["", "container_t", "container_init_t", "container_kvm_t"])
}

fn se_linux_31(subject: &Subject) -> Option<Finding> {
    se_linux(subject, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux(subject: &Subject, allowed: &[&str]) -> Option<Finding> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |options: &SELinuxOptions| {
        let given = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
        let wanted = options.type_.as_deref().unwrap_or_default();
        let odd = !allowed.contains(&wanted);
        if odd {
            types.insert(wanted.to_owned());
        }
        user |= given(&options.user);
        role |= given(&options.role);
        odd || given(&options.user) || given(&options.role)
    };
    let whole = subject.spec.security_context.as_ref().and_then(|s| s.se_linux_options.as_ref());
    let pod = whole.is_some_and(&mut bad);
    let names = names_where(subject, |container| {
        container.security.and_then(|s| s.se_linux_options.as_ref()).is_some_and(&mut bad)
    });
    let who = setters(pod, &names)?;
    let mut faults = Vec::new();
    if !types.is_empty() {
        let types: Vec<_> = types.into_iter().collect();
        faults.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    faults.extend(user.then(|| "user may not be set".to_owned()));
    faults.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", faults.join("; "));
    Some(Finding::new("seLinuxOptions", detail))
}

fn seccomp_annotations(subject: &Subject) -> Option<Finding> {
    let mut keys: Vec<String> = vec![SECCOMP_POD.to_owned()];
    keys.extend(subject.containers().map(|container| format!("{SECCOMP_PREFIX}{}", container.name)));
    let forbidden: BTreeSet<String> = keys
        .into_iter()
        .filter_map(|key| {
            let value = subject.annotations.get(&key)?;
            let allowed = matches!(value.as_str(), "runtime/default" | "docker/default")
                || value.starts_with("localhost/");
            (!allowed).then(|| format!("{key}={value:?}"))
        })
        .collect();
    (!forbidden.is_empty()).then(|| {
        let listed: Vec<_> = forbidden.iter().map(String::as_str).collect();
        let word = plural("annotation", "annotations", listed.len());
        Finding::new("seccompProfile", format!("forbidden {word} {}", listed.join(", ")))
    })
}

pub(super) fn is_valid_seccomp(profile: &str) -> bool {
    matches!(profile, "Localhost" | "RuntimeDefault")
}

/// Who asks for a seccomp profile that nobody may have; `None` where nobody does.
pub(super) fn seccomp(subject: &Subject) -> Option<Finding> {
    let mut values = BTreeSet::new();
    let mut bad = |profile: &str| {
        let bad = !is_valid_seccomp(profile);
        if bad {
            values.insert(profile.to_owned());
        }
        bad
    };
    let whole = subject.spec.security_context.as_ref().and_then(|s| s.seccomp_profile.as_ref());
    let pod = whole.is_some_and(|profile| bad(&profile.type_));
    let names = names_where(subject, |container| {
        let profile = container.security.and_then(|s| s.seccomp_profile.as_ref());
        profile.is_some_and(|profile| bad(&profile.type_))
    });
    let who = setters(pod, &names)?;
    let values: Vec<_> = values.into_iter().collect();
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(&values));
    Some(Finding::new("seccompProfile", detail))
}

fn sysctls(subject: &Subject, minor: u32) -> Option<Finding> {
    let set = subject.spec.security_context.iter().flat_map(|s| s.sysctls.iter().flatten());
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && *since <= minor);
    let forbidden: Vec<_> = set.map(|sysctl| sysctl.name.as_str()).filter(|name| !allowed(name)).collect();
    (!forbidden.is_empty()).then(|| Finding::new("forbidden sysctls", forbidden.join(", ")))
}

fn host_process(subject: &Subject) -> Option<Finding> {
    let whole = subject.spec.security_context.as_ref().and_then(|s| s.windows_options.as_ref());
    let pod = whole.is_some_and(|options| options.host_process == Some(true));
    let names = names_where(subject, |container| {
        let options = container.security.and_then(|s| s.windows_options.as_ref());
        options.is_some_and(|options| options.host_process == Some(true))
    });
    let who = setters(pod, &names)?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Finding::new("hostProcess", detail))
}
