//! [`Remote`]: a webhook that the server's own settings name by a kubeconfig file, as upstream's do for audit,
//! authentication and authorization. The file says where it is, whom to trust and as whom to come.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::failure::{self, Failure};

/// The largest answer taken, in bytes: reviews and statuses are small.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// How often a server that cannot be reached is asked, and the first wait between; each is half as long again.
const ATTEMPTS: u32 = 5;
const WAIT: Duration = Duration::from_millis(500);
/// How much of an answer that is no success is repeated in messages, in characters.
const MAX_REPEATED: usize = 256;

/// See the module's documentation. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client,
    /// As messages have it.
    url: String,
    path: String,
}

impl Remote {
    /// Reads a kubeconfig: its current context, or the only one. No connection is made yet.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub(crate) async fn open(file: &Path) -> Result<Self, String> {
        let kubeconfig = Kubeconfig::read_from(file).map_err(|error| error.to_string())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.map_err(|error| error.to_string())?;
        let url = config.cluster_url.to_string();
        let path = config.cluster_url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut origin = std::mem::take(&mut config.cluster_url).into_parts();
        origin.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        config.cluster_url = http::Uri::from_parts(origin).map_err(|error| error.to_string())?;
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        Ok(Self { client, url, path })
    }

    /// Sends JSON and returns the JSON that is answered, again for a while when the server cannot be reached or asks for
    /// that. Cancellation safe.
    ///
    /// # Errors
    /// When there is no answer within `timeout`, or one that is no success or too large.
    pub(crate) async fn ask(&self, body: Vec<u8>, timeout: Duration) -> Result<Bytes, Failure> {
        let attempts = async {
            let mut wait = WAIT;
            for _ in 1..ATTEMPTS {
                match self.post(body.clone(), timeout).await {
                    Err(failure) if matches!(failure.code, 429 | 500..) => {}
                    answered => return answered,
                }
                tokio::time::sleep(wait).await;
                wait = wait * 3 / 2;
            }
            self.post(body.clone(), timeout).await
        };
        let answered = tokio::time::timeout(timeout, attempts).await;
        answered.unwrap_or_else(|_| Err(Failure::unreached(&self.url, "context deadline exceeded")))
    }

    /// Sends JSON once and returns the JSON that is answered. Cancellation safe.
    ///
    /// # Errors
    /// When there is no answer within `timeout`, or one that is no success or too large.
    pub(crate) async fn post(&self, body: Vec<u8>, timeout: Duration) -> Result<Bytes, Failure> {
        let unreached = |why: &str| Failure::unreached(&self.url, why);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header("accept", "application/json, */*")
            .header("content-type", "application/json")
            .body(body.into())
            .map_err(|error| unreached(&error.to_string()))?;
        let exchange = async {
            let response =
                self.client.send(request).await.map_err(|error| unreached(&failure::cause(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body =
                body.map_err(|error| Failure::unreadable(format!("the answer cannot be read: {error}")))?;
            Ok::<(StatusCode, Bytes), Failure>((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| unreached("context deadline exceeded"))??;
        if status.is_success() {
            return Ok(body);
        }
        // What a server says may be long, and may repeat what it was sent.
        let said: String = String::from_utf8_lossy(&body).chars().take(MAX_REPEATED).collect();
        Err(Failure::answered(status, said.as_bytes()))
    }
}
