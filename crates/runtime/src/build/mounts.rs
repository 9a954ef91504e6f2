//! The mounts of one `RUN`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cri::v1::{ImageSpec, Mount as CriMount};
use dockerfile::{Mount, MountKind, Sharing};
use rustix::mount::MountFlags;

use super::outcome::Failure;
use super::tree::Folder;
use crate::digest::Digest;
use crate::image::caches::{Caches, Held};

/// What a command gets beside its files.
#[derive(Default)]
pub struct Mounts {
    pub mounts: Vec<CriMount>,
    /// Variables that hold secrets.
    pub secrets: Vec<(String, String)>,
}

/// Where mounts come from.
pub struct Places<'a> {
    pub context: &'a Path,
    /// Caches that outlive the build.
    pub caches: &'a Path,
    /// Names of caches that others use: private mounts get a folder of the build's own.
    pub taken: &'a BTreeSet<String>,
    /// Removed with the sandbox, and whatever is mounted in it.
    pub sandbox: &'a Path,
    /// Removed with the build.
    pub build: &'a Path,
}

impl Mounts {
    /// Adds `mount` at `target`; `image` is the reference of what it comes from, `secret` what a client sent.
    pub fn add(
        &mut self,
        mount: &Mount,
        target: &str,
        image: Option<String>,
        secret: Option<Vec<u8>>,
        places: &Places<'_>,
    ) -> Result<(), Failure> {
        let number = self.mounts.len();
        let source = mount.source.clone().unwrap_or_default();
        let mut made =
            CriMount { container_path: target.to_owned(), readonly: mount.read_only, ..CriMount::default() };
        match (mount.kind, image) {
            (MountKind::Bind, Some(image)) => {
                made.image = Some(ImageSpec { image, ..ImageSpec::default() });
                made.image_sub_path = source.trim_start_matches('/').to_owned();
            }
            (MountKind::Bind, None) => {
                if !mount.read_only {
                    return Err(Failure::new("a bind mount of the build context can only be read"));
                }
                made.host_path = path(&of_context(places.context, &source)?);
            }
            (MountKind::Cache, Some(_)) => {
                return Err(Failure::new("a cache mount with \"from\" is not supported"));
            }
            (MountKind::Cache, None) => {
                let id = mount.id.clone().unwrap_or_else(|| target.to_owned());
                made.host_path = path(&Self::cache(mount, &id, places).map_err(Failure::of)?);
            }
            (MountKind::Tmpfs, _) => {
                let dir = places.sandbox.join(format!("tmpfs-{number}"));
                tmpfs(&dir, mount.size_bytes).map_err(Failure::of)?;
                made.host_path = path(&dir);
            }
            (MountKind::Secret, _) => return self.secret(mount, target, secret, places),
        }
        self.mounts.push(made);
        Ok(())
    }

    fn cache(mount: &Mount, id: &str, places: &Places<'_>) -> io::Result<PathBuf> {
        let name = cache_name(id);
        std::fs::create_dir_all(places.caches)?;
        let dir = match places.taken.contains(&name) {
            true => places.build.join(format!("cache-{name}")),
            false => places.caches.join(&name),
        };
        if !dir.exists() {
            std::fs::create_dir(&dir)?;
            std::os::unix::fs::chown(&dir, Some(mount.uid), Some(mount.gid))?;
            std::fs::set_permissions(&dir, PermissionsExt::from_mode(mount.mode.unwrap_or(0o755)))?;
        }
        Ok(dir)
    }

    fn secret(
        &mut self,
        mount: &Mount,
        target: &str,
        secret: Option<Vec<u8>>,
        places: &Places<'_>,
    ) -> Result<(), Failure> {
        let Some(secret) = secret else {
            let id = mount.id.as_deref().unwrap_or(target);
            return if mount.required {
                Err(Failure::new(format!("secret {id}: not found")))
            } else {
                Ok(())
            };
        };
        if let Some(name) = &mount.env {
            let text = String::from_utf8(secret.clone());
            let text = text.map_err(|_| Failure::new(format!("the secret for ${name} is no text")))?;
            self.secrets.push((name.clone(), text));
            if mount.target.is_none() {
                return Ok(());
            }
        }
        let dir = places.sandbox.join(format!("secret-{}", self.mounts.len()));
        let file = dir.join("secret");
        let write = || -> io::Result<()> {
            tmpfs(&dir, None)?;
            let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            io::Write::write_all(&mut options?, &secret)?;
            std::os::unix::fs::chown(&file, Some(mount.uid), Some(mount.gid))?;
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mount.mode.unwrap_or(0o400)))
        };
        write().map_err(Failure::of)?;
        self.mounts.push(CriMount {
            container_path: target.to_owned(),
            host_path: path(&file),
            readonly: true,
            ..CriMount::default()
        });
        Ok(())
    }

    /// Gives a script to the command.
    pub fn script(&mut self, target: &str, content: &str, sandbox: &Path) -> io::Result<()> {
        let file = sandbox.join(format!("script-{}", self.mounts.len()));
        std::fs::write(&file, content)?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755))?;
        self.mounts.push(CriMount {
            container_path: target.to_owned(),
            host_path: path(&file),
            readonly: true,
            ..CriMount::default()
        });
        Ok(())
    }
}

