//! Pulling from a registry on the loopback address; unpacking needs root.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::*;
use crate::image::fixture::{Archive, Fixture, descriptor};
use crate::image::{Options, RegistryOptions};

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A registry that can misbehave.
#[derive(Default)]
struct Registry {
    documents: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    /// `Basic …` that every request must carry.
    authorization: Option<&'static str>,
    /// Sends the first bytes of a blob and then nothing.
    stalls: bool,
    /// Answers every request with this status and a complaint.
    refuses: Option<u16>,
    /// Documents have no end.
    endless: bool,
    /// Wants the bearer token that its own `/token` hands out to the right user.
    wants_token: Option<String>,
    blob_requests: AtomicUsize,
}

impl Registry {
    fn new(fixture: &Fixture, tag: &str) -> Self {
        let mut registry = Self::default();
        let blobs = fixture.blobs();
        let manifest = &blobs[blobs.len() - 1];
        let mut own = descriptor(manifest, "application/vnd.oci.image.manifest.v1+json");
        own["platform"] = serde_json::json!({"os": "linux", "architecture": Platform::host().architecture});
        let mut other = descriptor(b"elsewhere", "application/vnd.oci.image.manifest.v1+json");
        other["platform"] = serde_json::json!({"os": "linux", "architecture": "s390x"});
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [other, own],
        });
        let index = index.to_string().into_bytes();
        registry.documents.insert(tag.to_owned(), index.clone());
        registry.documents.insert(Digest::of(&index).to_string(), index);
        registry.documents.insert(Digest::of(manifest).to_string(), manifest.clone());
        registry.blobs = blobs.into_iter().map(|b| (Digest::of(&b).to_string(), b)).collect();
        registry
    }

    /// The registry's word on a request where it is not about an image.
    fn refusal(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let sent = request.headers().get("authorization").and_then(|v| v.to_str().ok());
        let response = Response::builder();
        if let Some(status) = self.refuses {
            let body = text("{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow\\ndown\"}]}");
            return Some(response.status(status).body(body).expect("valid"));
        }
        let host = self.wants_token.as_deref()?;
        if request.uri().path() == "/token" {
            assert_eq!(request.uri().query(), Some("service=s&scope=repository%3Aa%3Apull"));
            let status = if sent == Some("Basic dTpw") { 200 } else { 403 };
            return Some(response.status(status).body(text("{\"access_token\":\"t\"}")).expect("valid"));
        }
        if sent == Some("Bearer t") {
            return None;
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        Some(response.status(401).header("www-authenticate", challenge).body(text("{}")).expect("valid"))
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(refusal) = self.refusal(&request) {
            return refusal;
        }
        let sent = request.headers().get("authorization").and_then(|v| v.to_str().ok());
        let mut response = Response::builder();
        if self.authorization.is_some() && sent != self.authorization {
            response =
                response.status(StatusCode::UNAUTHORIZED).header("www-authenticate", "Basic realm=\"x\"");
            return response
                .body(text(r#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#))
                .expect("valid");
        }
        let last = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        if request.uri().path().contains("/blobs/") {
            self.blob_requests.fetch_add(1, Ordering::SeqCst);
            let Some(blob) = self.blobs.get(&last).cloned() else {
                return response.status(404).body(text("{}")).expect("valid");
            };
            if self.stalls {
                let start = futures::stream::iter([Ok(Frame::data(Bytes::from(blob)))]);
                let body = StreamBody::new(start.chain(futures::stream::pending()));
                return response.body(BodyExt::boxed(body)).expect("valid");
            }
            return response.body(Full::new(Bytes::from(blob)).boxed()).expect("valid");
        }
        match self.documents.get(&last) {
            Some(_) if self.endless => {
                let chunk = || Ok(Frame::data(Bytes::from(vec![b' '; 1 << 20])));
                let body = StreamBody::new(futures::stream::repeat_with(chunk));
                response.body(BodyExt::boxed(body)).expect("valid")
            }
            Some(document) => {
                let kind: serde_json::Value = serde_json::from_slice(document).expect("made here");
                let kind = kind["mediaType"].as_str().unwrap_or_default().to_owned();
                let body = Full::new(Bytes::from(document.clone())).boxed();
                response.header("content-type", kind).body(body).expect("valid")
            }
            None => {
                let body = text(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#);
                response.status(404).body(body).expect("valid")
            }
        }
    }
}

fn text(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

/// Serves a registry until dropped; answers its host and port.
async fn serve(registry: Arc<Registry>) -> std::io::Result<(String, JoinSet<()>)> {
    serve_on(tokio::net::TcpListener::bind("127.0.0.1:0").await?, registry)
}

fn serve_on(
    listener: tokio::net::TcpListener,
    registry: Arc<Registry>,
) -> std::io::Result<(String, JoinSet<()>)> {
    // Another test may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let host = listener.local_addr()?.to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let registry = Arc::clone(&registry);
            connections.spawn(async move {
                let service = hyper::service::service_fn(|request| {
                    let registry = Arc::clone(&registry);
                    async move { Ok::<_, Infallible>(registry.answer(request).await) }
                });
                // A client that goes away is part of the tests.
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await,
                );
            });
        }
    });
    Ok((host, tasks))
}

