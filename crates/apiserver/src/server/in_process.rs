//! The transport of components in the same process: the pipeline without a socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;

use super::pipeline;
use crate::body::{Body, BoxError};
use crate::context::Context;
use crate::request::User;
use crate::request::call::Peer;

/// A `tower::Service` to build a `kube::Client` on. It carries an identity instead of credentials
/// and enters the pipeline behind authentication: authorization, admission and limits apply.
#[derive(Clone)]
pub struct InProcess {
    context: Arc<Context>,
    peer: Arc<Peer>,
    agent: Option<HeaderValue>,
}

impl InProcess {
    pub(super) fn new(context: Arc<Context>, user: Arc<User>) -> Self {
        Self { context, peer: Arc::new(Peer::in_process(user)), agent: None }
    }

    /// The same, introducing itself as `component`: managed fields and the audit log name it so.
    #[must_use]
    pub fn named(mut self, component: &str) -> Self {
        let agent = format!("{component}/{} (knarr)", api::TRACKED_VERSION);
        self.agent = HeaderValue::try_from(agent).ok();
        self
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (context, peer) = (Arc::clone(&self.context), Arc::clone(&self.peer));
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        if let Some(agent) = &self.agent {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
        }
        Box::pin(async move { Ok(pipeline::serve(context, peer, request).await.map(Body::in_process)) })
    }
}
