//! A webhook as the cluster's users run them: HTTPS on loopback, answered by a function of the test. And an API server
//! that asks webhooks.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use apiserver::Deps;
use apiserver::admission::{Asking, MutatingWebhooks, ValidatingWebhooks};
use apiserver::cache::lookup::Lookup;
use apiserver::conversion::ByWebhook;
use apiserver::webhook::{Caller, Credentials, Resolve};
use base::{Shutdown, Supervisor, TaskKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use serving::testing::Authority;
use tokio::net::TcpListener;

use crate::harness::Harness;

/// What a webhook answers.
pub enum Reply {
    Json(Value),
    Status(u16, &'static str),
    /// Nothing, ever.
    Silence,
}

type Answer = Arc<dyn Fn(&str, &Value) -> Reply + Send + Sync>;

type Callers = Arc<Mutex<Vec<(String, bool)>>>;

/// A running webhook.
pub struct Hook {
    pub port: u16,
    /// The authority of its certificate.
    pub authority: Authority,
    /// (path with query, body) of every request.
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    connections: Arc<Mutex<usize>>,
    /// Of every request: its `Authorization` header, and whether it came with a certificate.
    callers: Callers,
    _supervisor: Supervisor,
}

impl Hook {
    /// Answers on loopback, as `localhost`, as 127.0.0.1 and as the Service `hook` in `default`.
    pub async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let (chain, key) =
            authority.issue_named("hook", None, &["localhost", "127.0.0.1", "hook.default.svc"]);
        let pem = serving::Pem {
            chain: chain.as_bytes(),
            key: key.as_bytes(),
            client_ca: authority.pem.as_bytes(),
        };
        let policy = serving::Policy { unverified: serving::Unverified::Served, protocols: &["http/1.1"] };
        let tls = Arc::new(serving::ServerTls::new(policy, pem).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::default(), Arc::<Mutex<usize>>::default());
        let answer: Answer = Arc::new(answer);
        let supervisor = Supervisor::new(Shutdown::new());
        let (told, counted) = (Arc::clone(&seen), Arc::clone(&connections));
        let callers = Callers::default();
        let called = Arc::clone(&callers);
        let connected = supervisor.clone();
        supervisor.spawn(TaskKind::Background, "webhook", async move {
            while let Ok((socket, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let (tls, seen, answer) = (Arc::clone(&tls), Arc::clone(&seen), Arc::clone(&answer));
                let callers = Arc::clone(&callers);
                connected.spawn(TaskKind::Background, "webhook-connection", async move {
                    let Some(stream) = tls.handshake(socket, std::time::Duration::from_secs(5)).await else {
                        return;
                    };
                    let certified = stream.get_ref().1.peer_certificates().is_some();
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let authorization = request.headers().get("authorization");
                        let told = authorization.and_then(|value| value.to_str().ok()).unwrap_or("");
                        callers.lock().unwrap().push((told.to_owned(), certified));
                        respond(Arc::clone(&answer), Arc::clone(&seen), request)
                    });
                    // Ends with the client's connection.
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, authority, seen: told, connections: counted, callers: called, _supervisor: supervisor }
    }

    /// Lets everything pass.
    pub async fn agreeing() -> Self {
        Self::start(|_, review| Reply::Json(allow(review))).await
    }

    pub fn url(&self, path: &str) -> Value {
        json!({"url": format!("https://127.0.0.1:{}{path}", self.port), "caBundle": self.ca()})
    }

    pub fn ca(&self) -> String {
        STANDARD.encode(&self.authority.pem)
    }

    /// Writes a kubeconfig that leads to a path of it.
    pub fn kubeconfig(&self, dir: &std::path::Path, path: &str) -> std::path::PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "hook",
            "clusters": [{"name": "hook", "cluster": {
                "server": format!("https://127.0.0.1:{}{path}", self.port),
                "certificate-authority-data": self.ca(),
            }}],
            "users": [{"name": "hook", "user": {"token": "secret"}}],
            "contexts": [{"name": "hook", "context": {"cluster": "hook", "user": "hook"}}],
        });
        let file = dir.join("webhook.kubeconfig");
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// What it was asked since the last look: path and query, and the review's request.
    pub fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// Who asked.
    pub fn callers(&self) -> Vec<(String, bool)> {
        self.callers.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn respond(
    answer: Answer,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // A GET brings nothing.
    let review: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    seen.lock().unwrap().push((path.clone(), review.clone()));
    let (status, body) = match answer(&path, &review) {
        Reply::Json(value) => (200, value.to_string()),
        Reply::Status(status, body) => (status, body.to_owned()),
        Reply::Silence => std::future::pending().await,
    };
    Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
}

/// The review with this response.
pub fn responding(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response})
}

pub fn allow(review: &Value) -> Value {
    responding(review, json!({"allowed": true}))
}

pub fn deny(review: &Value, message: &str) -> Value {
    responding(
        review,
        json!({"allowed": false, "status": {"message": message, "code": 403, "reason": "Forbidden"}}),
    )
}

pub fn patch(review: &Value, operations: &Value) -> Value {
    let patch = STANDARD.encode(operations.to_string());
    responding(review, json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
}

/// One webhook of a configuration, about the creation of config maps unless more is said.
pub fn webhook(name: &str, client: &Value, more: &Value) -> Value {
    let mut webhook = json!({
        "name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1", "v1beta1"],
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        webhook[key] = value.clone();
    }
    webhook
}

pub const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
pub const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Makes a configuration.
pub async fn configure(harness: &Harness, of: &str, name: &str, webhooks: &[Value]) {
    let kind = if of == MUTATING { "MutatingWebhookConfiguration" } else { "ValidatingWebhookConfiguration" };
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "labels": {"of": "test"}}, "webhooks": webhooks});
    harness.post(of, &configuration).await.ok();
}

/// Knows the Service `hook` in `default`.
struct One(u16);

impl Resolve for One {
    fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
        if (namespace, name, port) == ("default", "hook", 443) {
            return Ok(("127.0.0.1".to_owned(), self.0));
        }
        Err(format!("service {name:?} not found"))
    }
}

/// Puts webhooks among a server's parts; `port`: where the Service `hook` is.
pub fn asking(deps: &mut Deps, port: u16) {
    asking_as(deps, port, None);
}

/// The same, with credentials for mutating ones.
pub fn asking_as(deps: &mut Deps, port: u16, credentials: Option<Arc<Credentials>>) {
    let caller = Caller::new(Arc::new(One(port)), &deps.supervisor);
    deps.converter = Arc::new(ByWebhook::new(caller.clone()));
    let asking = Asking::new(
        Lookup::new(deps.cache.clone()),
        Arc::clone(&deps.resources),
        Arc::clone(&deps.converter),
        Arc::clone(&deps.authorizer),
        caller,
    );
    deps.admission = vec![
        Arc::new(MutatingWebhooks::new(asking.with(credentials))),
        Arc::new(ValidatingWebhooks::new(asking)),
    ];
}

/// A server that asks webhooks, with the namespace `default`.
pub async fn server(hook: &Hook) -> Harness {
    let port = hook.port;
    let harness = Harness::made_of(|deps| asking(deps, port)).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    harness.post("/api/v1/namespaces", &namespace).await.ok();
    harness
}
