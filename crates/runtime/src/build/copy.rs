//! `COPY` and `ADD`: which files go where, as BuildKit places them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use dockerfile::{Glob, Ignore};
use rustix::fs::{FileType, Stat};

use super::sink::{Attributes, Sink, What, invalid, parents};
use super::tree::{Folder, Node};

/// Folders deeper than this are a loop or a joke.
pub const DEPTH_LIMIT: usize = 256;

/// How files are copied.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Absolute; a `/` at its end says that it is a folder.
    pub target: String,
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
    pub parents: bool,
    pub excludes: Ignore,
    /// The time of folders that are made.
    pub now_s: u64,
}

/// Where the copied files come from.
pub enum From<'a> {
    /// Patterns of paths below a root.
    Tree { root: &'a Folder, patterns: &'a [String] },
    /// Files that no tree has.
    Single(&'a [Single]),
    /// All that is in a folder.
    All(&'a Folder),
}

/// A file of a here-document or a URL.
#[derive(Debug, Clone)]
pub struct Single {
    pub name: String,
    /// Unless the plan has one.
    pub mode: u32,
    pub content: SingleContent,
}

#[derive(Debug, Clone)]
pub enum SingleContent {
    Text(String),
    /// In a file of the build.
    File(PathBuf),
}

/// Copies into `sink` what goes over the tree `base`.
pub fn copy(plan: &Plan, base: &Folder, sources: &[From<'_>], sink: &mut dyn Sink) -> io::Result<()> {
    let mut found = Vec::new();
    for source in sources {
        found.extend(source.files(plan)?);
    }
    let target = base.find(Path::new(&plan.target), true)?;
    let there = target.node.as_ref().map(Node::kind);
    let wants_folder = plan.target.ends_with('/') || found.len() > 1 || plan.parents;
    let is_folder = wants_folder || there == Some(FileType::Directory);
    let lays_folder = found.iter().any(Source::is_folder);
    if (wants_folder || lays_folder) && there.is_some_and(|kind| kind != FileType::Directory) {
        return Err(invalid(format!("cannot copy to non-directory: {}", plan.target)));
    }
    let mut copying = Copying { plan, base, sink, made: BTreeSet::new(), there: BTreeSet::new() };
    for source in &found {
        let place = match source.is_folder() && !plan.parents {
            true => target.real.clone(),
            false if is_folder => target.real.join(&source.name),
            false => target.real.clone(),
        };
        copying.source(source, &place)?;
    }
    Ok(())
}

pub struct Source {
    /// Where it is in its tree.
    pub path: PathBuf,
    /// What it is called in a target that is a folder.
    name: PathBuf,
    what: Contents,
}

pub enum Contents {
    Node(Node),
    Single(Single),
}

impl Source {
    /// The file, where it is one of a tree.
    pub fn regular(&self) -> Option<&Node> {
        match &self.what {
            Contents::Node(node) if node.kind() == FileType::RegularFile => Some(node),
            _ => None,
        }
    }

    fn is_folder(&self) -> bool {
        matches!(&self.what, Contents::Node(node) if node.folder().is_some())
    }
}

impl From<'_> {
    fn files(&self, plan: &Plan) -> io::Result<Vec<Source>> {
        match self {
            Self::Single(files) => Ok(files
                .iter()
                .map(|file| Source {
                    path: PathBuf::new(),
                    name: PathBuf::from(&file.name),
                    what: Contents::Single(file.clone()),
                })
                .collect()),
            Self::All(folder) => {
                let node = folder.find(Path::new(""), true)?.node;
                Ok(node
                    .map(|node| Source {
                        path: PathBuf::new(),
                        name: PathBuf::new(),
                        what: Contents::Node(node),
                    })
                    .into_iter()
                    .collect())
            }
            Self::Tree { root, patterns } => {
                let mut found = Vec::new();
                for pattern in *patterns {
                    found.extend(matching(root, pattern, plan.parents)?);
                }
                Ok(found)
            }
        }
    }
}

/// What a source's pattern means: at least one file.
pub fn matching(root: &Folder, pattern: &str, keep_parents: bool) -> io::Result<Vec<Source>> {
    // `/./` says which of the parents are kept.
    let pivot = pattern.find("/./").filter(|_| keep_parents).map(|at| clean(&pattern[..at]));
    let pattern = clean(pattern);
    let mut paths = vec![PathBuf::new()];
    for name in pattern.iter() {
        let text = name.to_str().ok_or_else(|| invalid(format!("{pattern:?} is no text")))?;
        let glob = Glob::new(text).ok_or_else(|| invalid(format!("syntax error in pattern {pattern:?}")))?;
        if !glob.is_wild() {
            let plain = text.replace('\\', "");
            paths.iter_mut().for_each(|path| path.push(&plain));
            continue;
        }
        let mut next = Vec::new();
        for path in paths {
            if text == "**" && keep_parents {
                next.push(path.clone());
                below(root, &path, &mut next)?;
                continue;
            }
            let node = root.find(&path, true)?.node;
            let Some(folder) = node.as_ref().and_then(Node::folder) else { continue };
            let names = folder.names()?;
            let fitting = names.iter().filter(|name| glob.matches(&name.to_string_lossy()));
            next.extend(fitting.map(|name| path.join(name)));
        }
        paths = next;
    }
    let mut found = Vec::new();
    for path in paths {
        let Some(node) = root.find(&path, true)?.node else { continue };
        let kept = pivot.as_ref().and_then(|pivot| path.strip_prefix(pivot).ok()).unwrap_or(&path);
        let name = if keep_parents { kept.to_owned() } else { path.file_name().unwrap_or_default().into() };
        found.push(Source { path, name, what: Contents::Node(node) });
    }
    match found.is_empty() {
        true => {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("\"/{}\": not found", pattern.display())))
        }
        false => Ok(found),
    }
}

