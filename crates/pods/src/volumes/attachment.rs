//! Volumes of drivers (CSI) and their attachment to nodes: the names by which controller and node agent mean the same.
//! Pure. Upstream: `pkg/volume/csi`.

use k8s_openapi::api::core::v1::PersistentVolume;
use sha2::{Digest, Sha256};

/// The volume's name in a node's lists of volumes in use and attached.
pub fn unique_name(driver: &str, handle: &str) -> String {
    format!("kubernetes.io/csi/{driver}^{handle}")
}

/// The driver and the handle of a volume with such a name; `None` for one that is no driver's.
pub fn of_unique_name(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("kubernetes.io/csi/")?.split_once('^')
}

/// The name of the object by which the volume is attached to a node.
pub fn object_name(driver: &str, handle: &str, node: &str) -> String {
    format!("csi-{}", hash(&format!("{handle}{driver}{node}")))
}

/// The hash of a text in hexadecimal digits.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Driver and handle of a driver's volume.
pub fn driver_of(volume: &PersistentVolume) -> Option<(&str, &str)> {
    let source = volume.spec.as_ref()?.csi.as_ref()?;
    Some((&source.driver, &source.volume_handle))
}

/// Whether the volume may be attached to one node at a time.
pub fn is_exclusive(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    !modes.is_empty() && !modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_upstreams() {
        assert_eq!(
            object_name("driver", "handle", "node"),
            "csi-fdef298eb16db6fa42906ef1ff09a93a7f3028f8290cc9d71628ff91c237bfa7"
        );
        assert_eq!(unique_name("driver", "handle"), "kubernetes.io/csi/driver^handle");
    }

    #[test]
    fn volumes_that_many_nodes_may_use_are_not_exclusive() {
        let exclusive = |modes: serde_json::Value| {
            let volume = json!({"metadata": {}, "spec": {"accessModes": modes}});
            is_exclusive(&serde_json::from_value(volume).expect("a volume"))
        };
        assert!(exclusive(json!(["ReadWriteOnce"])) && exclusive(json!(["ReadWriteOncePod"])));
        assert!(!exclusive(json!(["ReadWriteOnce", "ReadOnlyMany"])) && !exclusive(json!([])));
    }
}
