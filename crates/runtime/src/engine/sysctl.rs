//! Which kernel parameters a pod may set: those that belong to one of its own namespaces.

use cri::v1::{NamespaceMode, PodSandboxConfig};

use super::EngineError;

/// Refuses parameters that would change the whole machine, or that are no names of parameters at all.
pub fn check(config: &PodSandboxConfig) -> Result<(), EngineError> {
    let Some(linux) = &config.linux else { return Ok(()) };
    let options =
        linux.security_context.as_ref().and_then(|s| s.namespace_options.clone()).unwrap_or_default();
    for name in linux.sysctls.keys() {
        let invalid = |why: &str| EngineError::Invalid(format!("sysctl {name:?} {why}"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.chars().all(plain) || name.split('.').any(str::is_empty) {
            return Err(invalid("is not a valid name"));
        }
        let (of_network, of_ipc) = (name.starts_with("net."), is_ipc(name));
        if !of_network && !of_ipc {
            return Err(invalid("is not namespaced"));
        }
        let host = NamespaceMode::Node as i32;
        if (of_network && options.network == host) || (of_ipc && options.ipc == host) {
            return Err(invalid("is not allowed with the host's namespace"));
        }
    }
    Ok(())
}

fn is_ipc(name: &str) -> bool {
    name.starts_with("kernel.shm")
        || name.starts_with("kernel.msg")
        || name == "kernel.sem"
        || name.starts_with("fs.mqueue.")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use cri::v1::LinuxPodSandboxConfig;

    use super::*;

    fn allowed(name: &str) -> bool {
        let sysctls = HashMap::from([(name.to_owned(), "1".to_owned())]);
        let linux = LinuxPodSandboxConfig { sysctls, ..LinuxPodSandboxConfig::default() };
        check(&PodSandboxConfig { linux: Some(linux), ..PodSandboxConfig::default() }).is_ok()
    }

    #[test]
    fn only_what_belongs_to_the_pod() {
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "kernel.sem", "fs.mqueue.msg_max"] {
            assert!(allowed(name), "{name}");
        }
        for name in ["kernel.core_pattern", "vm.swappiness", "net./../../etc/x", "net..x", "net.", ""] {
            assert!(!allowed(name), "{name}");
        }
    }
}