/// All folders below `path`.
fn below(root: &Folder, path: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let node = root.find(path, false)?.node;
    let Some(folder) = node.as_ref().and_then(Node::folder) else { return Ok(()) };
    if path.iter().count() > DEPTH_LIMIT {
        return Err(invalid("folders are nested too deeply"));
    }
    for name in folder.names()? {
        if folder.child(&name)?.is_some_and(|node| node.folder().is_some()) {
            let path = path.join(name);
            found.push(path.clone());
            below(root, &path, found)?;
        }
    }
    Ok(())
}

/// Without `.` and `..`, which do not lead above the root.
fn clean(path: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(out.pop()),
            name => out.push(name),
        }
    }
    out
}

struct Copying<'a> {
    plan: &'a Plan,
    base: &'a Folder,
    sink: &'a mut dyn Sink,
    /// Folders that are in the layer.
    made: BTreeSet<PathBuf>,
    /// Folders of the tree below, as far as they are known.
    there: BTreeSet<PathBuf>,
}

impl Copying<'_> {
    fn source(&mut self, source: &Source, place: &Path) -> io::Result<()> {
        let place = &match (source.is_folder(), place.parent(), place.file_name()) {
            (false, Some(parent), Some(name)) => self.resolved(parent)?.join(name),
            _ => self.resolved(place)?,
        };
        match &source.what {
            Contents::Single(file) => {
                self.make_parents(place)?;
                self.single(file, place)
            }
            Contents::Node(node) if node.folder().is_some() => {
                self.make_parents(&place.join("x"))?;
                self.inside(node, place, Path::new(""))
            }
            Contents::Node(node) => {
                if self.excluded(&source.name) {
                    return Ok(());
                }
                self.make_parents(place)?;
                self.node(node, place)
            }
        }
    }

    fn single(&mut self, file: &Single, place: &Path) -> io::Result<()> {
        let (uid, gid) = self.plan.owner.unwrap_or_default();
        let (mode, mtime_s) = (self.plan.mode.unwrap_or(file.mode), self.plan.now_s);
        let attributes = Attributes { mode, uid, gid, mtime_s, xattrs: BTreeMap::new() };
        match &file.content {
            SingleContent::Text(text) => {
                let what = What::File { size_bytes: text.len() as u64 };
                self.sink.file(place, what, &attributes, &mut text.as_bytes())
            }
            SingleContent::File(path) => {
                let mut content = std::fs::File::open(path)?;
                let what = What::File { size_bytes: content.metadata()?.len() };
                self.sink.file(place, what, &attributes, &mut content)
            }
        }
    }

    fn excluded(&self, path: &Path) -> bool {
        !self.plan.excludes.is_empty() && self.plan.excludes.ignores(&path.to_string_lossy())
    }

    /// What is in a folder; `path` is relative to the source.
    fn inside(&mut self, node: &Node, place: &Path, path: &Path) -> io::Result<()> {
        let Some(folder) = node.folder() else { return Ok(()) };
        if path.iter().count() > DEPTH_LIMIT {
            return Err(invalid("folders are nested too deeply"));
        }
        for name in folder.names()? {
            let Some(child) = folder.child(&name)? else { continue };
            let (path, place) = (path.join(&name), place.join(&name));
            let excluded = self.excluded(&path);
            match child.folder() {
                Some(_) if !excluded || self.plan.excludes.has_exceptions() => {
                    let real = self.resolved(&place)?;
                    if !excluded {
                        self.folder(&child, &place, &real)?;
                    }
                    self.inside(&child, &real, &path)?;
                }
                None if !excluded => {
                    self.make_parents(&place)?;
                    self.node(&child, &place)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a folder goes: a link that the tree has of its name stays, and the folder to which it leads is meant.
    fn resolved(&self, place: &Path) -> io::Result<PathBuf> {
        let found = self.base.find(place, true)?;
        match found.node {
            Some(node) if node.folder().is_none() => {
                Err(invalid(format!("cannot copy to non-directory: /{}", place.display())))
            }
            _ => Ok(found.real),
        }
    }

    /// A folder of the source that goes to `real`. One to which a link leads keeps its attributes.
    fn folder(&mut self, node: &Node, place: &Path, real: &Path) -> io::Result<()> {
        if real != place {
            return self.make_parents(&real.join("x"));
        }
        if self.made.insert(real.to_owned()) {
            let attributes = self.attributes(&node.stat, BTreeMap::new());
            self.sink.file(real, What::Folder, &attributes, &mut io::empty())?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, place: &Path) -> io::Result<()> {
        let stat = &node.stat;
        let device = |character| {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            What::Device { character, major, minor }
        };
        let what = match node.kind() {
            FileType::RegularFile => {
                let mut file = node.open()?;
                let attributes = self.attributes(stat, kept_xattrs(&file)?);
                let what = What::File { size_bytes: u64::try_from(stat.st_size).unwrap_or(0) };
                return self.sink.file(place, what, &attributes, &mut file);
            }
            FileType::Symlink => {
                let target = node.link()?;
                let attributes = self.attributes(stat, BTreeMap::new());
                return self.sink.file(place, What::Link(&target), &attributes, &mut io::empty());
            }
            FileType::CharacterDevice => device(true),
            FileType::BlockDevice => device(false),
            FileType::Fifo => What::Fifo,
            _ => return Err(invalid(format!("/{}: an image cannot hold a socket", place.display()))),
        };
        self.sink.file(place, what, &self.attributes(stat, BTreeMap::new()), &mut io::empty())
    }

    fn attributes(&self, stat: &Stat, xattrs: BTreeMap<String, Vec<u8>>) -> Attributes {
        let (uid, gid) = self.plan.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let mode = self.plan.mode.filter(|_| !link).unwrap_or(stat.st_mode & 0o7777);
        Attributes { mode, uid, gid, mtime_s: u64::try_from(stat.st_mtime).unwrap_or(0), xattrs }
    }

    /// Makes the folders that the target lacks.
    fn make_parents(&mut self, place: &Path) -> io::Result<()> {
        for folder in parents(place) {
            if self.made.contains(&folder) || self.there.contains(&folder) {
                continue;
            }
            if self.base.find(&folder, true)?.node.is_some() {
                self.there.insert(folder);
                continue;
            }
            let (uid, gid) = self.plan.owner.unwrap_or_default();
            let mtime_s = self.plan.now_s;
            let attributes = Attributes { mode: 0o755, uid, gid, mtime_s, xattrs: BTreeMap::new() };
            self.sink.file(&folder, What::Folder, &attributes, &mut io::empty())?;
            self.made.insert(folder);
        }
        Ok(())
    }
}

/// The attributes that images have a use for: file capabilities and users' own.
pub fn kept_xattrs(file: &std::fs::File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    use xattr::FileExt;
    let mut kept = BTreeMap::new();
    for name in file.list_xattr()? {
        let Some(text) = OsStr::to_str(&name) else { continue };
        if (text == "security.capability" || text.starts_with("user."))
            && let Some(value) = file.get_xattr(&name)?
        {
            kept.insert(text.to_owned(), value);
        }
    }
    Ok(kept)
}

#[cfg(test)]
#[path = "copy/tests.rs"]
mod tests;
