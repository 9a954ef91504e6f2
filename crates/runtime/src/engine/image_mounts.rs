//! Images that a container has as volumes: each mounted beside the container's files, with a writable layer that nobody
//! writes to and that keeps the image's layers from being removed.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use cri::v1::Mount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::container::Container;
use super::sandboxes::remove_tree;
use super::{Engine, EngineError};

/// Between the container's id and the number of its image, in the name of a layer.
const SEPARATOR: char = '-';

/// The container that a writable layer belongs to.
pub(super) fn owner(layer: &str) -> &str {
    layer.split(SEPARATOR).next().unwrap_or(layer)
}

fn images(container: &Container) -> impl Iterator<Item = (String, &Mount)> {
    let mounts = container.config.mounts.iter().filter(|mount| mount.image.is_some());
    mounts.enumerate().map(|(n, mount)| (format!("{}{SEPARATOR}{n}", container.id), mount))
}

fn point(container: &Container, layer: &str) -> PathBuf {
    container.dir.join("images").join(layer)
}

impl Engine {
    /// Mounts the images; where each, or what of each is wanted, can be found, in the order of the container's mounts.
    pub(super) async fn mount_images(&self, container: &Container) -> Result<Vec<PathBuf>, EngineError> {
        let mut found = Vec::new();
        for (layer, mount) in images(container) {
            let reference = mount.image.as_ref().map(|image| image.image.as_str()).unwrap_or_default();
            let image = self.deps.rootfs.image(reference).await?;
            let overlay = self.deps.rootfs.prepare(&image.id, &layer).await?;
            let point = point(container, &layer);
            shim::mount_overlay(&overlay, &point)?;
            found.push(within(&point, &mount.image_sub_path)?);
        }
        Ok(found)
    }

    /// Takes them down again; fine where there are none.
    pub(super) async fn unmount_images(&self, container: &Container) {
        let layers: Vec<String> = images(container).map(|(layer, _)| layer).collect();
        if layers.is_empty() {
            return;
        }
        if let Err(error) = remove_tree(&container.dir.join("images")) {
            tracing::warn!(container = %container.id, %error, "images stay mounted");
        }
        for layer in layers {
            if let Err(error) = self.deps.rootfs.remove(&layer).await {
                tracing::warn!(container = %container.id, %error, "an image's layer is left behind");
            }
        }
    }
}

/// A path of an image. Its links lead to places within the image, as they would in a container of it.
fn within(root: &Path, sub_path: &str) -> Result<PathBuf, EngineError> {
    if sub_path.is_empty() {
        return Ok(root.to_owned());
    }
    let refuse = |error: std::io::Error| {
        EngineError::State(format!("the sub path {sub_path:?} of an image volume cannot be had: {error}"))
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root =
        rustix::fs::openat2(CWD, root, flags | OFlags::DIRECTORY, Mode::empty(), ResolveFlags::empty());
    let root = root.map_err(|error| refuse(error.into()))?;
    let found = rustix::fs::openat2(&root, sub_path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let found = found.map_err(|error| refuse(error.into()))?;
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_an_image_do_not_lead_out_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path").join("image");
        fs::create_dir_all(root.join("etc")).expect("a folder");
        fs::write(root.join("etc/passwd"), "").expect("a file");
        std::os::unix::fs::symlink("/etc", root.join("link")).expect("a link");
        let found = |sub: &str| within(&root, sub).map_err(|error| error.to_string());
        assert_eq!(found(""), Ok(root.clone()));
        assert_eq!(found("link/passwd"), Ok(root.join("etc/passwd")));
        assert_eq!(found("../../etc"), Ok(root.join("etc")), "above the root is the root");
        let missing = found("none").expect_err("it is not there");
        assert!(missing.contains("\"none\" of an image volume cannot be had: No such file"), "{missing}");
    }

    #[test]
    fn a_layer_names_its_container() {
        assert_eq!((owner("abc-0"), owner("abc")), ("abc", "abc"));
    }
}
