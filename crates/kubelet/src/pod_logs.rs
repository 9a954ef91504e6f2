//! Where the pods' logs are on the node, and where pods that collect logs find them: upstream's `/var/log/pods` and
//! `/var/log/containers`.
//!
//! Several nodes share one machine, so that nothing is kept at those paths of the machine. A pod that mounts one of
//! them, or a folder above, sees the folders of its own node there ([`LogDirs::on_node`], [`LogDirs::below`]).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The two folders, as upstream's node agent has them, and their names beneath the node's own folder of logs.
const USUAL: [(&str, &str); 2] = [("/var/log/pods", PODS), ("/var/log/containers", CONTAINERS)];
const PODS: &str = "pods";
const CONTAINERS: &str = "containers";
/// The longest name of a file (upstream `ext4MaxFileNameLen`).
const LONGEST_NAME: usize = 255;
const SUFFIX: &str = ".log";

/// The node's own folder of logs.
#[derive(Debug, Clone)]
pub struct LogDirs {
    root: PathBuf,
}

/// Of which container a log is.
#[derive(Debug, Clone, Copy)]
pub struct LogOf<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    /// The runtime's id.
    pub id: &'a str,
}

impl LogDirs {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `NAMESPACE_NAME_UID/CONTAINER/N.log`.
    pub fn pods(&self) -> PathBuf {
        self.root.join(PODS)
    }

    /// `POD_NAMESPACE_CONTAINER-ID.log`, links into [`Self::pods`].
    pub fn containers(&self) -> PathBuf {
        self.root.join(CONTAINERS)
    }

    /// Where a path that a pod names is on the node; `None` for one that has nothing to do with logs.
    pub fn on_node(&self, path: &Path) -> Option<PathBuf> {
        let below = |(usual, own): (&str, &str)| Some((own.to_owned(), path.strip_prefix(usual).ok()?));
        let (own, rest) = USUAL.into_iter().find_map(below)?;
        let own = self.root.join(own);
        Some(if rest.as_os_str().is_empty() { own } else { own.join(rest) })
    }

    /// What is to be mounted in a pod that has the machine's folder `path`, which lies above: where beneath that folder,
    /// and what.
    pub fn below(&self, path: &Path) -> Vec<(PathBuf, PathBuf)> {
        let beneath = |(usual, own): (&str, &str)| {
            let place =
                Path::new(usual).strip_prefix(path).ok().filter(|rest| !rest.as_os_str().is_empty())?;
            Some((place.to_owned(), self.root.join(own)))
        };
        USUAL.into_iter().filter_map(beneath).collect()
    }

    /// Makes both folders, and those of the machine over which they are mounted in pods. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn prepare(&self, path: &Path) -> io::Result<()> {
        for (place, own) in self.below(path) {
            fs::create_dir_all(own)?;
            fs::create_dir_all(path.join(place))?;
        }
        Ok(())
    }

    /// Links a container's log under the name by which collectors find it. The link is relative: it leads to the log
    /// in every pod that has both folders beside one another. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn link(&self, of: LogOf<'_>, log: &Path) -> io::Result<()> {
        let Ok(beneath) = log.strip_prefix(self.pods()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the log lies elsewhere"));
        };
        let folder = self.containers();
        fs::create_dir_all(&folder)?;
        let path = folder.join(link_name(of));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(Path::new("..").join(PODS).join(beneath), path),
        }
    }

    /// Removes the links to logs that are no more. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn unlink_lost(&self) -> io::Result<()> {
        let folder = self.containers();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let Ok(log) = fs::read_link(&path) else { continue };
            if is_lost(&folder.join(log))? {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Whether neither a log is there nor what was rotated out of it: while a log is rotated, only that is there.
fn is_lost(log: &Path) -> io::Result<bool> {
    if fs::exists(log)? {
        return Ok(false);
    }
    let (Some(folder), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return Ok(true);
    };
    let rotated = format!("{name}.");
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        files => Ok(!files?.flatten().any(|file| file.file_name().to_string_lossy().starts_with(&rotated))),
    }
}

/// A name that is too long loses its end, as upstream's.
fn link_name(of: LogOf<'_>) -> String {
    let LogOf { namespace, pod, container, id } = of;
    let mut name = format!("{pod}_{namespace}_{container}-{id}").replace('/', "~");
    let mut end = name.len().min(LONGEST_NAME - SUFFIX.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name + SUFFIX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str) -> LogOf<'_> {
        LogOf { namespace: "ns", pod: "web", container: "c", id }
    }

    #[test]
    fn logs_are_where_collectors_look() {
        let dirs = LogDirs::new("/data/n/log");
        let there = |path: &str| dirs.on_node(Path::new(path)).map(|p| p.display().to_string());
        assert_eq!(there("/var/log/pods").as_deref(), Some("/data/n/log/pods"));
        assert_eq!(there("/var/log/containers/x.log").as_deref(), Some("/data/n/log/containers/x.log"));
        assert_eq!((there("/var/log"), there("/var/log/podsy")), (None, None));
        let below = |path: &str| {
            let found = dirs.below(Path::new(path)).into_iter();
            found.map(|(place, own)| format!("{} {}", place.display(), own.display())).collect::<Vec<_>>()
        };
        assert_eq!(below("/var/log"), ["pods /data/n/log/pods", "containers /data/n/log/containers"]);
        assert_eq!(below("/var")[0], "log/pods /data/n/log/pods");
        assert!(below("/var/log/pods").is_empty() && below("/var/lib").is_empty());
    }

    #[test]
    fn a_log_is_linked_as_long_as_it_is_there() {
        let root = tempfile::tempdir().expect("a folder");
        let dirs = LogDirs::new(root.path());
        let log = dirs.pods().join("ns_web_u/c/0.log");
        fs::create_dir_all(log.parent().expect("a folder")).expect("made");
        fs::write(&log, "said").expect("written");
        dirs.link(of("abc"), &log).expect("linked");
        dirs.link(of("abc"), &log).expect("linked again");
        dirs.link(of("old"), &dirs.pods().join("ns_web_u/c/9.log")).expect("linked to a log that is gone");
        let rotated = log.with_extension("log.20261201-000000");
        fs::rename(&log, &rotated).expect("rotated");
        dirs.unlink_lost().expect("looked at");
        fs::rename(&rotated, &log).expect("there again");
        let names: Vec<_> = fs::read_dir(dirs.containers()).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].file_name(), "web_ns_c-abc.log");
        assert_eq!(fs::read_to_string(names[0].path()).expect("it leads there"), "said");
        dirs.link(of("x"), Path::new("/elsewhere/0.log")).expect_err("not of this node");
        assert_eq!(link_name(of(&format!("x{}", "é".repeat(200)))).len(), 254, "no letter is cut in two");
    }
}