fn cache_name(id: &str) -> String {
    Digest::of(id.as_bytes()).hex()[..32].to_owned()
}

/// Waits for the caches of one command, each once and in one order for all builds: nobody waits in a circle. The names
/// of those that stay with others, which only private mounts want.
pub async fn hold(wanted: &[(String, Sharing)], caches: &Caches) -> (Vec<Held>, BTreeSet<String>) {
    let strength = |sharing: Sharing| match sharing {
        Sharing::Private => 0,
        Sharing::Shared => 1,
        Sharing::Locked => 2,
    };
    let mut by_name: BTreeMap<String, Sharing> = BTreeMap::new();
    for (id, sharing) in wanted {
        let known = by_name.entry(cache_name(id)).or_insert(*sharing);
        if strength(*sharing) > strength(*known) {
            *known = *sharing;
        }
    }
    let (mut held, mut taken) = (Vec::new(), BTreeSet::new());
    for (name, sharing) in by_name {
        match sharing {
            Sharing::Shared => held.push(caches.shared(&name).await),
            Sharing::Locked => held.push(caches.alone(&name).await),
            Sharing::Private => match caches.try_alone(&name) {
                Some(alone) => held.push(alone),
                None => drop(taken.insert(name)),
            },
        }
    }
    (held, taken)
}

/// A path of the context; its links lead to places within the context.
fn of_context(context: &Path, source: &str) -> Result<PathBuf, Failure> {
    let root = Folder::root(&[context.to_owned()]).map_err(Failure::of)?;
    let found = root.find(Path::new(source), true).map_err(Failure::of)?;
    match found.node {
        Some(_) => Ok(context.join(found.real)),
        None => Err(Failure::new(format!("\"/{}\": not found", source.trim_start_matches('/')))),
    }
}

fn tmpfs(dir: &Path, size_bytes: Option<u64>) -> io::Result<()> {
    std::fs::create_dir(dir)?;
    let options = size_bytes.map_or_else(|| "mode=1777".to_owned(), |size| format!("mode=1777,size={size}"));
    let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount("tmpfs", dir, "tmpfs", flags, options.as_c_str())?)
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wanted(ids: &[&str], sharing: Sharing) -> Vec<(String, Sharing)> {
        ids.iter().map(|id| ((*id).to_owned(), sharing)).collect()
    }

    #[tokio::test]
    async fn commands_wait_for_caches_without_a_circle() {
        let caches = Caches::new(PathBuf::from("/nowhere"));
        let twice = hold(&wanted(&["a", "a"], Sharing::Locked), &caches).await;
        assert_eq!(twice.0.len(), 1);
        drop(twice);
        // Each gives way while it holds both.
        let one = |ids: &'static [&'static str]| {
            let caches = &caches;
            async move {
                for _ in 0..100 {
                    let held = hold(&wanted(ids, Sharing::Locked), caches).await;
                    tokio::task::yield_now().await;
                    drop(held);
                }
            }
        };
        let both = async { tokio::join!(one(&["a", "b"]), one(&["b", "a"])) };
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("no circle");
    }

    #[tokio::test]
    async fn a_private_mount_gets_its_own_where_another_is_there() {
        let caches = Caches::new(PathBuf::from("/nowhere"));
        let (held, taken) = hold(&wanted(&["a"], Sharing::Private), &caches).await;
        assert_eq!((held.len(), taken.len()), (1, 0));
        let (none, taken) = hold(&wanted(&["a", "a"], Sharing::Private), &caches).await;
        assert_eq!((none.len(), taken.contains(&cache_name("a"))), (0, true));
    }
}
