//! A client's way to a driver of devices (dynamic resource allocation): claims prepared and unprepared.
//!
//! Start at [`connect`].

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::connect::{CONNECT, ConnectError, MAX_MESSAGE_BYTES, fail, stream};
use crate::devices_v1::{
    NodePrepareResourcesRequest, NodePrepareResourcesResponse, NodeUnprepareResourcesRequest,
    NodeUnprepareResourcesResponse,
};

/// What a driver speaks. The messages are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    V1,
    V1Beta1,
}

/// A call of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Prepare,
    Unprepare,
}

impl Service {
    /// All, the newest first.
    pub const ALL: [Self; 2] = [Self::V1, Self::V1Beta1];

    /// How a driver lists the service when it registers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1.DRAPlugin",
            Self::V1Beta1 => "v1beta1.DRAPlugin",
        }
    }

    /// The path by which a method is called.
    pub const fn path(self, method: Method) -> &'static str {
        match (self, method) {
            (Self::V1, Method::Prepare) => "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources",
            (Self::V1, Method::Unprepare) => {
                "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodeUnprepareResources"
            }
            (Self::V1Beta1, Method::Prepare) => {
                "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodePrepareResources"
            }
            (Self::V1Beta1, Method::Unprepare) => {
                "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodeUnprepareResources"
            }
        }
    }
}

/// Calls of a driver. Clones share its connection.
#[derive(Debug, Clone)]
pub struct DevicesClient {
    channel: Channel,
    service: Service,
}

/// Resolves when a connection has ended.
pub type Ended = oneshot::Receiver<()>;

/// Connects to the driver that listens on the unix socket `path`. The client works as long as this connection does.
///
/// # Errors
/// When nothing accepts a connection there within ten seconds.
pub async fn connect(path: &Path, service: Service) -> Result<(DevicesClient, Ended), ConnectError> {
    let (tell, ended) = oneshot::channel();
    let socket = path.to_owned();
    // Handed to the first connection: there is to be no second one that nobody knows the end of.
    let mut tell = Some(tell);
    let connector = tower::service_fn(move |_| {
        let (socket, tell) = (socket.clone(), tell.take());
        async move {
            let tell = tell.ok_or(io::ErrorKind::NotConnected)?;
            Ok::<_, io::Error>(TokioIo::new(Watched { stream: stream(&socket).await?, _tell: tell }))
        }
    });
    // The address is never resolved: the connector above decides where the bytes go.
    let endpoint = Endpoint::from_static("http://localhost");
    let connecting = endpoint.connect_with_connector(connector);
    let channel = match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| fail(path, &error))?,
        Err(_) => return Err(ConnectError::new(path, "context deadline exceeded".to_owned())),
    };
    Ok((DevicesClient { channel, service }, ended))
}

impl DevicesClient {
    /// # Errors
    /// What the driver says, or why it says nothing within `limit`.
    pub async fn prepare(
        &self,
        request: NodePrepareResourcesRequest,
        limit: Duration,
    ) -> Result<NodePrepareResourcesResponse, Status> {
        self.call(request, self.service.path(Method::Prepare), limit).await
    }

    /// # Errors
    /// What the driver says, or why it says nothing within `limit`.
    pub async fn unprepare(
        &self,
        request: NodeUnprepareResourcesRequest,
        limit: Duration,
    ) -> Result<NodeUnprepareResourcesResponse, Status> {
        self.call(request, self.service.path(Method::Unprepare), limit).await
    }

    pub fn service(&self) -> Service {
        self.service
    }

    async fn call<I, O>(&self, request: I, path: &'static str, limit: Duration) -> Result<O, Status>
    where
        I: prost::Message + Send + Sync + 'static,
        O: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let call = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<I, O>::default();
            grpc.unary(request, PathAndQuery::from_static(path), codec).await
        };
        let answer = tokio::time::timeout(limit, call).await;
        answer
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded")))
            .map(|a| a.into_inner())
    }
}

/// A connection whose end is told of.
struct Watched {
    stream: UnixStream,
    _tell: oneshot::Sender<()>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
