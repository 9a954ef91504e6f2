//! Manifests from the web: `-f https://…`.

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;

use crate::failure::{Failure, quoted};
use crate::session::Session;
use crate::transport::Connector;

/// Longest manifest that is fetched, in bytes.
const LONGEST_BYTES: usize = 64 << 20;

/// How often one is sent on to another address.
const REDIRECTS: usize = 10;

/// The text behind an address.
///
/// # Errors
/// When it cannot be had.
pub fn url(session: &Session, address: &str) -> Result<String, Failure> {
    let mut at = address.to_owned();
    for _ in 0..REDIRECTS {
        match session.client()?.wait(once(&at))? {
            Fetched::Text(text) => return Ok(text),
            Fetched::Elsewhere(location) => at = location,
        }
    }
    Err(Failure::message(format!(
        "unable to read URL {}: stopped after {REDIRECTS} redirects",
        quoted(address)
    )))
}

enum Fetched {
    Text(String),
    Elsewhere(String),
}

async fn once(address: &str) -> Result<Fetched, Failure> {
    let failed = |why: String| Failure::message(format!("unable to read URL {}, {why}", quoted(address)));
    let uri: http::Uri = address.parse().map_err(|e: http::uri::InvalidUri| failed(e.to_string()))?;
    let nothing = serde_json::Value::Null;
    let connector = Connector::new(&uri, &nothing, &nothing)?;
    let http: Http<_, Empty<bytes::Bytes>> = Http::builder(TokioExecutor::new()).build(connector);
    let response = http.get(uri).await.map_err(|e| failed(e.to_string()))?;
    let status = response.status();
    if status.is_redirection()
        && let Some(location) = response.headers().get(http::header::LOCATION).and_then(|l| l.to_str().ok())
    {
        return Ok(Fetched::Elsewhere(location.to_owned()));
    }
    if status.as_u16() != 200 {
        return Err(failed(format!("server reported {status}, status code={}", status.as_u16())));
    }
    let body = Limited::new(response.into_body(), LONGEST_BYTES).collect().await;
    let bytes = body.map_err(|e| failed(e.to_string()))?.to_bytes();
    String::from_utf8(bytes.to_vec()).map(Fetched::Text).map_err(|e| failed(e.to_string()))
}
