//! Requests through the whole pipeline, with real authentication, authorization and admission.

use base::SystemClock;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::bootstrap::BootstrapConfig;
use crate::context::Context;
use crate::request::User;
use crate::request::call::{Certificate, Peer};
use crate::server::pipeline;
use crate::testing::Fixture;
use crate::{Deps, Limits};

struct Setup {
    f: Fixture,
    context: Arc<Context>,
    security: Security,
}

/// Who sends a request.
enum By<'a> {
    Nobody,
    Token(&'a str),
    /// Common name, organization.
    Certificate(&'a str, &'a str),
}

impl Setup {
    async fn new() -> Self {
        let f = Fixture::new().await;
        let clock = Arc::new(SystemClock);
        let mut config = SecurityConfig::new(SigningKey::generate().unwrap());
        config.static_tokens.add("join", User { name: "system:bootstrap:x".into(), ..User::default() });
        let security = Security::start(
            config,
            &f.cache,
            Arc::new(resources::Builtin),
            Arc::new(crate::conversion::ByRow),
            f.caller(),
            clock.clone(),
            &f.supervisor,
        )
        .await
        .unwrap();
        let deps = || Deps {
            clock: clock.clone(),
            supervisor: f.supervisor.clone(),
            store: f.store.clone(),
            cache: f.cache.clone(),
            resources: Arc::new(resources::Builtin),
            authenticator: security.authenticator.clone(),
            authorizer: security.authorizer.clone(),
            admission: security.admission.clone(),
            reservers: security.reservers.clone(),
            converter: Arc::new(crate::conversion::ByRow),
            tokens: Some(security.tokens.clone()),
            rules: Some(security.rules.clone()),
            kubelet: None,
            request_headers: None,
            aggregator: None,
        };
        let server = crate::Server::build(crate::Config::default(), deps());
        let admin = User { groups: vec!["system:masters".into()], ..User::default() };
        let config = BootstrapConfig {
            cluster_name: "knarr".into(),
            cluster_domain: "cluster.local".into(),
            pod_cidr: "10.244.0.0/16".into(),
            service_cidr: "10.96.0.0/12".into(),
            service_ip: "10.96.0.1".parse().unwrap(),
            dns_ip: "10.96.0.10".parse().unwrap(),
            corefile: ". {\n}\n".into(),
            advertise_ip: "192.0.2.1".parse().unwrap(),
            secure_port: 6443,
            client_ca_pem: "pem".into(),
            front_proxy_ca_pem: "proxy pem".into(),
            front_proxy_name: "front-proxy-client".into(),
        };
        bootstrap::run(&client::in_process(server.in_process(admin)), &config).await.unwrap();
        security.settled().await;
        let context = Arc::new(Context::new(Limits::default(), deps()));
        Self { f, context, security }
    }

