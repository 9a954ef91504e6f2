//! A server that extends the API, as the cluster's users run them: HTTPS on loopback, which serves a kind of its own. And
//! an API server that forwards requests to it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use apiserver::aggregator::{Aggregator, FrontProxy};
use apiserver::webhook::Resolve;
use base::{Shutdown, Supervisor, TaskKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use serving::testing::Authority;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::Harness;

/// What the server says it serves.
pub const GROUP: &str = "wardle.example.com";
pub const REGISTRATIONS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
pub const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A request that the server has seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the client has shown the certificate of the front proxy.
    pub by_proxy: bool,
}

/// See the module's documentation. Clones are one server.
#[derive(Clone)]
pub struct Extension {
    pub port: u16,
    pub authority: Arc<Authority>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    /// Whether it has the newer documents of discovery, too.
    aggregates: Arc<Mutex<bool>>,
    /// The lines of watches.
    lines: Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>,
    _supervisor: Supervisor,
}

impl Extension {
    /// Serves on loopback, as the Service `api` in `default`, to whom `proxies` has signed a certificate for.
    pub async fn start(proxies: &Authority) -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.issue_named("api", None, &["api.default.svc"]);
        let pem =
            serving::Pem { chain: chain.as_bytes(), key: key.as_bytes(), client_ca: proxies.pem.as_bytes() };
        let policy = serving::Policy { unverified: serving::Unverified::Served, protocols: &["http/1.1"] };
        let tls = Arc::new(serving::ServerTls::new(policy, pem).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let supervisor = Supervisor::new(Shutdown::new());
        let extension = Self {
            port: listener.local_addr().unwrap().port(),
            authority: Arc::new(authority),
            seen: Arc::default(),
            connections: Arc::default(),
            aggregates: Arc::new(Mutex::new(true)),
            lines: Arc::default(),
            _supervisor: supervisor.clone(),
        };
        let (own, tasks) = (extension.clone(), supervisor.clone());
        supervisor.spawn(TaskKind::Background, "extension", async move {
            while let Ok((socket, _)) = listener.accept().await {
                *own.connections.lock().unwrap() += 1;
                let (tls, own) = (Arc::clone(&tls), own.clone());
                tasks.clone().spawn(TaskKind::Background, "extension-connection", async move {
                    let Some(stream) = tls.handshake(socket, std::time::Duration::from_secs(5)).await else {
                        return;
                    };
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let now = rustls::pki_types::UnixTime::now();
                    let by_proxy = tls.verify_client(chain, now).is_ok();
                    let service = hyper::service::service_fn(move |request| {
                        let own = own.clone();
                        async move { Ok::<_, Infallible>(own.answer(request, by_proxy).await) }
                    });
                    // Ends with the client's connection.
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        extension
    }

    /// What it was asked since the last look.
    pub fn asked(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Has it only the older documents of discovery from now on.
    pub fn speaks_old(&self) {
        *self.aggregates.lock().unwrap() = false;
    }

    /// Tells all watches.
    pub fn tell(&self, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        self.lines.lock().unwrap().retain(|watch| watch.send(line.clone()).is_ok());
    }

    /// Ends all watches.
    pub fn end_watches(&self) {
        self.lines.lock().unwrap().clear();
    }

    /// The registration of a version of its group.
    pub fn registration(&self, version: &str, more: &Value) -> Value {
        let mut registration = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{version}.{GROUP}")},
            "spec": {"group": GROUP, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 200,
                "service": {"namespace": "default", "name": "api"}, "caBundle": STANDARD.encode(&self.authority.pem)}});
        for (key, value) in more.as_object().into_iter().flatten() {
            registration["spec"][key] = value.clone();
        }
        registration
    }

    async fn answer(self, mut request: Request<Incoming>, by_proxy: bool) -> Answered {
        let upgrade = request.headers().contains_key("upgrade").then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let path = parts.uri.to_string();
        let body = body.collect().await.unwrap().to_bytes();
        let seen = Seen {
            method: parts.method.to_string(),
            path: path.clone(),
            headers: parts.headers,
            body,
            by_proxy,
        };
        self.seen.lock().unwrap().push(seen.clone());
        if let Some(upgrade) = upgrade {
            return self.echo(upgrade);
        }
        if path.contains("watch=true") {
            let (tell, told) = mpsc::unbounded_channel::<Bytes>();
            self.lines.lock().unwrap().push(tell);
            let lines = futures::stream::unfold(told, |mut told| async move {
                Some((Ok(Frame::data(told.recv().await?)), told))
            });
            return Response::builder()
                .header("content-type", "application/json")
                .body(StreamBody::new(lines).boxed_unsync())
                .unwrap();
        }
        let (status, kind, body) = self.document(&path, &seen);
        let mut response = Response::builder().status(status).header("content-type", kind);
        if status == StatusCode::FOUND {
            response = response.header("location", "https://elsewhere.example.com/");
        }
        response.body(Full::from(body.to_string()).boxed_unsync()).unwrap()
    }

    fn document(&self, path: &str, seen: &Seen) -> (StatusCode, &'static str, Value) {
        const JSON: &str = "application/json";
        let accept = seen.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let aggregates = *self.aggregates.lock().unwrap();
        match path.split('?').next().unwrap_or_default() {
            "/apis" if aggregates && accept.contains("apidiscovery.k8s.io") => {
                (StatusCode::OK, AGGREGATED, aggregated())
            }
            "/apis" => (StatusCode::OK, JSON, json!({"kind": "APIGroupList", "groups": []})),
            path if path.ends_with("/moved") => (StatusCode::FOUND, JSON, json!({})),
            path if path.ends_with("/secret") => {
                (StatusCode::FORBIDDEN, JSON, json!({"message": "not for you"}))
            }
            "/openapi/v3" => {
                let url = "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=ABC";
                (
                    StatusCode::OK,
                    JSON,
                    json!({"paths": {"apis/wardle.example.com/v1alpha1": {"serverRelativeURL": url}}}),
                )
            }
            path if path.starts_with("/openapi/v3/") => (
                StatusCode::OK,
                JSON,
                json!({"openapi": "3.0.0", "components": {"schemas": {"Flunder": {}}}}),
            ),
            path if path.ends_with(".com/v1alpha1") || path.ends_with(".com/v1beta1") => {
                (StatusCode::OK, JSON, legacy(path))
            }
            "/openapi/v2" => (StatusCode::OK, JSON, swagger()),
            _ => (
                StatusCode::OK,
                JSON,
                json!({"kind": "Flunder", "method": seen.method, "bytes": seen.body.len()}),
            ),
        }
    }

    /// Leaves HTTP and sends back what comes.
    fn echo(&self, upgrade: hyper::upgrade::OnUpgrade) -> Answered {
        self._supervisor.spawn(TaskKind::Background, "echo", async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            // Ends with the other side.
            let _ended = tokio::io::copy(&mut read, &mut write).await;
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("upgrade", "SPDY/3.1")
            .header("connection", "Upgrade")
            .body(Full::default().boxed_unsync())
            .unwrap()
    }
}

fn aggregated() -> Value {
    let kind = json!({"group": GROUP, "version": "", "kind": "Flunder"});
    let flunders = json!({"resource": "flunders", "responseKind": kind, "scope": "Namespaced",
        "singularResource": "flunder", "verbs": ["create", "delete", "get", "list", "watch"], "shortNames": ["fl"],
        "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get"]}]});
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [
        {"metadata": {"name": GROUP}, "versions": [
            {"version": "v1beta1", "resources": [flunders], "freshness": "Current"},
            {"version": "v1alpha1", "resources": [flunders], "freshness": "Current"}]}]})
}

