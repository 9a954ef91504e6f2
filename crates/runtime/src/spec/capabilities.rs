//! Which capabilities a container's processes hold.

use std::collections::BTreeSet;

use cri::v1::Capability;

/// The default capabilities of a container, as in other CRI runtimes.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// In the kernel's order (`linux/capability.h`): the position is the bit.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The sets of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Bounding, permitted and effective.
    pub held: BTreeSet<String>,
    pub ambient: BTreeSet<String>,
}

/// A capability that doesn't exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {0:?}")]
pub struct UnknownCapability(String);

/// What a container gets of `available`, which is what this process itself could pass on.
pub fn grant(
    privileged: bool,
    wanted: Option<&Capability>,
    available: &BTreeSet<String>,
) -> Result<Granted, UnknownCapability> {
    let all = || ALL.iter().map(|c| (*c).to_owned());
    if privileged {
        return Ok(Granted { held: available.clone(), ambient: BTreeSet::new() });
    }
    let mut held: BTreeSet<String> = DEFAULT.iter().map(|c| (*c).to_owned()).collect();
    let mut ambient = BTreeSet::new();
    if let Some(wanted) = wanted {
        // ALL first, so that a single name on the other list still counts.
        if wanted.add_capabilities.iter().any(|c| is_all(c)) {
            held = all().collect();
        }
        if wanted.drop_capabilities.iter().any(|c| is_all(c)) {
            held.clear();
        }
        for name in wanted.add_capabilities.iter().filter(|c| !is_all(c)) {
            held.insert(known(name)?);
        }
        for name in wanted.drop_capabilities.iter().filter(|c| !is_all(c)) {
            held.remove(&known(name)?);
        }
        for name in &wanted.add_ambient_capabilities {
            let name = known(name)?;
            held.insert(name.clone());
            ambient.insert(name);
        }
    }
    held.retain(|c| available.contains(c));
    ambient.retain(|c| available.contains(c));
    Ok(Granted { held, ambient })
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

fn known(name: &str) -> Result<String, UnknownCapability> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if ALL.contains(&full.as_str()) { Ok(full) } else { Err(UnknownCapability(name.to_owned())) }
}

/// What this process may pass on: its bounding set.
pub fn available() -> BTreeSet<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status
        .lines()
        .find_map(|l| l.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    ALL.iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(add: &[&str], drop: &[&str]) -> Vec<String> {
        let available = ALL.iter().map(|c| (*c).to_owned()).collect();
        let owned = |names: &[&str]| names.iter().map(|c| (*c).to_owned()).collect();
        let wanted = Capability {
            add_capabilities: owned(add),
            drop_capabilities: owned(drop),
            add_ambient_capabilities: Vec::new(),
        };
        let granted = grant(false, Some(&wanted), &available).expect("all names exist");
        granted.held.into_iter().collect()
    }

    #[test]
    fn dropping_all_leaves_what_is_added_by_name() {
        assert_eq!(granted(&["NET_BIND_SERVICE"], &["ALL"]), ["CAP_NET_BIND_SERVICE"]);
        assert_eq!(granted(&["all"], &[]).len(), ALL.len());
        assert_eq!(granted(&[], &[]).len(), DEFAULT.len());
        assert!(!granted(&["ALL"], &["cap_sys_admin"]).contains(&"CAP_SYS_ADMIN".to_owned()));
    }

    #[test]
    fn what_the_machine_does_not_give_is_left_out() {
        let granted = grant(true, None, &BTreeSet::from(["CAP_CHOWN".to_owned()])).expect("no names");
        assert_eq!(granted.held.len(), 1);
    }
}
