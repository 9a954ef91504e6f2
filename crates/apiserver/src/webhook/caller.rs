//! [`Caller`]: sends requests to webhooks over connections that it keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::{Supervisor, TaskKind};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;

use super::callee::Callee;
use super::connector::Connector;
use super::credentials::{Credentials, User};
use super::failure::{self, Failure};
use super::resolve::Resolve;
use super::trust::{self, Trusted};

/// The largest answer taken, in bytes: a patch that replaces the largest object, in base64, with room to spare.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// How many webhooks have connections kept for them, as upstream.
const MAX_CLIENTS: usize = 200;
/// A connection that was free for longer is not used again, as upstream.
const MAX_IDLE: Duration = Duration::from_secs(90);

type HttpClient = Client<Connector, Full<Bytes>>;

/// See the module's documentation. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Caller {
    resolve: Arc<dyn Resolve>,
    tasks: Tasks,
    clients: Clients,
    /// As whom webhooks are called.
    credentials: Option<Arc<Credentials>>,
}

/// By webhook, and as whom it is called.
type Clients = Arc<Mutex<HashMap<(Arc<Callee>, usize), HttpClient>>>;

impl Caller {
    pub fn new(resolve: Arc<dyn Resolve>, supervisor: &Supervisor) -> Self {
        let clients = Clients::default();
        let (shutdown, kept) = (supervisor.shutdown().clone(), Arc::clone(&clients));
        supervisor.spawn(TaskKind::Background, "webhook-connections", async move {
            shutdown.started().await;
            // What is free is closed with them; calls go on to their end.
            kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Self { resolve, tasks: Tasks(supervisor.clone()), clients, credentials: None }
    }

    /// The same, with credentials.
    pub(crate) fn with(&self, credentials: Option<Arc<Credentials>>) -> Self {
        Self { credentials, ..self.clone() }
    }

    fn user(&self, callee: &Callee) -> Option<&User> {
        self.credentials.as_ref()?.of(callee)
    }

    /// Sends JSON and returns the JSON that is answered. Cancellation safe.
    ///
    /// # Errors
    /// When there is no answer within `timeout`, or one that is no success or too large.
    pub(crate) async fn post(
        &self,
        callee: &Arc<Callee>,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, Failure> {
        let url = callee.url(timeout.as_secs());
        let unreached = |why: &str| Failure::unreached(&url, why);
        let client = self.client(callee).map_err(|why| unreached(&why))?;
        let mut request = Request::builder().method(Method::POST).uri(&url);
        if let Some(authorization) = self.user(callee).and_then(|user| user.authorization.clone()) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .header("accept", "application/json, */*")
            .header("content-type", "application/json")
            .header("user-agent", "kube-apiserver-admission")
            .body(Full::from(body))
            .map_err(|error| unreached(&error.to_string()))?;
        let exchange = async {
            let response =
                client.request(request).await.map_err(|error| unreached(&failure::cause(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body =
                body.map_err(|error| Failure::unreadable(format!("the answer cannot be read: {error}")))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| unreached("context deadline exceeded"))??;
        if status.is_success() { Ok(body) } else { Err(Failure::answered(status, &body)) }
    }

    fn client(&self, callee: &Arc<Callee>) -> Result<HttpClient, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(callee), self.credentials.as_ref().map_or(0, |of| Arc::as_ptr(of) as usize));
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let identity = self.user(callee).and_then(|user| user.identity.as_ref());
        let tls = trust::client(Trusted::Bundle(&callee.ca_bundle), identity)?;
        let connector = Connector { callee: Arc::clone(callee), resolve: Arc::clone(&self.resolve), tls };
        let client = Client::builder(self.tasks.clone()).pool_idle_timeout(MAX_IDLE).build(connector);
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Has the supervisor run the tasks of connections.
#[derive(Clone)]
pub(crate) struct Tasks(pub Supervisor);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn(TaskKind::Background, "webhook-connection", async move {
            work.await;
        });
    }
}
