//! Manifests from a URL, asked for at a steady pace: a web server tells nobody of a change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use super::complaints::Complaints;
use super::manifest::{self, MAX_BYTES, Origin};
use super::{Offer, UrlConfig};

/// How long one answer may take, as upstream.
const PATIENCE: Duration = Duration::from_secs(10);

/// A source of manifests.
pub struct Url {
    config: UrlConfig,
    /// The URL as it may be told: users, passwords and queries may be secrets.
    shown: String,
}

/// By what the server knows again what it has given.
#[derive(Default)]
struct Version(HeaderMap);

impl Url {
    pub fn new(config: UrlConfig) -> Self {
        let shown = without_secrets(&config.url);
        Self { config, shown }
    }

    /// Tells what the URL asks for whenever that changes. What was told stays while the server gives no answer. Never ends.
    pub async fn follow(&self, node: &str, tell: &watch::Sender<Offer>, complaints: &Complaints) {
        let url = &self.shown;
        let client = match self.client() {
            Ok(client) => client,
            Err(why) => {
                complaints.are(url, [(url.clone(), why)].into());
                return std::future::pending().await;
            }
        };
        let mut version = Version::default();
        loop {
            let wrong = match self.ask(&client, node, &mut version).await {
                Ok(None) => BTreeMap::new(),
                Ok(Some(pods)) => {
                    tell.send_if_modified(|offer| {
                        let is_new = offer.as_ref() != Some(&pods);
                        *offer = Some(pods);
                        is_new
                    });
                    BTreeMap::new()
                }
                Err(why) => {
                    version = Version::default();
                    [(url.clone(), why)].into()
                }
            };
            complaints.are(url, wrong);
            tokio::time::sleep(self.config.ask_every).await;
        }
    }

    fn client(&self) -> Result<reqwest::Client, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.config.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("{name:?}: {error}"))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| format!("{name}: {error}"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let builder = reqwest::Client::builder().timeout(PATIENCE).default_headers(headers);
        builder.build().map_err(|error| error.without_url().to_string())
    }

    /// The pods, or nothing where they are as before.
    async fn ask(
        &self,
        client: &reqwest::Client,
        node: &str,
        version: &mut Version,
    ) -> Result<Option<Vec<Arc<Pod>>>, String> {
        let url = &self.shown;
        let text = |error: reqwest::Error| Chain(&error.without_url()).to_string();
        let request = client.request(Method::GET, &self.config.url).headers(version.0.clone());
        let mut response = request.send().await.map_err(text)?;
        match response.status() {
            StatusCode::NOT_MODIFIED if !version.0.is_empty() => return Ok(None),
            StatusCode::OK => {}
            status => return Err(format!("{url}: {status}")),
        }
        let mut next = HeaderMap::new();
        for (told, ask) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = response.headers().get(told) {
                next.insert(ask, value.clone());
            }
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(text)? {
            if bytes.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the answer is longer than {MAX_BYTES} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.is_empty() {
            return Err(format!("zero-length data received from {url}"));
        }
        let pods = manifest::read(&bytes, &Origin::Url(url.clone()), node)?;
        version.0 = next;
        Ok(Some(pods))
    }
}

/// The URL without user, password, query and fragment.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return "the manifest URL".to_owned() };
    // Of what has no host there is no user either.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return "the manifest URL".to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut next = Some(self.0);
        let mut separator = "";
        while let Some(error) = next {
            write!(f, "{separator}{error}")?;
            (next, separator) = (error.source(), ": ");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;
    use crate::events::TraceEvents;

    const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},
        "spec":{"containers":[{"name":"c","image":"i"}]}}"#;

    /// A server that gives these answers, one after the other; returns what it was asked.
    async fn serve(listener: TcpListener, answers: Vec<(u16, &'static str)>, asked: Arc<Mutex<Vec<String>>>) {
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let answer = service_fn(|request: Request<Incoming>| {
                let header = |name: &str| {
                    request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-").to_owned()
                };
                asked.lock().expect("no panic").push(format!(
                    "{} {}",
                    header("x-key"),
                    header("if-none-match")
                ));
                let next = answers.lock().expect("no panic").next().unwrap_or((503, ""));
                let response = Response::builder()
                    .status(next.0)
                    .header("etag", "\"1\"")
                    .body(Full::new(Bytes::from(next.1)));
                async move { Ok::<_, Infallible>(response.expect("a response")) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.keep_alive(false);
            server.serve_connection(TokioIo::new(stream), answer).await.expect("served");
        }
    }

    #[tokio::test]
    async fn what_may_be_secret_is_not_told() {
        drop(rustls::crypto::ring::default_provider().install_default());
        assert_eq!(without_secrets("https://me:pass@h:1/p?token=x#y"), "https://h:1/p");
        assert_eq!(without_secrets("me:pass"), "the manifest URL");
        let unused =
            TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let url = format!("http://me:pass@{unused}/p?token=x");
        let headers = vec![("X-Key".to_owned(), "key".to_owned())];
        let source = Url::new(UrlConfig { url, headers, ask_every: Duration::from_secs(1) });
        let client = source.client().expect("a client");
        let why = source.ask(&client, "n", &mut Version::default()).await.expect_err("nobody is there");
        assert!(!why.contains("pass") && !why.contains("token"), "{why}");
    }

    #[tokio::test]
    async fn the_server_is_asked_whether_anything_is_new() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/pod", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = vec![
            (200, POD),
            (304, ""),
            (500, ""),
            (200, "{"),
            (200, r#"{"apiVersion":"v1","kind":"PodList"}"#),
        ];
        let (tell, mut told) = watch::channel(None);
        let complaints = Complaints::new("n", Arc::new(TraceEvents));
        let headers = vec![("X-Key".to_owned(), "secret".to_owned())];
        let source = Url::new(UrlConfig { url, headers, ask_every: Duration::from_millis(1) });
        let mut offers = Vec::new();
        let steps = async {
            for _ in 0..2 {
                told.changed().await.expect("told");
                offers.push(told.borrow_and_update().as_ref().map(Vec::len));
            }
        };
        tokio::select! {
            () = source.follow("n", &tell, &complaints) => {}
            () = serve(listener, answers, asked.clone()) => {}
            () = steps => {}
        }
        assert_eq!(offers, [Some(1), Some(0)], "what fails changes nothing");
        let asked = asked.lock().expect("no panic");
        assert_eq!(asked[..5], ["secret -", "secret \"1\"", "secret \"1\"", "secret -", "secret -"]);
    }
}
