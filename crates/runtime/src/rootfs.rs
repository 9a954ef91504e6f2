//! The contract between containers and images: what a container needs to know of its image, and
//! the overlay it is given. Images and snapshots implement [`Rootfs`]; containers only mount.

use async_trait::async_trait;

pub use shim::protocol::Overlay;

/// Root file systems made from images.
#[async_trait]
pub trait Rootfs: Send + Sync + 'static {
    /// The image of `reference` (a name, a digest or an image id).
    ///
    /// # Errors
    /// [`RootfsError::ImageNotFound`] when it isn't on this node.
    async fn image(&self, reference: &str) -> Result<Image, RootfsError>;

    /// Makes the directories of a writable layer for `container_id` over the image's layers.
    /// Nothing is mounted. Asking again for the same container gives the same layer.
    async fn prepare(&self, image_id: &str, container_id: &str) -> Result<Overlay, RootfsError>;

    /// Removes the writable layer; fine when there is none.
    async fn remove(&self, container_id: &str) -> Result<(), RootfsError>;

    /// What the writable layer takes on disk.
    async fn usage(&self, container_id: &str) -> Result<Usage, RootfsError>;

    /// The containers that have a writable layer, so that forgotten ones can be removed.
    async fn containers(&self) -> Result<Vec<String>, RootfsError>;
}

/// What containers need of an image (OCI image config).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…` of the image's config.
    pub id: String,
    /// A `name@digest` of the image; empty when it never came from a registry.
    pub digest_reference: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `KEY=value`
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty for root.
    pub user: String,
    pub working_dir: String,
    /// `SIGQUIT` or a number; empty for the default.
    pub stop_signal: String,
    /// Paths inside the container that want a volume of their own.
    pub volumes: Vec<String>,
}

/// Disk space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub used_bytes: u64,
    pub inodes: u64,
}

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    #[error("image {0:?} not found")]
    ImageNotFound(String),
    #[error("{context}: {source}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
    #[error("image {image} is damaged: {reason}")]
    Damaged { image: String, reason: String },
}
