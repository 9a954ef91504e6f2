//! [`Clients`]: connections to servers, kept for further requests; [`FrontProxy`]: as whom this server makes them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use base::{Supervisor, TaskKind};
use http::Uri;
use hyper_util::client::legacy::Client;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serving::TlsError;

use super::registry::Server;
use crate::body::RequestBody;
use crate::webhook::Tasks;
use crate::webhook::connector::{self, Stream};
use crate::webhook::failure::Unconnected;
use crate::webhook::trust::{self, Identity, Trusted};

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A connection that was free for longer is not used again, as upstream.
const MAX_IDLE: Duration = Duration::from_secs(90);
/// How many servers have connections kept for them.
const MAX_SERVERS: usize = 200;

pub(super) type HttpClient = Client<Connector, RequestBody>;

/// The certificate by which other servers know that the users named in requests' headers are true. Replaced while the
/// server runs: new connections show the new one.
pub struct FrontProxy(ArcSwap<Identity>);

impl FrontProxy {
    /// From PEM.
    ///
    /// # Errors
    /// When a part cannot be parsed.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(identity(chain, key)?)))
    }

    /// Replaces the certificate.
    ///
    /// # Errors
    /// As [`Self::from_pem`]; the old one stays then.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.0.store(Arc::new(identity(chain, key)?));
        Ok(())
    }
}

fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, TlsError> {
    let bad = |what: &'static str| {
        move |e: rustls::pki_types::pem::Error| TlsError::Pem { what, why: e.to_string() }
    };
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(bad("front proxy's certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(bad("front proxy's key"))?;
    Ok(Identity { chain, key })
}

/// See the module's documentation.
pub(super) struct Clients {
    identity: Arc<FrontProxy>,
    tasks: Tasks,
    kept: Arc<Mutex<HashMap<Arc<Server>, Kept>>>,
}

/// A client, and what it shows of itself.
struct Kept {
    identity: Arc<Identity>,
    client: HttpClient,
}

impl Clients {
    pub fn new(identity: Arc<FrontProxy>, supervisor: &Supervisor) -> Self {
        let kept: Arc<Mutex<HashMap<Arc<Server>, Kept>>> = Arc::default();
        let (shutdown, open) = (supervisor.shutdown().clone(), Arc::clone(&kept));
        supervisor.spawn(TaskKind::Background, "aggregated-connections", async move {
            shutdown.started().await;
            // What is free is closed with them; requests go on to their end.
            open.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Self { identity, tasks: Tasks(supervisor.clone()), kept }
    }

    /// The client of a server. Its connections are kept by endpoint.
    ///
    /// # Errors
    /// Why what the server is to be known by cannot be used.
    pub fn of(&self, server: &Arc<Server>) -> Result<HttpClient, String> {
        let identity = self.identity.0.load_full();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(server).filter(|known| Arc::ptr_eq(&known.identity, &identity)) {
            return Ok(known.client.clone());
        }
        let trusted = if server.insecure { Trusted::Anything } else { Trusted::Bundle(&server.ca_bundle) };
        let connector =
            Connector { name: server.host().into(), tls: trust::client(trusted, Some(&identity))? };
        let client = Client::builder(self.tasks.clone()).pool_idle_timeout(MAX_IDLE).build(connector);
        if kept.len() >= MAX_SERVERS {
            kept.clear();
        }
        kept.insert(Arc::clone(server), Kept { identity, client: client.clone() });
        Ok(client)
    }
}

/// Connects to the endpoint that a request's URI names, where the server of this name has to answer.
#[derive(Clone)]
pub(super) struct Connector {
    name: Arc<str>,
    tls: Arc<ClientConfig>,
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Unconnected;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Unconnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unconnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let Self { name, tls } = self.clone();
        Box::pin(async move {
            let host = endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let port = endpoint.port_u16().unwrap_or(443);
            let connecting = connector::connect(host, port, &name, tls);
            let connected = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
            connected.unwrap_or_else(|_| Err(Unconnected(format!("dial tcp {host}:{port}: i/o timeout"))))
        })
    }
}
