//! How a driver wants to be treated, as its CSIDriver object says. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::{CSIDriver, TokenRequest};

use super::asked::{Asked, Lifecycle};

/// Who gives a volume's files to the pod's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupPolicy {
    /// The node, of volumes that one node writes and that have a file system of a known type.
    ReadWriteOnceWithFsType,
    /// The node, always.
    File,
    /// Nobody.
    None,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// `None` where the API knows nothing of the driver.
    modes: Option<Vec<String>>,
    pub attach_required: bool,
    pub wants_pod: bool,
    pub requires_republish: bool,
    pub tokens: Vec<TokenRequest>,
    pub tokens_in_secrets: bool,
    group_policy: GroupPolicy,
}

impl Terms {
    /// What holds for a driver with this object, or without any.
    pub fn of(driver: Option<&CSIDriver>) -> Self {
        let spec = driver.map(|driver| driver.spec.clone());
        let modes = spec.as_ref().map(|spec| spec.volume_lifecycle_modes.clone());
        // As the API fills it in.
        let usual = || vec!["Persistent".to_owned()];
        let modes = modes.map(|modes| modes.filter(|modes| !modes.is_empty()).unwrap_or_else(usual));
        let spec = spec.unwrap_or_default();
        Self {
            modes,
            attach_required: spec.attach_required != Some(false),
            wants_pod: spec.pod_info_on_mount == Some(true),
            requires_republish: spec.requires_republish == Some(true),
            tokens: spec.token_requests.unwrap_or_default(),
            tokens_in_secrets: spec.service_account_token_in_secrets == Some(true),
            group_policy: match spec.fs_group_policy.as_deref() {
                Some("File") => GroupPolicy::File,
                Some("None") => GroupPolicy::None,
                _ => GroupPolicy::ReadWriteOnceWithFsType,
            },
        }
    }

    /// # Errors
    /// When the driver has no volumes of this kind, in upstream's words.
    pub fn check(&self, asked: &Asked) -> Result<(), String> {
        let (mode, driver) = (asked.lifecycle.as_str(), &asked.driver);
        match &self.modes {
            None if asked.lifecycle == Lifecycle::Persistent => Ok(()),
            None => {
                Err(format!("volume mode {mode:?} not supported by driver {driver} (no CSIDriver object)"))
            }
            Some(modes) if modes.iter().any(|known| known == mode) => Ok(()),
            Some(modes) => {
                let only: Vec<String> = modes.iter().map(|mode| format!("{mode:?}")).collect();
                let only = only.join(" ");
                Err(format!("volume mode {mode:?} not supported by driver {driver} (only supports [{only}])"))
            }
        }
    }

    /// Whether the node gives the volume's files to the pod's group.
    pub fn node_gives_away(&self, asked: &Asked) -> bool {
        let writes_once = asked.access_modes.iter().any(|m| m == "ReadWriteOnce" || m == "ReadWriteOncePod");
        !asked.read_only
            && match self.group_policy {
                GroupPolicy::None => false,
                GroupPolicy::File => true,
                GroupPolicy::ReadWriteOnceWithFsType => !asked.fs_type.is_empty() && writes_once,
            }
    }

    /// What the driver is told of the pod.
    pub fn pod_attributes(&self, pod: &Pod, lifecycle: Lifecycle) -> BTreeMap<String, String> {
        if !self.wants_pod {
            return BTreeMap::new();
        }
        let meta = &pod.metadata;
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let told = [
            ("pod.name", meta.name.clone().unwrap_or_default()),
            ("pod.namespace", meta.namespace.clone().unwrap_or_default()),
            ("pod.uid", meta.uid.clone().unwrap_or_default()),
            ("serviceAccount.name", account.unwrap_or_default()),
            ("ephemeral", (lifecycle == Lifecycle::Ephemeral).to_string()),
        ];
        told.into_iter().map(|(key, value)| (format!("csi.storage.k8s.io/{key}"), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn terms(spec: Value) -> Terms {
        let driver: CSIDriver =
            serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": spec})).expect("a driver");
        Terms::of(Some(&driver))
    }

    fn asked(inline: bool, fs_type: &str, mode: &str) -> Asked {
        if inline {
            let volume = json!({"name": "v", "csi": {"driver": "d", "fsType": fs_type}});
            return Asked::inline(&Pod::default(), &serde_json::from_value(volume).expect("one"))
                .expect("a driver's");
        }
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"accessModes": [mode],
            "csi": {"driver": "d", "volumeHandle": "h", "fsType": fs_type}}});
        Asked::persistent(&serde_json::from_value(volume).expect("a volume"), false).expect("a driver's")
    }

    #[test]
    fn volumes_of_pods_need_a_driver_that_says_it_has_them() {
        let own = asked(true, "", "");
        let text = "volume mode \"Ephemeral\" not supported by driver d (no CSIDriver object)".to_owned();
        assert_eq!(Terms::of(None).check(&own), Err(text));
        assert_eq!(Terms::of(None).check(&asked(false, "", "ReadWriteOnce")), Ok(()));
        let only = terms(json!({"volumeLifecycleModes": ["Persistent"]}));
        let text =
            "volume mode \"Ephemeral\" not supported by driver d (only supports [\"Persistent\"])".to_owned();
        assert_eq!(only.check(&own), Err(text));
        assert_eq!(terms(json!({"volumeLifecycleModes": ["Persistent", "Ephemeral"]})).check(&own), Ok(()));
    }

    #[test]
    fn groups_are_given_files_by_policy() {
        let gives =
            |terms: &Terms, fs_type: &str, mode: &str| terms.node_gives_away(&asked(false, fs_type, mode));
        let usual = Terms::of(None);
        assert!(gives(&usual, "ext4", "ReadWriteOnce") && gives(&usual, "ext4", "ReadWriteOncePod"));
        assert!(!gives(&usual, "", "ReadWriteOnce") && !gives(&usual, "ext4", "ReadWriteMany"));
        assert!(gives(&terms(json!({"fsGroupPolicy": "File"})), "", "ReadWriteMany"));
        assert!(!gives(&terms(json!({"fsGroupPolicy": "None"})), "ext4", "ReadWriteOnce"));
    }

    #[test]
    fn a_driver_hears_of_the_pod_where_it_wants() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [], "serviceAccountName": "s"}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        assert!(Terms::of(None).pod_attributes(&pod, Lifecycle::Persistent).is_empty());
        let told = terms(json!({"podInfoOnMount": true})).pod_attributes(&pod, Lifecycle::Ephemeral);
        assert_eq!(told["csi.storage.k8s.io/pod.name"], "p");
        assert_eq!(told["csi.storage.k8s.io/serviceAccount.name"], "s");
        assert_eq!(told["csi.storage.k8s.io/ephemeral"], "true");
    }
}
