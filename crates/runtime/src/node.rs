//! The whole runtime of a node: the image store, the CRI socket, the streaming server and the import socket,
//! built and run together. This is what a binary uses.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::{Clock, Shutdown, Supervisor};
use tonic::Status;

use crate::build::Builds;
use crate::config::Config;
use crate::engine::{Deps, EngineError};
use crate::image::{ImageError, ImageServer, ImageStore, Options};
use crate::server::Server;
use crate::service::StreamUrls;
use crate::socket;
use streaming::{Stdio, StreamingConfig, StreamingServer, TooManyPending};

/// The settings of a node's runtime.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub runtime: Config,
    pub images: Options,
    pub streaming: StreamingConfig,
    /// Where archives are imported and images built.
    pub import_socket: PathBuf,
}

/// Why a node's runtime could not be built.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Images(#[from] ImageError),
    #[error("the container runtime: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A built runtime; see [`Node::run`].
pub struct Node {
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    images: ImageStore,
    streaming: StreamingServer,
    server: Server,
}

impl Node {
    /// Opens the image store and binds the sockets: clients may connect from now on and are answered once
    /// [`Node::run`] has taken over the pods that run.
    pub async fn build(
        config: NodeConfig,
        clock: Arc<dyn Clock>,
        supervisor: Supervisor,
    ) -> Result<Self, NodeError> {
        let options = config.images.clone();
        let opened = tokio::task::spawn_blocking(move || ImageStore::open(options)).await;
        let images = opened.map_err(io::Error::other)??;
        let deps = Deps { rootfs: Arc::new(images.clone()), clock: Arc::clone(&clock), supervisor };
        let server = Server::build(&config.runtime, deps)?;
        let streaming = StreamingServer::bind(config.streaming.clone(), server.stream_backend()).await?;
        Ok(Self { config, clock, images, streaming, server })
    }

    /// The image store, for imports from inside the process.
    pub fn images(&self) -> &ImageStore {
        &self.images
    }

    /// Serves until `shutdown`; containers run on afterwards.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), NodeError> {
        let builds = Builds::new(self.images.clone(), self.server.engine(), Arc::clone(&self.clock));
        let service = ImageServer::new(self.images.clone(), self.clock);
        let urls = Arc::new(self.streaming.clone());
        let streaming = async {
            self.streaming.run(shutdown.clone()).await;
            Ok(())
        };
        tokio::try_join!(
            self.server.run(service, urls, shutdown.clone()),
            streaming,
            socket::serve(self.images, Some(builds), &self.config.import_socket, shutdown.clone()),
        )?;
        Ok(())
    }

    /// Ends and removes every pod with its mounts, namespaces and cgroups, also what an earlier, killed runtime
    /// of this configuration left. Images stay.
    pub async fn remove_pods(self) -> Result<(), NodeError> {
        Ok(self.server.remove_everything().await?)
    }
}

impl StreamUrls for StreamingServer {
    fn exec(&self, container: &str, command: &[String], stdio: Stdio) -> Result<String, Status> {
        self.exec_url(container, command, stdio).map_err(exhausted)
    }

    fn attach(&self, container: &str, stdio: Stdio) -> Result<String, Status> {
        self.attach_url(container, stdio).map_err(exhausted)
    }

    fn port_forward(&self, sandbox: &str, ports: &[u16]) -> Result<String, Status> {
        self.port_forward_url(sandbox, ports).map_err(exhausted)
    }
}

fn exhausted(error: TooManyPending) -> Status {
    Status::resource_exhausted(error.to_string())
}
