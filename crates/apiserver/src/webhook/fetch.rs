//! [`Fetcher`]: gets a document over HTTPS now and then, over a connection of its own each time.

use std::sync::Arc;
use std::time::Duration;

use base::{Supervisor, TaskKind};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use rustls::ClientConfig;

use super::connector::connect;
use super::trust::{self, Trusted};

/// The largest document taken, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// How long it may take to come, as upstream.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Gets documents from servers that an authority vouches for.
pub(crate) struct Fetcher {
    tls: Arc<ClientConfig>,
    supervisor: Supervisor,
}

impl Fetcher {
    /// Trusts these certificates in PEM, or the machine's own authorities where there are none.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(crate) fn new(ca_bundle: &[u8], supervisor: &Supervisor) -> Result<Self, String> {
        Ok(Self { tls: trust::client(Trusted::Bundle(ca_bundle), None)?, supervisor: supervisor.clone() })
    }

    /// The document at a URL. Redirects are not followed.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes, String> {
        let failed = |why: String| format!("Get {url:?}: {why}");
        let got = tokio::time::timeout(TIMEOUT, self.exchange(url)).await;
        got.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).map_err(failed)
    }

    async fn exchange(&self, url: &str) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let authority = uri.authority().ok_or("it names no host")?;
        if uri.scheme_str() != Some("https") {
            return Err("it is no https URL".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let stream = connect(host, authority.port_u16().unwrap_or(443), host, Arc::clone(&self.tls)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake::<_, Empty<Bytes>>(stream).await.map_err(|error| error.to_string())?;
        self.supervisor.spawn(TaskKind::Background, "document", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection of a document has ended");
            }
        });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    }
}
