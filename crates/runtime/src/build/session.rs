//! One build as a client has it: files on the node while it goes on, events, and its end.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, TaskKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::builder::Builder;
use super::files::Files;
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
/// Builds that wait, each with a thread.
const WAITING: usize = 64;
const EVENT_QUEUE: usize = 256;
/// How long a client that does not read is given for the last event.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The node's builds.
#[derive(Clone)]
pub struct Builds {
    store: ImageStore,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    slots: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Builds {
    pub fn new(store: ImageStore, engine: Arc<Engine>, clock: Arc<dyn Clock>) -> Self {
        let (slots, places) = (Arc::new(Semaphore::new(CONCURRENT)), Arc::new(Semaphore::new(WAITING)));
        Self { store, engine, clock, slots, places }
    }

    /// Unpacks the context out of `archive`, then builds. The build ends when its events are no longer received.
    pub async fn start(
        &self,
        request: Request,
        archive: impl Read + Send + 'static,
    ) -> Result<mpsc::Receiver<Event>, ImageError> {
        let id: [u8; 8] = base::random::bytes();
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let files = Files::new(self.store.root().join("builds").join(&id));
        let ending = files.ending();
        let (job, slot) = (Arc::clone(&files), self.slot());
        let runtime = tokio::runtime::Handle::current();
        let unpacked = tokio::task::spawn_blocking(move || -> Result<_, ImageError> {
            let io = |source| ImageError::Io { context: "the build context".to_owned(), source };
            // Waited for on this thread: what is left of an archive is read where it is dropped.
            let slot = runtime.block_on(slot)?;
            let context = job.dir.join("context");
            std::fs::create_dir_all(&context).map_err(io)?;
            let applied = apply(job.until_over(archive), &context, &[], CONTEXT_LIMITS);
            applied.map_err(|error| ImageError::Archive(error.to_string()))?;
            Ok(slot)
        });
        let slot = unpacked.await.map_err(|_| ImageError::Cancelled)??;
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let this = self.clone();
        self.engine.supervisor().spawn(TaskKind::Background, "image-build", async move {
            let _ending = ending;
            this.build(id, request, files, slot, Events::new(sender)).await;
        });
        Ok(receiver)
    }

    /// Waits for a slot; nobody waits for ever for one, nor behind too many others.
    fn slot(&self) -> impl Future<Output = Result<OwnedSemaphorePermit, ImageError>> + Send + use<> {
        let (slots, place) = (Arc::clone(&self.slots), Arc::clone(&self.places).try_acquire_owned());
        let stopping = self.engine.supervisor().shutdown().clone();
        async move {
            let many = |_| {
                let source = std::io::Error::other("too many builds wait");
                ImageError::Io { context: "the build".to_owned(), source }
            };
            let _place = place.map_err(many)?;
            tokio::select! {
                slot = slots.acquire_owned() => slot.map_err(|_| ImageError::Cancelled),
                () = stopping.started() => Err(ImageError::Cancelled),
            }
        }
    }

    async fn build(
        self,
        id: String,
        request: Request,
        files: Arc<Files>,
        slot: OwnedSemaphorePermit,
        events: Events,
    ) {
        let runner = Runner::new(Arc::clone(&self.engine), id.clone());
        let now = self.clock.now();
        let composer = self.store.composer();
        let outcome = {
            let made = Builder::new(&self.store, &composer, &runner, &request, &files, &events, now);
            let work = async { made?.build().await };
            tokio::select! {
                outcome = work => outcome,
                () = events.closed() => Err(Failure::new("the client left")),
                () = self.engine.supervisor().shutdown().started() => Err(Failure::new("the node is stopping")),
            }
        };
        files.end();
        runner.finish().await;
        composer.withdraw_all(&id);
        let last = match outcome {
            Ok((image, names)) => Event::Built { image, names },
            Err(Failure { message, place, step }) => Event::Failed { id: step, message, place },
        };
        drop(files);
        drop(slot);
        tokio::select! {
            biased;
            () = events.tell(last) => {}
            () = self.engine.supervisor().shutdown().started() => {}
            () = tokio::time::sleep(LAST_EVENT_TIMEOUT) => {
                tracing::warn!(build = id, "a build's client does not read the end");
            }
        }
    }
}
