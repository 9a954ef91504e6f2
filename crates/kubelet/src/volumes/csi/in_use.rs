//! The volumes that pods of this node use and that must not be detached: `volumesInUse` of the node's status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::super::PodDirs;
use super::record;

/// The key of a record that holds the volume's name here, where it was attached.
pub const KEY: &str = "attachedName";

/// See the module's documentation.
#[derive(Clone)]
pub struct InUse {
    /// The pods that use a volume.
    users: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
    told: Arc<watch::Sender<BTreeSet<String>>>,
    /// What the API has acknowledged of it.
    known: Arc<watch::Sender<BTreeSet<String>>>,
}

impl InUse {
    /// What is in use by what stands on disk. What cannot be read there is logged; the end of its pod fails and says so.
    pub fn read(dirs: &PodDirs) -> Self {
        let in_use = Self { users: Arc::default(), told: Arc::default(), known: Arc::default() };
        let found = record::of_all(dirs);
        for one in &found.unreadable {
            tracing::error!(
                pod_uid = one.pod_uid, volume = one.name(), error = %one.error,
                "what is known of a driver's volume cannot be read: it is not told as in use, and its pod cannot end"
            );
        }
        for mounted in found.mounted {
            let name = mounted.record.get(KEY);
            if !name.is_empty() {
                in_use.add(name, &mounted.pod_uid);
            }
        }
        in_use
    }

    /// The names as they are now.
    pub fn watch(&self) -> watch::Receiver<BTreeSet<String>> {
        self.told.subscribe()
    }

    /// Where the names are kept that the API has acknowledged.
    pub fn known(&self) -> Arc<watch::Sender<BTreeSet<String>>> {
        self.known.clone()
    }

    pub fn add(&self, name: &str, pod_uid: &str) {
        let mut users = self.users.lock().unwrap_or_else(|e| e.into_inner());
        let pods = users.entry(name.to_owned()).or_default();
        if pods.is_empty() {
            // It may have been in use before: that it is not any more may be on its way to the API.
            self.known.send_if_modified(|known| known.remove(name));
        }
        pods.insert(pod_uid.to_owned());
        self.tell(&users);
    }

    /// Waits until the API has acknowledged that a volume is in use. Cancellation safe.
    pub async fn acknowledged(&self, name: &str) {
        let mut known = self.known.subscribe();
        // The sender lives as long as this.
        let _ = known.wait_for(|known| known.contains(name)).await;
    }

    /// Nothing of the pod is in use any more.
    pub fn forget(&self, pod_uid: &str) {
        let mut users = self.users.lock().unwrap_or_else(|e| e.into_inner());
        users.retain(|_, pods| {
            pods.remove(pod_uid);
            !pods.is_empty()
        });
        self.tell(&users);
    }

    fn tell(&self, users: &BTreeMap<String, BTreeSet<String>>) {
        let names: BTreeSet<String> = users.keys().cloned().collect();
        self.told.send_if_modified(|told| std::mem::replace(told, names.clone()) != names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_in_use_until_its_last_pod_has_gone_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let dirs = PodDirs::new(dir.path());
        let record = record::Record::new("d", "h").with(KEY, "kubernetes.io/csi/d^h");
        record.write(&dirs.driver_volume("u1", "pv")).expect("written");
        let broken = dirs.driver_volume("u0", "a");
        std::fs::create_dir_all(&broken).expect("made");
        std::fs::write(broken.join(record::FILE), "{").expect("written");
        let in_use = InUse::read(&dirs);
        let known = in_use.known();
        known.send_replace(in_use.watch().borrow().clone());
        let mut names = in_use.watch();
        in_use.add("kubernetes.io/csi/d^h", "u2");
        assert_eq!(names.borrow_and_update().len(), 1);
        in_use.forget("u1");
        assert!(!names.has_changed().expect("alive"));
        in_use.forget("u2");
        in_use.add("kubernetes.io/csi/d^h", "u3");
        assert!(known.borrow().is_empty(), "that it was in use before counts for nothing");
        in_use.forget("u3");
        assert!(names.borrow_and_update().is_empty());
    }
}
