//! The runtime as a whole: builds the engine, takes over what runs, serves the CRI on a unix socket.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base::{Shutdown, Supervisor, TaskKind};
use cri::MAX_MESSAGE_BYTES;
use cri::v1::image_service_server::{ImageService, ImageServiceServer};
use cri::v1::runtime_service_server::RuntimeServiceServer;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Server as Grpc;

use crate::config::Config;
use crate::engine::{Deps, Engine, EngineError, NoticeReceiver};
use crate::service::{Runtime, StreamUrls};
use streaming::StreamBackend;

/// Calls of this path are about images.
const IMAGES_PREFIX: &str = "/runtime.v1.ImageService/";

/// A built runtime that doesn't serve yet.
pub struct Server {
    supervisor: Supervisor,
    engine: Arc<Engine>,
    notices: NoticeReceiver,
    listener: UnixListener,
}

impl Server {
    /// Makes directories and the socket, where clients may connect from now on, and reads how the machine's
    /// cgroups are. Needs a tokio runtime around it.
    pub fn build(config: &Config, deps: Deps) -> io::Result<Self> {
        let supervisor = deps.supervisor.clone();
        let (engine, notices) = Engine::new(config.clone(), deps)?;
        Ok(Self { supervisor, engine, notices, listener: listen(&config.socket)? })
    }

    /// What the streaming server runs processes with.
    pub fn stream_backend(&self) -> Arc<dyn StreamBackend> {
        Arc::new(crate::engine::EngineStreams::new(Arc::clone(&self.engine)))
    }

    /// What builds of images run their commands with.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// Adopts the pods that run and serves until `shutdown`; containers run on afterwards.
    ///
    /// # Errors
    /// When the socket can't be served.
    pub async fn run(
        self,
        images: impl ImageService,
        streams: Arc<dyn StreamUrls>,
        shutdown: Shutdown,
    ) -> io::Result<()> {
        follow(&self.engine, self.notices, &self.supervisor);
        let remains = self.engine.recover().await?;
        self.engine.remove_builds(None).await;
        let stopping = self.supervisor.shutdown().clone();
        self.supervisor.spawn(TaskKind::Background, "recover", async move {
            tokio::select! {
                () = remains.finish() => {}
                () = stopping.started() => {}
            }
        });
        let runtime = Runtime { engine: self.engine, streams, shutdown: shutdown.clone() };
        let services = Services {
            runtime: RuntimeServiceServer::new(runtime)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            images: ImageServiceServer::new(images)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        };
        let listener = UnixListenerStream::new(self.listener);
        Grpc::builder()
            .serve_with_incoming_shutdown(services, listener, async move { shutdown.started().await })
            .await
            .map_err(io::Error::other)
    }
}

impl Server {
    /// Ends and removes all that an earlier runtime of this configuration left: pods, mounts, namespaces, cgroups.
    ///
    /// # Errors
    /// The first thing that can't be removed.
    pub async fn remove_everything(self) -> Result<(), EngineError> {
        follow(&self.engine, self.notices, &self.supervisor);
        self.engine.recover().await?.finish().await;
        self.engine.remove_everything().await
    }
}

fn follow(engine: &Arc<Engine>, notices: NoticeReceiver, supervisor: &Supervisor) {
    let following = Arc::clone(engine).follow_shims(notices);
    let stopping = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Background, "follow-shims", async move {
        tokio::select! {
            () = following => {}
            () = stopping.started() => {}
        }
    });
}

/// Both services on one socket, distinguished by the path of a call.
#[derive(Clone)]
struct Services<R, I> {
    runtime: R,
    images: I,
}

type Call = http::Request<Body>;

impl<R, I> Service<Call> for Services<R, I>
where
    R: Service<Call, Response = http::Response<Body>, Error = Infallible>,
    I: Service<Call, Response = http::Response<Body>, Error = Infallible>,
    R::Future: Send + 'static,
    I::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated services are always ready.
        match self.runtime.poll_ready(cx) {
            Poll::Ready(Ok(())) => self.images.poll_ready(cx),
            other => other,
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if call.uri().path().starts_with(IMAGES_PREFIX) {
            Box::pin(self.images.call(call))
        } else {
            Box::pin(self.runtime.call(call))
        }
    }
}

/// A fresh socket that only its owner may use.
fn listen(path: &std::path::Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}
