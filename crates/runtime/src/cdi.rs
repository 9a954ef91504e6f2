//! Devices by the Container Device Interface (CDI): names such as `vendor.com/gpu=gpu0` turned into edits of a
//! container's specification.
//!
//! Start at [`inject`]. Vendors describe their devices in files of a few folders of the host ([`registry`] reads them, anew
//! for each container that has such devices); [`edits`] applies what the files say. The interface's specification:
//! `github.com/cncf-tags/container-device-interface/blob/main/SPEC.md`.

mod edits;
mod registry;

use std::path::PathBuf;

use serde_json::Value;

use registry::Registry;

/// Why a container does not get its devices.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    #[error("CDI device injection failed: unresolvable CDI devices {0}")]
    Unresolvable(String),
    #[error("CDI device injection failed: {0}")]
    Refused(String),
}

/// Adds the devices of these names to a container's specification: first what all devices of a file's need, then the
/// device's own. `folders` are where files lie, the later ones before the earlier ones.
///
/// # Errors
/// When a name stands for no device, or what a file asks for cannot be done. The specification is of no use then.
pub fn inject(spec: &mut Value, names: &[String], folders: &[PathBuf]) -> Result<(), CdiError> {
    if names.is_empty() {
        return Ok(());
    }
    let registry = Registry::read(folders);
    let (mut wanted, mut unknown, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let Some((file, device)) = registry.find(name) else {
            unknown.push(name.as_str());
            continue;
        };
        if !files.contains(&file.path.as_path()) {
            files.push(&file.path);
            wanted.push(&file.common);
        }
        wanted.push(&device.edits);
    }
    if !unknown.is_empty() {
        for (path, why) in registry.faults() {
            tracing::warn!(path = %path.display(), why, "a file that describes devices is left out");
        }
        return Err(CdiError::Unresolvable(unknown.join(", ")));
    }
    edits::apply(spec, &wanted).map_err(CdiError::Refused)
}

#[cfg(test)]
mod tests;
