//! Making and removing cgroups. Files of a cgroup can't be deleted one by one: each directory goes whole, those
//! inside it first.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::CgroupMounts;

impl CgroupMounts {
    /// Makes `cgroup` under the controllers named; in v2 they are enabled all the way down, as far as the kernel
    /// has them.
    ///
    /// # Errors
    /// When the kernel refuses a directory.
    pub fn create(&self, cgroup: &str, controllers: &[&str]) -> io::Result<()> {
        match self {
            Self::V1 { .. } => {
                let dirs = controllers.iter().filter_map(|controller| self.dir(controller, cgroup));
                dirs.into_iter().try_for_each(fs::create_dir_all)
            }
            Self::V2(mount) => create_unified(mount, cgroup, controllers),
        }
    }

    /// The names of the cgroups right below `cgroup`, under any controller.
    pub fn children(&self, cgroup: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for dir in self.trees(cgroup) {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            names.extend(folders.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        names
    }

    /// Removes the directories of `cgroup` and of all below it, under every mount.
    ///
    /// # Errors
    /// The last one that could not be removed; the others are gone.
    pub fn remove_all(&self, cgroup: &str) -> io::Result<()> {
        let mut outcome = Ok(());
        for dir in self.trees(cgroup) {
            if let Err(error) = remove_tree(&dir) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Removes the (empty) directories of `cgroup`; those that hold processes or children stay.
    ///
    /// # Errors
    /// The last one that could not be removed; the others are gone.
    pub fn remove(&self, cgroup: &str) -> io::Result<()> {
        let mut failed = None;
        for dir in self.dirs(cgroup) {
            match fs::remove_dir(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn create_unified(mount: &Path, cgroup: &str, controllers: &[&str]) -> io::Result<()> {
    let mut at = mount.to_owned();
    for part in cgroup.split('/').filter(|part| !part.is_empty()) {
        for controller in controllers {
            // A controller the kernel lacks cannot limit; the rest still do.
            if let Err(error) = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}")) {
                tracing::debug!(controller, at = %at.display(), %error, "controller not available");
            }
        }
        at.push(part);
        match fs::create_dir(&at) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// The directory of a cgroup with all below it, children before parents. One that cannot be read is listed
/// without its children.
pub fn subtree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        if let Ok(entries) = fs::read_dir(&dir) {
            let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
            open.extend(folders.map(|entry| entry.path()));
        }
        found.push(dir);
    }
    found.reverse();
    found
}

/// Removes the directory of a cgroup with all cgroups below it; returns no error if the directory does not exist.
///
/// # Errors
/// When a process is still in one of them, with the directory.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    for dir in subtree(dir) {
        match fs::remove_dir(&dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(io::Error::new(e.kind(), format!("{}: {e}", dir.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_controller_has_is_found_and_removed() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let mount = |name: &str| temporary.path().join(name);
        let controllers = [("memory".to_owned(), mount("memory")), ("pids".to_owned(), mount("pids"))];
        let mounts = CgroupMounts::V1 { controllers: controllers.into(), others: vec![mount("named")] };
        for (dir, processes) in [("memory/a", "1\n2\n"), ("pids/a/b", "3\n"), ("named/a/c", "2\n")] {
            fs::create_dir_all(temporary.path().join(dir)).expect("made");
            fs::write(temporary.path().join(dir).join("cgroup.procs"), processes).expect("written");
        }
        assert_eq!(mounts.members("/a"), [1, 2, 3].into());
        assert_eq!(mounts.members("/a/b"), [3].into());
        assert_eq!(mounts.members("/none"), BTreeSet::new());
        assert_eq!(mounts.children("/a"), ["b".to_owned(), "c".to_owned()].into());
        for dir in ["memory/a", "pids/a/b", "named/a/c"] {
            fs::remove_file(temporary.path().join(dir).join("cgroup.procs"))
                .expect("the kernel's go by themselves");
        }
        mounts.remove_all("/a").expect("removed");
        mounts.remove_all("/a").expect("nothing is left to remove");
        assert_eq!(mounts.children("/"), BTreeSet::new());
    }

    #[test]
    fn children_come_before_their_parents() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let top = temporary.path().join("top");
        fs::create_dir_all(top.join("a/b")).expect("made");
        fs::create_dir_all(top.join("c")).expect("made");
        let listed = subtree(&top);
        let place = |dir: PathBuf| listed.iter().position(|found| *found == dir).expect("it is listed");
        assert!(place(top.join("a/b")) < place(top.join("a")) && place(top.join("a")) < place(top.clone()));
        assert_eq!(listed.len(), 4);
        remove_tree(&top).expect("removed");
        remove_tree(&top).expect("nothing is left to remove");
        assert!(!top.exists());
    }
}
