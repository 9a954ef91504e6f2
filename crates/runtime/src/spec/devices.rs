//! Device nodes of a container, and the rules of its device cgroup.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use cri::v1::Device;
use serde_json::{Value, json};

use super::SpecError;

/// What `linux.devices` and `linux.resources.devices` say.
#[derive(Debug, Default)]
pub struct Devices {
    pub nodes: Vec<Value>,
    pub rules: Vec<Value>,
}

/// The devices that were asked for; all of the host's for a privileged container.
///
/// The usual ones (`null`, `zero`, …) come from the OCI library.
pub fn collect(wanted: &[Device], privileged: bool) -> Result<Devices, SpecError> {
    let mut found = Devices::default();
    if privileged {
        found.rules.push(json!({"allow": true, "access": "rwm"}));
        add_tree(&mut found, Path::new("/dev"), Path::new("/dev"), "rwm", 0)?;
    } else {
        found.rules.push(json!({"allow": false, "access": "rwm"}));
    }
    for device in wanted {
        let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        add_tree(&mut found, Path::new(&device.host_path), Path::new(&device.container_path), access, 0)?;
    }
    Ok(found)
}

/// Not devices of the machine, or made anew in each container.
const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".udev"];
const MAX_DEPTH: u32 = 8;

fn add_tree(
    found: &mut Devices,
    host: &Path,
    inside: &Path,
    access: &str,
    depth: u32,
) -> Result<(), SpecError> {
    let io = |source| SpecError::Io { path: host.display().to_string(), source };
    // A device named directly may be a link; inside a folder links are left out.
    let metadata = if depth == 0 { host.metadata() } else { host.symlink_metadata() }.map_err(io)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        if depth == MAX_DEPTH {
            return Ok(());
        }
        for entry in std::fs::read_dir(host).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if !SKIPPED.iter().any(|s| name == *s) {
                add_tree(found, &host.join(&name), &inside.join(&name), access, depth + 1)?;
            }
        }
        return Ok(());
    }
    let letter = if kind.is_char_device() {
        "c"
    } else if kind.is_block_device() {
        "b"
    } else {
        if depth == 0 {
            return Err(SpecError::Invalid(format!("{} is not a device", host.display())));
        }
        return Ok(());
    };
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    found.nodes.push(json!({
        "path": inside, "type": letter, "major": major, "minor": minor,
        "fileMode": metadata.mode() & 0o777, "uid": metadata.uid(), "gid": metadata.gid(),
    }));
    found
        .rules
        .push(json!({"allow": true, "type": letter, "major": major, "minor": minor, "access": access}));
    Ok(())
}
