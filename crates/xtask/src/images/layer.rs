//! A layer being written: a tar archive in which nothing depends on when or by whom it is made.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

enum Entry {
    Dir(u32),
    File(Vec<u8>, u32),
    Link(String),
}

/// Entries by path; a later one replaces an earlier one.
#[derive(Default)]
pub struct Layer {
    entries: BTreeMap<String, Entry>,
}

impl Layer {
    /// A folder and, where they are missing, its parents.
    pub fn dir(&mut self, path: &str, mode: u32) -> Result<()> {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Dir(mode));
        Ok(())
    }

    pub fn file(&mut self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::File(content.to_vec(), mode));
        Ok(())
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Link(target.to_owned()));
        Ok(())
    }

    /// Everything below `root/dir`, but for folders called as one of `without`. Fine when it is not there.
    pub fn tree(&mut self, root: &Path, dir: &str, without: &[&str]) -> Result<()> {
        let path = root.join(dir);
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(()) };
        if metadata.is_symlink() {
            return self.link(dir, &fs::read_link(&path)?.to_string_lossy());
        }
        self.dir(dir, metadata.permissions().mode() & 0o7777)?;
        for entry in fs::read_dir(&path).with_context(|| format!("reading {}", path.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (inside, kind) = (format!("{dir}/{name}"), entry.file_type()?);
            if kind.is_dir() {
                if !without.contains(&name.as_str()) {
                    self.tree(root, &inside, without)?;
                }
            } else if kind.is_symlink() {
                self.link(&inside, &fs::read_link(entry.path())?.to_string_lossy())?;
            } else if kind.is_file() {
                let mode = entry.metadata()?.permissions().mode() & 0o7777;
                self.file(&inside, &fs::read(entry.path())?, mode)?;
            }
        }
        Ok(())
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Dir(0o755));
        }
    }

    /// The archive's bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in self.entries {
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            match entry {
                Entry::Dir(mode) => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(mode);
                    header.set_size(0);
                    tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Entry::File(content, mode) => {
                    header.set_mode(mode);
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, path, content.as_slice())?;
                }
                Entry::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        Ok(tar.into_inner()?)
    }
}
