//! The security contexts of pod and container, converted to the runtime's. Pure.

use cri::v1::security_profile::ProfileType;
use cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, SeLinuxOption, SecurityProfile, SupplementalGroupsPolicy,
};
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
};

use crate::seams::{ConfigError, ResolvedImage};

/// What a container must not see of `/proc` and `/sys`, unless its `procMount` is `Unmasked`.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the node adds to security contexts.
#[derive(Debug, Clone, Default)]
pub struct SecurityDefaults {
    /// Containers without a profile get the runtime's default instead of none.
    pub seccomp_default: bool,
    /// Where `Localhost` profiles are.
    pub seccomp_root: String,
}

/// The container's context: its own settings over the pod's, the image's user where both are silent.
///
/// # Errors
/// When the container must not run as root and would, or needs what this node cannot do.
pub fn of_container(
    pod: &Pod,
    container: &Container,
    image: &ResolvedImage,
    defaults: &SecurityDefaults,
) -> Result<LinuxContainerSecurityContext, ConfigError> {
    let own = container.security_context.clone().unwrap_or_default();
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    check_non_root(pod, container, &own, &of_pod, user, image)?;
    let (run_as_user, run_as_username) = match (user, image.uid) {
        (Some(uid), _) => (Some(uid), String::new()),
        (None, Some(uid)) => (Some(uid), String::new()),
        // An image that names nobody runs as root; a runtime takes no group without a user.
        (None, None) if image.username.is_empty() => (Some(0), String::new()),
        (None, None) => (None, image.username.clone()),
    };
    let privileged = own.privileged == Some(true);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths =
        |list: &[&str]| if unmasked { Vec::new() } else { list.iter().map(|p| (*p).into()).collect() };
    Ok(LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|c| Capability {
            add_capabilities: c.add.clone().unwrap_or_default(),
            drop_capabilities: c.drop.clone().unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod)?),
        selinux_options: selinux(own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref())),
        run_as_user: run_as_user.map(|value| Int64Value { value }),
        run_as_group: own.run_as_group.or(of_pod.run_as_group).map(|value| Int64Value { value }),
        run_as_username,
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: supplemental_groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(
            own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()),
            privileged,
            defaults,
        )),
        ..LinuxContainerSecurityContext::default()
    })
}

/// Has the container see the processes of the container with the id `target`, unless it sees more already.
pub fn look_into(context: &mut LinuxContainerSecurityContext, target: &str) {
    let options = context.namespace_options.get_or_insert_default();
    if options.pid() == NamespaceMode::Container {
        options.set_pid(NamespaceMode::Target);
        target.clone_into(&mut options.target_id);
    }
}

/// The sandbox's context.
///
/// # Errors
/// When the pod needs namespaces this node cannot make.
pub fn of_sandbox(pod: &Pod) -> Result<LinuxSandboxSecurityContext, ConfigError> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let spec = pod.spec.as_ref();
    let privileged = |c: &Container| c.security_context.as_ref().is_some_and(|s| s.privileged == Some(true));
    let all = spec.into_iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    Ok(LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)?),
        selinux_options: selinux(of_pod.se_linux_options.as_ref()),
        run_as_user: of_pod.run_as_user.map(|value| Int64Value { value }),
        run_as_group: of_pod.run_as_group.map(|value| Int64Value { value }),
        supplemental_groups: supplemental_groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod),
        privileged: all.into_iter().any(privileged),
        seccomp: Some(profile(ProfileType::RuntimeDefault, String::new())),
        ..LinuxSandboxSecurityContext::default()
    })
}

fn namespaces(pod: &Pod) -> Result<NamespaceOption, ConfigError> {
    let spec = pod.spec.as_ref();
    let set = |value: Option<bool>| value == Some(true);
    if spec.and_then(|s| s.host_users) == Some(false) {
        return Err(ConfigError::new("user namespaces (hostUsers: false) are not implemented on this node"));
    }
    let node_or_pod = |host: bool| if host { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = if set(spec.and_then(|s| s.host_pid)) {
        NamespaceMode::Node
    } else if set(spec.and_then(|s| s.share_process_namespace)) {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Container
    };
    Ok(NamespaceOption {
        network: node_or_pod(set(spec.and_then(|s| s.host_network))).into(),
        ipc: node_or_pod(set(spec.and_then(|s| s.host_ipc))).into(),
        pid: pid.into(),
        ..NamespaceOption::default()
    })
}

/// Upstream's three refusals, in its words.
fn check_non_root(
    pod: &Pod,
    container: &Container,
    own: &SecurityContext,
    of_pod: &PodSecurityContext,
    user: Option<i64>,
    image: &ResolvedImage,
) -> Result<(), ConfigError> {
    if own.run_as_non_root.or(of_pod.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let meta = &pod.metadata;
    let pod_name = format!(
        "{}_{}({})",
        text(meta.name.as_ref()),
        text(meta.namespace.as_ref()),
        text(meta.uid.as_ref())
    );
    let about = format!("(pod: \"{pod_name}\", container: {})", container.name);
    match (user, image.uid, image.username.as_str()) {
        (Some(0), _, _) => {
            Err(ConfigError::new(format!("container's runAsUser breaks non-root policy {about}")))
        }
        (Some(_), _, _) => Ok(()),
        (None, None, name) if !name.is_empty() => Err(ConfigError::new(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root \
             {about}"
        ))),
        (None, None | Some(0), _) => {
            Err(ConfigError::new(format!("container has runAsNonRoot and image will run as root {about}")))
        }
        (None, Some(_), _) => Ok(()),
    }
}

fn supplemental_groups(of_pod: &PodSecurityContext) -> Vec<i64> {
    of_pod.fs_group.into_iter().chain(of_pod.supplemental_groups.iter().flatten().copied()).collect()
}

fn groups_policy(of_pod: &PodSecurityContext) -> i32 {
    match of_pod.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict.into(),
        _ => SupplementalGroupsPolicy::Merge.into(),
    }
}