fn legacy(path: &str) -> Value {
    let gv = path.trim_start_matches("/apis/");
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["create", "delete", "get", "list", "watch"], "shortNames": ["fl"]},
        {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"]}]})
}

fn swagger() -> Value {
    let reference = json!({"$ref": "#/definitions/com.example.wardle.Flunder"});
    json!({"swagger": "2.0", "info": {"title": "sample", "version": "0"},
        "paths": {
            "/apis/wardle.example.com/v1alpha1/flunders": {"get": {"responses": {"200": {"schema": reference}}}},
            "/apis/other.example.com/v1/others": {"get": {"responses": {}}}},
        "definitions": {
            "com.example.wardle.Flunder": {"type": "object", "properties": {
                "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}},
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "description": "another one"},
            "com.example.wardle.Unused": {"type": "object"}}})
}

/// Knows the Service `api` in `default`.
struct One(u16);

impl Resolve for One {
    fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
        if (namespace, name, port) == ("default", "api", 443) {
            return Ok(("127.0.0.1".to_owned(), self.0));
        }
        Err(format!("service {name:?} not found"))
    }
}

/// What is wanted to forward requests.
pub struct Front {
    pub proxies: Authority,
    pub extension: Extension,
}

impl Front {
    pub async fn new() -> Self {
        let proxies = Authority::new();
        let extension = Extension::start(&proxies).await;
        Self { proxies, extension }
    }

    /// The aggregator of a server with these parts.
    pub fn aggregator(&self, deps: &apiserver::Deps) -> Aggregator {
        let (chain, key) = self.proxies.issue("front-proxy-client", None);
        let identity = FrontProxy::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let resolve = Arc::new(One(self.extension.port));
        Aggregator::start(&deps.cache, resolve, Arc::new(identity), &deps.supervisor).unwrap()
    }
}

/// A server that forwards requests, and what it forwards them by.
pub async fn server(front: &Front) -> (Harness, Aggregator) {
    let mut made = None;
    let harness = Harness::made_of(|deps| {
        let aggregator = front.aggregator(deps);
        made = Some(aggregator.clone());
        deps.aggregator = Some(aggregator);
    })
    .await;
    (harness, made.unwrap())
}

/// Registers a version, and says that it is available or not.
pub async fn register(harness: &Harness, aggregator: &Aggregator, registration: &Value, available: bool) {
    harness.post(REGISTRATIONS, registration).await.ok();
    let name = registration["metadata"]["name"].as_str().unwrap();
    tell(harness, aggregator, name, available).await;
}

/// Says whether a version is available.
pub async fn tell(harness: &Harness, aggregator: &Aggregator, name: &str, available: bool) {
    let status = if available { "True" } else { "False" };
    let condition = json!({"type": "Available", "status": status, "reason": "Test"});
    let status = json!({"status": {"conditions": [condition]}});
    harness.merge(&format!("{REGISTRATIONS}/{name}/status"), &status).await.ok();
    aggregator.settled().await;
}
