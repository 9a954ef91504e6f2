//! One build as a client has it: files on the node while it goes on, events, and its end.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use base::{Clock, TaskKind};
use tokio::sync::mpsc;

use super::builder::Builder;
use super::outcome::{Events, Failure};
use super::request::{Event, Request};
use super::run::Runner;
use crate::engine::Engine;
use crate::image::{ImageError, ImageStore};
use crate::snapshot::LayerLimits;
use crate::snapshot::layer::apply;

/// What a context may hold.
const CONTEXT_LIMITS: LayerLimits = LayerLimits { size_bytes: 16 << 30, entries: 500_000 };
/// Builds that go on at the same time; more wait.
const CONCURRENT: usize = 4;
const EVENT_QUEUE: usize = 256;

/// The node's builds.
#[derive(Clone)]
pub struct Builds {
    store: ImageStore,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    slots: Arc<tokio::sync::Semaphore>,
}

impl Builds {
    pub fn new(store: ImageStore, engine: Arc<Engine>, clock: Arc<dyn Clock>) -> Self {
        let slots = Arc::new(tokio::sync::Semaphore::new(CONCURRENT));
        Self { store, engine, clock, slots }
    }

    /// Unpacks the context out of `archive`, then builds. The build ends when its events are no longer received.
    pub async fn start(
        &self,
        request: Request,
        archive: impl Read + Send + 'static,
    ) -> Result<mpsc::Receiver<Event>, ImageError> {
        let id: [u8; 8] = base::random::bytes();
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let files = Files { dir: self.store.root().join("builds").join(&id) };
        let context = files.dir.join("context");
        let unpacked = tokio::task::spawn_blocking(move || -> Result<Files, ImageError> {
            let io = |source| ImageError::Io { context: "the build context".to_owned(), source };
            std::fs::create_dir_all(&context).map_err(io)?;
            let applied = apply(archive, &context, &[], CONTEXT_LIMITS);
            applied.map_err(|error| ImageError::Archive(error.to_string()))?;
            Ok(files)
        });
        let files = unpacked.await.map_err(|_| ImageError::Cancelled)??;
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let this = self.clone();
        self.engine.supervisor().spawn(TaskKind::Background, "image-build", async move {
            this.build(id, request, files, Events::new(sender)).await;
        });
        Ok(receiver)
    }

    async fn build(self, id: String, request: Request, files: Files, events: Events) {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await;
        let runner = Runner::new(Arc::clone(&self.engine), id.clone());
        let now = self.clock.now();
        let composer = self.store.composer();
        let outcome = {
            let made = Builder::new(&self.store, &composer, &runner, &request, &files.dir, &events, now);
            let work = async { made?.build().await };
            tokio::select! {
                outcome = work => outcome,
                () = events.closed() => Err(Failure::new("the client left")),
                () = self.engine.supervisor().shutdown().started() => Err(Failure::new("the node is stopping")),
            }
        };
        runner.finish().await;
        composer.withdraw_all(&id);
        let last = match outcome {
            Ok((image, names)) => Event::Built { image, names },
            Err(Failure { message, place, step }) => Event::Failed { id: step, message, place },
        };
        drop(files);
        events.tell(last).await;
    }
}

/// A build's directory on the node, removed with it.
struct Files {
    dir: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        match base::remove_tree(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.dir.display(), %error, "a build's files stay until the next start");
            }
            _ => {}
        }
    }
}
