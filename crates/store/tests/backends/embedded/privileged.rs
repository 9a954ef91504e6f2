//! A full disk, on a file system that the test mounts for itself. Needs root.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use store::{Embedded, Error, Expect, Store};

use super::config;

/// A small file system in memory, gone with the value.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(options: &std::ffi::CStr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        mount("none", folder.path(), "tmpfs", MountFlags::empty(), Some(options)).expect("root may mount");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let full = std::fs::write(&path, vec![0; 64 << 20]);
        assert_eq!(full.map_err(|e| e.kind()), Err(std::io::ErrorKind::StorageFull));
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.folder.path(), UnmountFlags::DETACH) {
            eprintln!("the test's file system stays mounted: {error}");
        }
    }
}

async fn put(store: &Embedded, key: &str, bytes: usize) -> Result<u64, Error> {
    let value = Bytes::from(vec![b'x'; bytes]);
    Ok(store.put(key, value, Expect::Anything, None).await?.mod_revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = SmallDisk::mount(c"size=32m");
    let store = Embedded::open(config(disk.path(), base::SystemClock)).expect("a fresh store opens");
    put(&store, "/before", 1000).await.expect("there is room");
    let ballast = disk.fill();

    let mut last = store.revision().await.expect("reads go on");
    let mut refusals = 0;
    for n in 0..40 {
        match put(&store, &format!("/n/{n}"), 500_000).await {
            Ok(revision) => {
                assert_eq!(revision, last + 1);
                last = revision;
            }
            Err(Error::DiskFull(_)) => refusals += 1,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(store.revision().await.expect("reads go on"), last, "a refused write takes no revision");
        assert_eq!(store.get("/before").await.expect("reads go on").0.map(|kv| kv.value.len()), Some(1000));
    }
    assert!(refusals > 0);

    std::fs::remove_file(ballast).expect("the ballast goes");
    for n in 0..10 {
        assert_eq!(
            put(&store, &format!("/after/{n}"), 100_000).await.expect("there is room again"),
            last + 1
        );
        last += 1;
    }
    store.close().await.expect("the store closes");
    let again = Embedded::open(config(disk.path(), base::SystemClock)).expect("the store opens again");
    assert_eq!(again.revision().await.expect("reads go on"), last);
}