fn selinux(options: Option<&SELinuxOptions>) -> Option<SeLinuxOption> {
    let options = options?;
    Some(SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    })
}

fn seccomp(
    wanted: Option<&SeccompProfile>,
    privileged: bool,
    defaults: &SecurityDefaults,
) -> SecurityProfile {
    match wanted.map(|p| p.type_.as_str()) {
        _ if privileged => profile(ProfileType::Unconfined, String::new()),
        Some("RuntimeDefault") => profile(ProfileType::RuntimeDefault, String::new()),
        Some("Localhost") => {
            let file = wanted.and_then(|p| p.localhost_profile.as_deref()).unwrap_or_default();
            profile(ProfileType::Localhost, format!("{}/{file}", defaults.seccomp_root))
        }
        None if defaults.seccomp_default => profile(ProfileType::RuntimeDefault, String::new()),
        _ => profile(ProfileType::Unconfined, String::new()),
    }
}

fn profile(kind: ProfileType, localhost_ref: String) -> SecurityProfile {
    SecurityProfile { profile_type: kind.into(), localhost_ref }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn make(
        spec: Value,
        container: Value,
        image: &ResolvedImage,
    ) -> Result<LinuxContainerSecurityContext, String> {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let meta = json!({"name": "p", "namespace": "n", "uid": "u"});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a pod");
        let mut container = container;
        container["name"] = json!("c");
        let container: Container = serde_json::from_value(container).expect("a container");
        of_container(&pod, &container, image, &SecurityDefaults::default()).map_err(|e| e.message)
    }

    #[test]
    fn the_container_goes_before_the_pod_and_the_image() {
        let image = ResolvedImage { uid: Some(33), ..ResolvedImage::default() };
        let spec = json!({"securityContext": {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 7,
            "supplementalGroups": [8], "seccompProfile": {"type": "RuntimeDefault"}}, "shareProcessNamespace": true});
        let got = make(
            spec,
            json!({"securityContext": {"runAsUser": 9, "allowPrivilegeEscalation": false}}),
            &image,
        )
        .expect("a context");
        assert_eq!(got.run_as_user.map(|v| v.value), Some(9));
        assert_eq!(got.run_as_group.map(|v| v.value), Some(6));
        assert_eq!(got.supplemental_groups, [7, 8]);
        assert!(got.no_new_privs && !got.privileged);
        assert_eq!(got.seccomp.expect("a profile").profile_type(), ProfileType::RuntimeDefault);
        assert_eq!(got.namespace_options.expect("options").pid(), NamespaceMode::Pod);
        let mut plain = make(json!({}), json!({}), &image).expect("a context");
        look_into(&mut plain, "c1");
        let options = plain.namespace_options.clone().expect("options");
        assert_eq!((options.pid(), options.target_id.as_str()), (NamespaceMode::Target, "c1"));
        let shared = json!({"shareProcessNamespace": true, "securityContext": {"runAsGroup": 6}});
        let mut shared = make(shared, json!({}), &ResolvedImage::default()).expect("a context");
        look_into(&mut shared, "c1");
        assert_eq!(shared.namespace_options.expect("options").pid(), NamespaceMode::Pod);
        assert_eq!(shared.run_as_user.map(|v| v.value), Some(0), "whoever the image does not name is root");
        assert_eq!(plain.run_as_user.map(|v| v.value), Some(33));
        assert_eq!(plain.seccomp.expect("a profile").profile_type(), ProfileType::Unconfined);
        assert_eq!(plain.masked_paths.len(), MASKED.len());
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let strict = json!({"securityContext": {"runAsNonRoot": true}});
        let about = "(pod: \"p_n(u)\", container: c)";
        let image = |uid: Option<i64>, name: &str| ResolvedImage {
            uid,
            username: name.to_owned(),
            ..ResolvedImage::default()
        };
        let error = |c: Value, i: ResolvedImage| make(strict.clone(), c, &i).expect_err("refused");
        let as_root = json!({"securityContext": {"runAsUser": 0}});
        assert_eq!(
            error(as_root, image(None, "")),
            format!("container's runAsUser breaks non-root policy {about}")
        );
        assert_eq!(
            error(json!({}), image(Some(0), "")),
            format!("container has runAsNonRoot and image will run as root {about}")
        );
        assert!(
            error(json!({}), image(None, "www")).contains("image has non-numeric user (www), cannot verify")
        );
        assert!(make(strict.clone(), json!({}), &image(Some(1), "")).is_ok());
    }
}