    /// The status code and the answer.
    async fn send(&self, by: By<'_>, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        let mut certificate = Certificate::Absent;
        match by {
            By::Nobody => {}
            By::Token(token) => request = request.header("authorization", format!("Bearer {token}")),
            By::Certificate(name, organization) => {
                let mut params = CertificateParams::default();
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(DnType::CommonName, name);
                params.distinguished_name.push(DnType::OrganizationName, organization);
                let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
                certificate = Certificate::Verified(signed.der().clone());
            }
        }
        let body = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let peer = Arc::new(Peer::remote("127.0.0.1:1".parse().unwrap(), certificate));
        let response = pipeline::serve(self.context.clone(), peer, request.body(body).unwrap()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, by: By<'_>, path: &str) -> (u16, String) {
        let (status, answer) = self.send(by, Method::GET, path, None).await;
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn everybody_is_somebody_or_refused() {
    let s = Setup::new().await;
    assert_eq!(s.get(By::Nobody, "/version").await.0, 200);
    assert_eq!(
        s.get(By::Nobody, "/api/v1/pods").await,
        (403, r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope"#.into())
    );
    assert_eq!(s.get(By::Nobody, "/metrics").await.0, 403);
    assert_eq!(s.get(By::Token("wrong"), "/version").await, (401, "Unauthorized".into()));
    assert_eq!(s.get(By::Token("join"), "/api").await.0, 200);
    assert_eq!(s.get(By::Certificate("root", "system:masters"), PODS).await.0, 200);
    assert_eq!(s.get(By::Certificate("ann", "staff"), "/apis").await.0, 200);
    let (code, message) = s.get(By::Certificate("system:node:n1", "system:nodes"), "/api/v1/nodes").await;
    assert_eq!(code, 403);
    assert!(message.ends_with("node 'n1' cannot read all nodes, only its own Node object"), "{message}");
    s.f.stop().await;
}

#[tokio::test]
async fn an_account_gets_a_token_and_what_it_is_bound_to() {
    let s = Setup::new().await;
    let root = || By::Certificate("root", "system:masters");
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"metadata": {"name": "bot"}});
    assert_eq!(s.send(root(), Method::POST, accounts, Some(account)).await.0, 201);
    let demand = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}});
    let (code, answer) = s.send(root(), Method::POST, &format!("{accounts}/bot/token"), Some(demand)).await;
    assert_eq!(code, 201, "{answer}");
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let (code, message) = s.get(By::Token(&token), PODS).await;
    assert_eq!(
        (code, message.as_str()),
        (
            403,
            r#"pods is forbidden: User "system:serviceaccount:default:bot" cannot list resource "pods" in API group "" in the namespace "default""#
        )
    );
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, answer) = s.send(root(), Method::POST, reviews, Some(review)).await;
    assert_eq!(answer["status"]["authenticated"], true, "{answer}");
    assert_eq!(answer["status"]["audiences"], json!([DEFAULT_ISSUER]));

    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let binding = json!({
        "metadata": {"name": "bot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": "default"}],
    });
    // Who may do nothing may grant nothing, and who may write bindings may not grant more than he has.
    assert_eq!(s.send(By::Token(&token), Method::POST, bindings, Some(binding.clone())).await.0, 403);
    assert_eq!(s.send(root(), Method::POST, bindings, Some(binding)).await.0, 201);
    s.security.settled().await;
    assert_eq!(s.get(By::Token(&token), PODS).await.0, 200);
    assert_eq!(s.get(By::Token(&token), "/api/v1/namespaces/default/secrets").await.0, 403);
    let ask = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (_, answer) = s.send(By::Token(&token), Method::POST, path, Some(ask)).await;
    assert_eq!(
        answer["status"],
        json!({"allowed": true, "reason": r#"RBAC: allowed by RoleBinding "bot/default" of ClusterRole "view" to ServiceAccount "bot/default""#})
    );
    let gone = s.send(root(), Method::DELETE, &format!("{accounts}/bot"), None).await;
    assert_eq!(gone.0, 200);
    assert_eq!(s.get(By::Token(&token), PODS).await.0, 401);
    s.f.stop().await;
}

#[tokio::test]
async fn a_machine_that_joins_is_known_by_its_token_while_the_token_is_valid() {
    let s = Setup::new().await;
    let root = || By::Certificate("root", "system:masters");
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        },
    });
    assert_eq!(s.send(root(), Method::POST, secrets, Some(secret)).await.0, 201);
    let token = || By::Token("abcdef.0123456789abcdef");
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    assert_eq!(s.get(token(), requests).await.0, 200);
    assert_eq!(s.get(token(), "/api/v1/nodes/n1").await.0, 404);
    assert_eq!(s.get(token(), "/api/v1/namespaces/kube-system/configmaps/kubeadm-config").await.0, 200);
    assert_eq!(
        s.get(token(), secrets).await,
        (403, r#"secrets is forbidden: User "system:bootstrap:abcdef" cannot list resource "secrets" in API group "" in the namespace "kube-system""#.into())
    );
    assert_eq!(s.get(By::Token("abcdef.0123456789abcdee"), requests).await, (401, "Unauthorized".into()));
    let info = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    let (code, map) = s.send(By::Nobody, Method::GET, info, None).await;
    assert_eq!(code, 200);
    assert!(map["data"]["kubeconfig"].as_str().unwrap().contains("server: https://192.0.2.1:6443"), "{map}");
    assert_eq!(s.get(By::Nobody, "/api/v1/namespaces/kube-public/configmaps").await.0, 403);
    let gone = s.send(root(), Method::DELETE, &format!("{secrets}/bootstrap-token-abcdef"), None).await;
    assert_eq!(gone.0, 200);
    assert_eq!(s.get(token(), requests).await.0, 401);
    s.f.stop().await;
}
