//! Objects in caches that nothing feeds, and what the proxy is told of them.

use base::Supervisor;
use http::{HeaderMap, Method};
use informer::Cache;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::proxy::{Pool, ProxyDeps};
use crate::router::Asked;

struct Ground {
    feed: Feed,
    shown: Arc<Certificates>,
}

impl Ground {
    fn new() -> Self {
        let view = View::of(Cache::new(), Cache::new(), Cache::new(), Cache::new(), Cache::new());
        let supervisor = Supervisor::new(Shutdown::new());
        let certificates = Arc::new(Certificates::new(Timestamp::UNIX_EPOCH).expect("a certificate"));
        let deps = ProxyDeps {
            certificates: certificates.clone(),
            limits: Limits::default(),
            metrics: Metrics::default(),
            https_port: 443,
            supervisor: supervisor.clone(),
        };
        let proxy = Proxy::new(deps).expect("a proxy");
        let ports = Ports::new(proxy.clone(), supervisor, 0, 0);
        let addresses = watch::channel(Vec::new()).1;
        let shown = certificates.clone();
        let feed = Feed::new(FeedDeps { view, proxy, certificates, ports, told: Told::default(), addresses });
        let ground = Self { feed, shown };
        ground.class("knarr", translate::CONTROLLER);
        ground
    }

    fn view(&self) -> &View {
        &self.feed.deps.view
    }

    fn class(&self, name: &str, controller: &str) {
        let class = json!({"metadata": {"name": name}, "spec": {"controller": controller}});
        self.view().classes.apply(serde_json::from_value(class).expect("a class"));
    }

    fn ingress(&self, name: &str, class: &str, spec: Value) {
        let mut ingress = json!({"metadata": {"namespace": "n", "name": name}, "spec": spec});
        ingress["spec"]["ingressClassName"] = class.into();
        self.view().ingresses.apply(serde_json::from_value(ingress).expect("an Ingress"));
    }

    fn service(&self, name: &str, addresses: &[&str]) {
        let service =
            json!({"metadata": {"namespace": "n", "name": name}, "spec": {"ports": [{"port": 80}]}});
        self.view().services.apply(serde_json::from_value(service).expect("a Service"));
        let endpoints: Vec<Value> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
        let slice = json!({
            "metadata": {"namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}],
        });
        self.view().slices.apply(serde_json::from_value(slice).expect("a slice"));
    }

    async fn work(&mut self) {
        let news = self.feed.dirty.take();
        self.feed.apply(news).await;
    }

    fn pool(&self, host: &str, path: &str) -> Option<Arc<Pool>> {
        let asked = Asked { host, path, method: &Method::GET, headers: &HeaderMap::new(), roll: 0 };
        self.feed.deps.proxy.router().find(&asked)
    }

    /// Where a request goes, in words.
    fn goes(&self, host: &str, path: &str) -> String {
        let Some(pool) = self.pool(host, path) else { return "nowhere".to_owned() };
        pool.addresses().join(" ")
    }
}

fn rules(host: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    json!({"rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]})
}

#[tokio::test]
async fn the_proxy_follows_ingresses_services_and_classes() {
    let mut ground = Ground::new();
    ground.ingress("a", "knarr", rules("a", "web"));
    ground.ingress("b", "other", rules("b", "web"));
    ground.work().await;
    assert_eq!(ground.goes("a", "/"), "");
    assert_eq!(ground.goes("b", "/"), "nowhere", "its class is nobody's");
    let pool = ground.pool("a", "/").expect("a pool");
    ground.service("web", &["10.0.0.1", "10.0.0.2"]);
    ground.work().await;
    assert_eq!(ground.goes("a", "/"), "10.0.0.1:8080 10.0.0.2:8080");
    assert!(Arc::ptr_eq(&pool, &ground.pool("a", "/").expect("a pool")), "the rules stay as they are");
    ground.class("other", translate::CONTROLLER);
    ground.work().await;
    assert_eq!(ground.goes("b", "/"), "10.0.0.1:8080 10.0.0.2:8080");
    assert!(Arc::ptr_eq(&pool, &ground.pool("b", "/").expect("a pool")), "one pool for one backend");
    ground.class("other", "example.com/other");
    ground.ingress("a", "knarr", rules("c", "web"));
    ground.work().await;
    assert_eq!(
        ["a", "b", "c"].map(|host| ground.goes(host, "/")),
        ["nowhere", "nowhere", "10.0.0.1:8080 10.0.0.2:8080"]
    );
    assert!(ground.view().has_any());
    ground.ingress("a", "other", rules("c", "web"));
    ground.work().await;
    assert_eq!(ground.goes("c", "/"), "nowhere");
    assert!(!ground.view().has_any());
}

#[tokio::test]
async fn the_default_backend_is_everybodys() {
    let mut ground = Ground::new();
    ground.service("web", &["10.0.0.1"]);
    ground.ingress(
        "d",
        "knarr",
        json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
    );
    ground.work().await;
    assert_eq!(ground.goes("any", "/x"), "10.0.0.1:8080");
    ground.ingress(
        "d",
        "other",
        json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
    );
    ground.work().await;
    assert_eq!(ground.goes("any", "/x"), "nowhere");
}

#[tokio::test]
async fn pools_without_rules_are_forgotten() {
    let mut ground = Ground::new();
    for round in 0..600 {
        ground.ingress("a", "knarr", rules("a", &format!("web{round}")));
        ground.work().await;
    }
    assert!(ground.feed.pools.len() < 300, "{} pools", ground.feed.pools.len());
}

#[tokio::test]
async fn certificates_follow_secrets() {
    let mut ground = Ground::new();
    let secret = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(names).expect("names");
        let chain = params.self_signed(&key).expect("a certificate").pem();
        let data = [("tls.crt", chain), ("tls.key", key.serialize_pem())];
        k8s_openapi::api::core::v1::Secret {
            metadata: serde_json::from_value(json!({"namespace": "n", "name": "s"})).expect("metadata"),
            data: Some(
                data.map(|(key, text)| (key.to_owned(), k8s_openapi::ByteString(text.into_bytes()))).into(),
            ),
            ..Default::default()
        }
    };
    let mut with_tls = rules("a", "web");
    with_tls["tls"] = json!([{"hosts": ["a"], "secretName": "s"}, {"secretName": "s"}]);
    ground.ingress("a", "knarr", with_tls.clone());
    ground.work().await;
    assert_eq!(ground.shown.count(&["a", "b.example"]), 0);
    ground.view().secrets.apply(secret(&["b.example"]));
    ground.work().await;
    assert_eq!(
        ground.shown.count(&["a", "b.example"]),
        2,
        "hosts that are named, and else the certificate's"
    );
    ground.ingress("a", "other", with_tls);
    ground.work().await;
    assert_eq!(ground.shown.count(&["a", "b.example"]), 0);
}
