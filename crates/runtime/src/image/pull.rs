//! Pulling: resolve a name, fetch what is missing, unpack in order while later layers still download.
//!
//! Owns the order of a pull. Cancel safe: dropping it ends the downloads, and what no image needs is
//! removed. Never retries: the kubelet does, with back-off.

use std::io::Write;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::error::{ContentError, ImageError, PullError};
use super::holds::Item;
use super::manifest::{DOCUMENT_LIMIT_BYTES, Descriptor, Document, Manifest, Platform};
use super::name::{ImageName, Version};
use super::records::ImageRecord;
use super::registry::{Credentials, Endpoint};
use super::store::{ImageStore, Names, Work};
use crate::digest::Digest;

/// Chunks of a download waiting for the disk.
const CHUNK_QUEUE: usize = 16;

impl ImageStore {
    /// Pulls `reference` for this machine; what is here already is not fetched again.
    ///
    /// The process must have a default TLS crypto provider installed.
    pub async fn pull(&self, reference: &str, credentials: &Credentials) -> Result<ImageRecord, ImageError> {
        let name: ImageName =
            reference.parse().map_err(|source| ImageError::Name { text: reference.to_owned(), source })?;
        let pulled = self.pull_name(&name, credentials).await;
        pulled.map_err(|cause| ImageError::Pull { name: name.to_string(), cause })
    }

    async fn pull_name(&self, name: &ImageName, credentials: &Credentials) -> Result<ImageRecord, PullError> {
        let work = self.inner.work();
        let (endpoint, top) = self.resolve(name, credentials, &work).await?;
        let manifest = self.fetch_manifest(&endpoint, &work, top).await?;
        self.fetch_blob(&endpoint, &work, &manifest.config, DOCUMENT_LIMIT_BYTES).await?;
        self.fetch_layers(&endpoint, &work, manifest).await?;
        let mut names = Names::default();
        names.digests.insert(name.at_digest(top).to_string());
        if let Version::Tag(_) = name.version() {
            names.tags.insert(name.to_string());
        }
        self.blocking(move |_| work.record(top, names)).await.map_err(store_error)
    }

