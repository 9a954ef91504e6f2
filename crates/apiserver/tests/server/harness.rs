//! A server on a store in memory with permissive authentication and authorization.

use std::sync::Arc;

use apiserver::admission::Admission;
use apiserver::cache::Cache;
use apiserver::cache::lookup::Lookup;
use apiserver::conversion::ByRow;
use apiserver::identity::authn::service_account::{DEFAULT_ISSUER, Issuer, SigningKey, TokenSettings};
use apiserver::identity::authn::{Authenticator, Credentials};
use apiserver::identity::authz::{Authorizer, Decision};
use apiserver::identity::{RuleResolver, Rules};
use apiserver::request::{Attributes, User};
use apiserver::{
    Body, Config, CustomKinds, Deps, Eventual, InProcess, KubeletClient, Limits, Server, cache_specs,
};
use base::{Shutdown, Supervisor, SystemClock};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use resources::ResourceSource;
use serde_json::Value;
use store::Memory;
use tower::Service;

/// What the server says it is built of.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Knows bearer tokens by their text: `token-NAME` is user NAME.
pub struct TokensByName;

impl Authenticator for TokensByName {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>> {
        if credentials.client_certificate.is_some() {
            return Ok(Some(user("certified"))).into();
        }
        let name = credentials.bearer_token.and_then(|t| t.strip_prefix("token-"));
        Ok(name.map(user)).into()
    }
}

/// Refuses the user `nobody` everything.
struct AllButNobody;

impl Authorizer for AllButNobody {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        let nobody = attributes.user.name == "nobody";
        if nobody { Decision::NoOpinion(String::new()) } else { Decision::Allow }.into()
    }
}

impl RuleResolver for AllButNobody {
    fn rules(&self, _user: &Arc<User>, _namespace: &str) -> Rules {
        let all = serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        Rules { resource_rules: vec![all], ..Rules::default() }
    }
}

pub fn user(name: &str) -> Arc<User> {
    Arc::new(User { name: name.into(), groups: vec!["system:authenticated".into()], ..User::default() })
}

/// A running server.
pub struct Harness {
    pub server: Server,
    pub supervisor: Supervisor,
    pub store: Memory,
    pub cache: Cache,
    client: InProcess,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {:?}", self.status, self.body);
        self.json()
    }

    /// The message of a failure with this code.
    #[track_caller]
    pub fn refused(self, code: u16) -> String {
        assert_eq!(self.status, code, "{:?}", self.body);
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// An object of a built-in kind as an item of its kind's list.
pub fn as_item(object: &Value) -> Value {
    let mut item = object.clone();
    for field in ["kind", "apiVersion"] {
        item.as_object_mut().and_then(|item| item.remove(field)).expect("an object says what it is");
    }
    item
}

impl Harness {
    pub async fn start() -> Self {
        Self::with(Vec::new(), None).await
    }

    pub async fn with(admission: Vec<Arc<dyn Admission>>, kubelet: Option<Arc<KubeletClient>>) -> Self {
        Self::limited(Limits::default(), admission, kubelet).await
    }

    pub async fn limited(
        limits: Limits,
        admission: Vec<Arc<dyn Admission>>,
        kubelet: Option<Arc<KubeletClient>>,
    ) -> Self {
        let store = Memory::new(store::memory::Config::default());
        let parts = |deps: &mut Deps| (deps.admission, deps.kubelet) = (admission, kubelet);
        Self::build(store, None, Config { limits, ..Config::default() }, parts).await
    }

    /// A server with other limits and parts than the usual ones.
    pub async fn limited_made_of(limits: Limits, change: impl FnOnce(&mut Deps)) -> Self {
        Self::build(
            Memory::new(store::memory::Config::default()),
            None,
            Config { limits, ..Config::default() },
            change,
        )
        .await
    }

    /// A server with other parts than the usual ones.
    pub async fn made_of(change: impl FnOnce(&mut Deps)) -> Self {
        let store = Memory::new(store::memory::Config::default());
        Self::build(store, None, Config::default(), change).await
    }

    /// The same, that keeps its objects in this store.
    pub async fn made_on(store: Memory, change: impl FnOnce(&mut Deps)) -> Self {
        Self::build(store, None, Config::default(), change).await
    }

    /// A server with other settings than the usual ones.
    pub async fn configured(config: Config) -> Self {
        let store = Memory::new(store::memory::Config::default());
        Self::build(store, None, config, |_| ()).await
    }

    /// A server that keeps its objects in this store.
    pub async fn on(store: Memory) -> Self {
        Self::build(store, None, Config::default(), |_| ()).await
    }

    /// A server of these kinds.
    pub async fn serving(kinds: Arc<dyn ResourceSource>) -> Self {
        let store = Memory::new(store::memory::Config::default());
        Self::build(store, Some(kinds), Config::default(), |_| ()).await
    }

    async fn build(
        store: Memory,
        kinds: Option<Arc<dyn ResourceSource>>,
        config: Config,
        change: impl FnOnce(&mut Deps),
    ) -> Self {
        let supervisor = Supervisor::new(Shutdown::new());
        let shared = Arc::new(store.clone());
        let table = kinds.as_ref().map_or_else(|| resources::Builtin.table(), |kinds| kinds.table());
        let cache = Cache::start(shared.clone(), &supervisor, cache_specs(&table)).await.unwrap();
        let kinds = match kinds {
            Some(kinds) => kinds,
            None => CustomKinds::start(&cache, &supervisor).await.unwrap(),
        };
        let tokens = Issuer::new(TokenSettings {
            issuer: DEFAULT_ISSUER.to_owned(),
            keys: [SigningKey::generate().unwrap()].into(),
            clock: Arc::new(SystemClock),
            lookup: Lookup::new(cache.clone()),
        });
        let mut deps = Deps {
            clock: Arc::new(SystemClock),
            supervisor: supervisor.clone(),
            store: shared,
            cache: cache.clone(),
            resources: kinds,
            authenticator: Arc::new(TokensByName),
            authorizer: Arc::new(AllButNobody),
            admission: Vec::new(),
            reservers: Vec::new(),
            converter: Arc::new(ByRow),
            tokens: Some(Arc::new(tokens)),
            rules: Some(Arc::new(AllButNobody)),
            kubelet: None,
            request_headers: None,
            aggregator: None,
        };
        change(&mut deps);
        let server = Server::build(Config { commit: COMMIT, ..config }, deps);
        let client = server.in_process(user("tester"));
        Self { server, supervisor, store, cache, client }
    }

    pub async fn raw(&self, request: Request<Full<Bytes>>) -> http::Response<Body> {
        let Ok(response) = self.client.clone().call(request).await;
        response
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.raw(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn with_body(&self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("user-agent", "tester/1")
            .body(Full::new(body.into()))
            .unwrap();
        self.send(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "application/json").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(Request::get(path).header("accept", accept).body(Full::default()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::POST, path, "application/json", body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::PUT, path, "application/json", body.to_string()).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.with_body(Method::PATCH, path, kind, body.to_string()).await
    }

    pub async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.patch(path, "application/merge-patch+json", body).await
    }

    pub async fn apply(&self, path: &str, yaml: &'static str) -> Answer {
        self.with_body(Method::PATCH, path, "application/apply-patch+yaml", yaml).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Full::default()).unwrap()).await
    }

    pub async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.with_body(Method::DELETE, path, "application/json", options.to_string()).await
    }
}

/// A config map.
pub fn config_map(name: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";

/// A pod that passes validation.
pub fn pod(name: &str) -> Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    })
}