fn fixture() -> Fixture {
    let layers = (0..5).map(|i| Archive::new().file(&format!("f{i}"), &vec![i; 40_000]).finish());
    Fixture::new(layers.collect())
}

fn store(root: &std::path::Path, registries: RegistryOptions) -> Result<ImageStore, ImageError> {
    ImageStore::open(Options { registries, ..Options::new(root) })
}

#[tokio::test]
async fn an_image_is_pulled_once_through_its_index() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let registry = Arc::new(Registry::new(&fixture(), "1"));
    let (host, _server) = serve(Arc::clone(&registry)).await?;
    let store = store(tmp.path(), RegistryOptions::default())?;
    let name = format!("{host}/a/b:1");
    let (one, two) =
        tokio::join!(store.pull(&name, &Credentials::Anonymous), store.pull(&name, &Credentials::Anonymous));
    assert_eq!(one?.id, fixture().id());
    let image = two?;
    assert_eq!(image.tags.iter().collect::<Vec<_>>(), [&name]);
    assert_eq!(registry.blob_requests.load(Ordering::SeqCst), 6, "five layers and a config, once each");
    let by_digest = image.digests.first().ok_or("no digest")?;
    store.remove(&name).await?;
    assert_eq!(store.pull(by_digest, &Credentials::Anonymous).await?.layers, image.layers);
    Ok(())
}

#[tokio::test]
async fn mirrors_come_first_and_failures_fall_through() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let (mirror, _one) = serve(Arc::new(Registry::new(&fixture(), "1"))).await?;
    let (empty, _two) = serve(Arc::default()).await?;
    let mirrors = [("docker.io".to_owned(), vec![empty, mirror])].into();
    let store = store(tmp.path(), RegistryOptions { mirrors, ..RegistryOptions::default() })?;
    let image = store.pull("busybox:1", &Credentials::Anonymous).await?;
    assert!(image.tags.contains("docker.io/library/busybox:1"));
    Ok(())
}

#[tokio::test]
async fn failures_are_told_as_the_kubelet_shows_them() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let authorization = Some("Basic dTpw");
    let (host, _server) =
        serve(Arc::new(Registry { authorization, ..Registry::new(&fixture(), "1") })).await?;
    let store = store(tmp.path(), RegistryOptions::default())?;
    let good = Credentials::Basic { user: "u".to_owned(), password: "p".to_owned() };
    let error = async |reference: String, credentials: &Credentials| match store
        .pull(&reference, credentials)
        .await
    {
        Ok(_) => "pulled".to_owned(),
        Err(e) => e.to_string(),
    };
    assert_eq!(
        error(format!("{host}/a:none"), &good).await,
        format!(
            "failed to pull and unpack image \"{host}/a:none\": failed to resolve reference \"{host}/a:none\": \
             {host}/a:none: not found"
        )
    );
    let denied = error(format!("{host}/a:1"), &Credentials::Anonymous).await;
    assert!(
        denied.contains("pull access denied, repository does not exist or may require authorization"),
        "{denied}"
    );
    assert!(error("A B".to_owned(), &good).await.contains("invalid reference format"));
    let closed = error("127.0.0.1:1/a:1".to_owned(), &good).await;
    assert!(closed.contains("failed to do request") && closed.contains("refused"), "{closed}");
    assert_eq!(error(format!("{host}/a:1"), &good).await, "pulled");
    Ok(())
}