    /// Asks each endpoint in turn; the error of the name's own registry is the one that is reported.
    async fn resolve(
        &self,
        name: &ImageName,
        credentials: &Credentials,
        work: &Arc<Work>,
    ) -> Result<(Endpoint, Digest), PullError> {
        let mut failure = PullError::NotFound { reference: name.to_string() };
        for endpoint in Endpoint::all(name, credentials, &self.inner.options.registries)? {
            match endpoint.resolve().await {
                Ok(bytes) => return Ok((endpoint, self.put(work, bytes).await?)),
                Err(error) => {
                    tracing::debug!(image = %name, %error, "a registry could not resolve the image");
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn put(&self, work: &Arc<Work>, bytes: Vec<u8>) -> Result<Digest, PullError> {
        let work = Arc::clone(work);
        self.blocking(move |_| Ok(work.put(&bytes)?)).await.map_err(store_error)
    }

    /// Follows indexes to this machine's manifest, storing each document on the way.
    async fn fetch_manifest(
        &self,
        endpoint: &Endpoint,
        work: &Arc<Work>,
        top: Digest,
    ) -> Result<Manifest, PullError> {
        let mut digest = top;
        for _ in 0..4 {
            let bytes = {
                let inner = Arc::clone(&self.inner);
                self.blocking(move |_| Ok(inner.read_document(&digest)?)).await.map_err(store_error)?
            };
            match Document::parse(&bytes).map_err(ContentError::from)? {
                Document::Manifest(manifest) => return Ok(manifest),
                Document::Index(index) => {
                    digest = index.choose(&Platform::host()).ok_or(ContentError::NoPlatform)?.digest;
                    self.put(work, endpoint.manifest(&digest).await?).await?;
                }
            }
        }
        Err(ContentError::NoPlatform.into())
    }

    async fn fetch_layers(
        &self,
        endpoint: &Endpoint,
        work: &Arc<Work>,
        manifest: Manifest,
    ) -> Result<(), PullError> {
        let config = {
            let (work, manifest) = (Arc::clone(work), manifest.clone());
            self.blocking(move |_| Ok(work.config(&manifest)?)).await.map_err(store_error)?
        };
        let slots = Arc::new(Semaphore::new(self.inner.options.registries.concurrent_layers.max(1)));
        let mut downloads = JoinSet::new();
        let mut arrivals = Vec::with_capacity(manifest.layers.len());
        for layer in &manifest.layers {
            let (done, arrival) = oneshot::channel();
            arrivals.push(arrival);
            let (store, endpoint, work, slots, layer) =
                (self.clone(), endpoint.clone(), Arc::clone(work), Arc::clone(&slots), layer.clone());
            let limit_bytes = self.inner.options.layer_limits.size_bytes;
            downloads.spawn(async move {
                // The semaphore is never closed; without a permit the layer is fetched all the same.
                let _slot = slots.acquire_owned().await;
                let fetched = store.fetch_blob(&endpoint, &work, &layer, limit_bytes).await;
                // The receiver is gone only when the whole pull is.
                drop(done.send(fetched));
            });
        }
        let mut chain = Vec::with_capacity(arrivals.len());
        for ((arrival, layer), diff_id) in
            arrivals.into_iter().zip(manifest.layers).zip(config.rootfs.diff_ids)
        {
            arrival.await.map_err(|_| store_error(ImageError::Cancelled))??;
            let (work, parents) = (Arc::clone(work), chain.clone());
            let unpack = self.blocking(move |_| Ok(work.unpack(&parents, &diff_id, &layer.digest)?));
            chain.push(unpack.await.map_err(store_error)?);
        }
        Ok(())
    }

    async fn fetch_blob(
        &self,
        endpoint: &Endpoint,
        work: &Arc<Work>,
        blob: &Descriptor,
        limit_bytes: u64,
    ) -> Result<(), PullError> {
        let (digest, size_bytes) = (blob.digest, blob.size);
        if size_bytes > limit_bytes {
            let reason = format!("{size_bytes} bytes exceed the limit of {limit_bytes}");
            return Err(PullError::Fetch { what: format!("blob {digest}"), reason });
        }
        work.hold(Item::Blob(digest));
        let _alone = self.inner.downloads.enter(endpoint.host(), digest).await;
        let size = self.blocking(move |inner| Ok(inner.content.size(&digest).ok().flatten())).await;
        if size.map_err(store_error)? == Some(size_bytes) {
            return Ok(());
        }
        let mut download = endpoint.blob(&digest).await?;
        let (chunks, queue) = mpsc::channel::<bytes::Bytes>(CHUNK_QUEUE);
        let held = Arc::clone(work);
        let writing = self.blocking(move |inner| {
            let stored = write_blob(&inner.content, queue, digest, size_bytes);
            drop(held);
            Ok(stored.map_err(|source| ContentError::Blob { digest, source })?)
        });
        let reading = async move {
            while let Some(chunk) = download.chunk().await? {
                if chunks.send(chunk).await.is_err() {
                    break; // the writer failed and says why
                }
            }
            Ok::<_, PullError>(())
        };
        let (written, read) = tokio::join!(writing, reading);
        read?;
        written.map_err(store_error)
    }
}

fn write_blob(
    content: &super::ContentStore,
    mut queue: mpsc::Receiver<bytes::Bytes>,
    digest: Digest,
    size_bytes: u64,
) -> std::io::Result<()> {
    let mut ingest = content.begin(size_bytes)?;
    while let Some(chunk) = queue.blocking_recv() {
        ingest.write_all(&chunk)?;
    }
    ingest.commit_as(&digest, size_bytes)
}

fn store_error(error: ImageError) -> PullError {
    match error {
        ImageError::Content(error) => PullError::Content(error),
        other => PullError::Store(Box::new(other)),
    }
}

#[cfg(test)]
#[path = "pull/privileged.rs"]
mod privileged;
