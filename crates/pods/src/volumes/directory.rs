//! Volumes that are directories of a node: what their provisioner and their node say to each other.
//!
//! The provisioner makes the object with a label of the node and a finalizer; the node makes the directory when a pod first
//! uses it and says so in an annotation, so that a directory which is gone is never silently made again; it removes the
//! directory, and then the finalizer, of a volume that is being deleted.

use k8s_openapi::api::core::v1::PersistentVolume;

use super::{PROVISIONED_BY, annotation};

/// The provisioner's name, in classes and annotations.
pub const PROVISIONER: &str = "knarr.dev/directory";
/// Held by the node until the directory is gone.
pub const FINALIZER: &str = "knarr.dev/directory";
/// The label that names the volume's node.
pub const NODE: &str = "knarr.dev/node";
/// The annotation by which the node says that the directory was made.
pub const MADE: &str = "knarr.dev/directory-made";
/// A node's annotation: the folder of its volumes' directories.
pub const FOLDER: &str = "knarr.dev/volumes-folder";

const PREFIX: &str = "pvc-";
const MAX_UID: usize = 64;

/// Whether the volume is such a directory.
pub fn is_ours(volume: &PersistentVolume) -> bool {
    annotation(&volume.metadata.annotations, PROVISIONED_BY) == Some(PROVISIONER)
}

/// The name of the volume's directory within its node's folder; `None` for a volume that is none of ours, or whose name the
/// provisioner would not have given it. Never leaves the folder.
pub fn name(volume: &PersistentVolume) -> Option<&str> {
    let name = volume.metadata.name.as_deref().filter(|_| is_ours(volume))?;
    let uid = name.strip_prefix(PREFIX)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!uid.is_empty() && uid.len() <= MAX_UID && uid.bytes().all(is_plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostile_names_name_no_directory() {
        let named = |name: &str, by: &str| {
            let volume = json!({"metadata": {"name": name, "annotations": {PROVISIONED_BY: by}}});
            let volume: PersistentVolume = serde_json::from_value(volume).expect("a volume");
            super::name(&volume).map(str::to_owned)
        };
        let good = "pvc-0b6e0e2c-7a3c-4f7e-9f55-3d1c6a1f0001";
        assert_eq!(named(good, PROVISIONER).as_deref(), Some(good));
        assert_eq!(named(good, "example.com/other"), None);
        let long = format!("pvc-{}", "a".repeat(65));
        for bad in ["", "..", "pvc-", "pvc-..", "pvc-../x", "pvc-a/b", "pvc-a.b", "data", "/etc", &long] {
            assert_eq!(named(bad, PROVISIONER), None, "{bad}");
        }
    }
}