#[tokio::test]
async fn a_registry_that_stalls_or_lies_fails_clearly_and_leaves_nothing() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let (stalling, _one) =
        serve(Arc::new(Registry { stalls: true, ..Registry::new(&fixture(), "1") })).await?;
    let mut lying = Registry::new(&fixture(), "1");
    for blob in lying.blobs.values_mut() {
        let last = blob.len() - 1;
        blob[last] ^= 1;
    }
    let (lying, _two) = serve(Arc::new(lying)).await?;
    let options = RegistryOptions { stall_timeout: Duration::from_millis(200), ..RegistryOptions::default() };
    let store = store(tmp.path(), options)?;
    let stalled =
        store.pull(&format!("{stalling}/a:1"), &Credentials::Anonymous).await.err().ok_or("pulled")?;
    assert!(matches!(stalled, ImageError::Pull { cause: PullError::Stalled { .. }, .. }), "{stalled}");
    let lied = store.pull(&format!("{lying}/a:1"), &Credentials::Anonymous).await.err().ok_or("pulled")?;
    assert!(lied.to_string().contains("igest"), "{lied}");
    assert!(store.list().is_empty());
    drop(store);
    assert_eq!(std::fs::read_dir(tmp.path().join("content/blobs/sha256"))?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_stalling_registry_holds_up_nobody_who_asks_another_for_the_same_layers() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let stalling = Arc::new(Registry { stalls: true, ..Registry::new(&fixture(), "1") });
    let (slow, _one) = serve(Arc::clone(&stalling)).await?;
    let (good, _two) = serve(Arc::new(Registry::new(&fixture(), "1"))).await?;
    let store = store(tmp.path(), RegistryOptions::default())?;
    let (slow, good) = (format!("{slow}/a:1"), format!("{good}/a:1"));
    let mut stalled = Box::pin(store.pull(&slow, &Credentials::Anonymous));
    let begun = async {
        while stalling.blob_requests.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = &mut stalled => return Err(format!("a stalled pull ended: {ended:?}").into()),
        () = begun => {}
    }
    tokio::select! {
        ended = &mut stalled => Err(format!("a stalled pull ended: {ended:?}").into()),
        pulled = store.pull(&good, &Credentials::Anonymous) => {
            assert_eq!(pulled?.id, fixture().id());
            Ok(())
        }
    }
}

#[tokio::test]
async fn an_endless_document_is_given_up() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let (host, _server) =
        serve(Arc::new(Registry { endless: true, ..Registry::new(&fixture(), "1") })).await?;
    let store = store(tmp.path(), RegistryOptions::default())?;
    let error = store.pull(&format!("{host}/a:1"), &Credentials::Anonymous).await.err().ok_or("pulled")?;
    assert!(error.to_string().contains("it exceeds 8388608 bytes"), "{error}");
    Ok(())
}

#[tokio::test]
async fn refusals_carry_the_status_and_the_registrys_words_in_one_line() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let (host, _server) = serve(Arc::new(Registry { refuses: Some(429), ..Registry::default() })).await?;
    let store = store(tmp.path(), RegistryOptions::default())?;
    let error = store.pull(&format!("{host}/a:1"), &Credentials::Anonymous).await.err().ok_or("pulled")?;
    assert_eq!(
        error.legible(),
        format!(
            "failed to pull and unpack image \"{host}/a:1\": failed to resolve reference \"{host}/a:1\": \
             unexpected status from GET request to http://{host}/v2/a/manifests/1: 429 Too Many Requests: \
             toomanyrequests: slow\\ndown"
        )
    );
    Ok(())
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_wants_one() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let wants_token = Some(listener.local_addr()?.to_string());
    let (host, _server) =
        serve_on(listener, Arc::new(Registry { wants_token, ..Registry::new(&fixture(), "1") }))?;
    let store = store(tmp.path(), RegistryOptions::default())?;
    let name = format!("{host}/a:1");
    let error = store.pull(&name, &Credentials::Anonymous).await.err().ok_or("pulled")?.to_string();
    let wanted = format!(
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to \
         http://{host}/token?service=s&scope=repository%3Aa%3Apull: 403 Forbidden"
    );
    assert!(error.ends_with(&wanted), "{error}");
    let good = Credentials::Basic { user: "u".to_owned(), password: "p".to_owned() };
    assert_eq!(store.pull(&name, &good).await?.id, fixture().id());
    Ok(())
}
