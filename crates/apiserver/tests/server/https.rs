//! The server behind TLS: identities, refusals, streams to a node, the stop.

use std::net::SocketAddr;
use std::sync::Arc;

use apiserver::identity::authn::RequestHeaders;
use apiserver::{Deps, KubeletClient, Limits};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams, PostParams};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use serving::testing::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};

/// What a server shows that trusts this authority.
fn tls(authority: &Authority, cert: &str, key: &str) -> serving::ServerTls {
    let client_ca = authority.pem.as_bytes();
    apiserver::tls(serving::Pem { chain: cert.as_bytes(), key: key.as_bytes(), client_ca }).unwrap()
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|c| c.unwrap()).collect()
}

pub struct Https {
    pub harness: Harness,
    pub authority: Authority,
    address: SocketAddr,
}

pub async fn start() -> Https {
    start_with(Limits::default()).await
}

async fn start_with(limits: Limits) -> Https {
    let authority = Authority::new();
    let (cert, key) = authority.issue("client", None);
    let kubelet = KubeletClient::from_pem(authority.pem.as_bytes(), cert.as_bytes(), key.as_bytes()).unwrap();
    let harness = Harness::limited(limits, Vec::new(), Some(Arc::new(kubelet))).await;
    serve(harness, authority).await
}

/// A server with other parts than the usual ones.
pub async fn start_made_of(change: impl FnOnce(&mut Deps)) -> Https {
    serve(Harness::made_of(change).await, Authority::new()).await
}

/// This server behind TLS.
pub async fn serve(harness: Harness, authority: Authority) -> Https {
    let (cert, key) = authority.issue("server", None);
    let tls = Arc::new(tls(&authority, &cert, &key));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, shutdown) = (harness.server.clone(), harness.supervisor.shutdown().clone());
    harness.supervisor.spawn(base::TaskKind::Background, "server", async move {
        server.run(listener, tls, shutdown).await;
    });
    Https { harness, authority, address }
}

impl Https {
    fn client(&self, authority: &Authority) -> kube::Client {
        let (certificate_pem, key_pem) = authority.issue("client", None);
        client::https(&client::Endpoint {
            server: format!("https://{}", self.address),
            ca_pem: self.authority.pem.clone(),
            certificate_pem,
            key_pem,
        })
        .unwrap()
    }

    /// A raw HTTP/1.1 connection without a client certificate.
    pub async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain(&self.authority.pem).remove(0)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    /// Sends text and reads until the server closes or `until` is seen.
    pub async fn exchange(&self, request: &str, until: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, until).await
    }
}

pub async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), until: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        seen.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        if n == 0 || text.contains(until) {
            return text;
        }
    }
}

#[tokio::test]
async fn certificates_and_tokens_identify_and_others_are_refused() {
    let https = start().await;
    let api: Api<ConfigMap> = Api::namespaced(https.client(&https.authority), "default");
    let named = kube::core::ObjectMeta { name: Some("a".into()), ..Default::default() };
    let map = ConfigMap { metadata: named, ..Default::default() };
    let made = api.create(&PostParams::default(), &map).await.unwrap();
    assert!(made.metadata.uid.is_some());
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let stranger: Api<ConfigMap> = Api::namespaced(https.client(&Authority::new()), "default");
    match stranger.get("a").await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 401),
        other => panic!("{other:?}"),
    }
    let get = |more: &str| format!("GET /api/v1/pods HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
    assert!(https.exchange(&get(""), "}").await.starts_with("HTTP/1.1 401"));
    let jane = https.exchange(&get("authorization: Bearer token-jane\r\n"), "items").await;
    assert!(jane.starts_with("HTTP/1.1 200"), "{jane}");
    let nobody = https.exchange(&get("authorization: Bearer token-nobody\r\n"), "details").await;
    assert!(nobody.contains(r#"pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" at the cluster scope"#), "{nobody}");
    let as_nobody = get("authorization: Bearer token-jane\r\nimpersonate-user: nobody\r\n");
    assert!(https.exchange(&as_nobody, "details").await.starts_with("HTTP/1.1 403"));
    assert!(
        https
            .exchange("GET /livez HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-nobody\r\n\r\n", "ok")
            .await
            .starts_with("HTTP/1.1 200")
    );
    // What is no HTTP ends that connection and nothing else.
    https.exchange("GET / HTTP/1.1\r\nno header\r\n\r\n", "\r\n\r\n").await;
    assert!(https.exchange(&get("authorization: Bearer token-jane\r\n"), "items").await.contains(" 200 "));
}

#[tokio::test]
async fn a_front_proxy_says_whose_a_request_is_and_nobody_else_does() {
    let proxies = Authority::new();
    let allowed = RequestHeaders::new(proxies.pem.as_bytes(), vec!["front-proxy-client".to_owned()]);
    let https = start_made_of(|deps| deps.request_headers = Some(Arc::new(allowed.unwrap()))).await;
    let ask = async |shown: Option<(String, String)>, more: &str| {
        let mut config = https.authority.client(shown.as_ref());
        config.alpn_protocols.clear();
        let socket = TcpStream::connect(https.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
        let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        let request = format!(
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{review}",
            review.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "never").await
    };
    let headers = "x-remote-user: ann\r\nx-remote-group: a\r\nx-remote-group: b\r\nx-remote-uid: 7\r\n\
        x-remote-extra-of%2fme: c\r\n";
    let proxy = || Some(proxies.issue("front-proxy-client", None));
    let answer = ask(proxy(), headers).await;
    let user = r#""userInfo":{"extra":{"of/me":["c"]},"groups":["a","b","system:authenticated"],"uid":"7","username":"ann"}"#;
    assert!(answer.contains(user), "{answer}");
    assert!(ask(proxy(), "").await.starts_with("HTTP/1.1 401"));
    assert!(ask(proxy(), "authorization: Bearer token-jane\r\n").await.contains(r#""username":"jane""#));
    let strangers =
        [Some(proxies.issue("other", None)), Some(Authority::new().issue("front-proxy-client", None)), None];
    for stranger in strangers {
        assert!(ask(stranger, headers).await.starts_with("HTTP/1.1 401"));
    }
    // A client with a certificate of its own is itself, whatever it writes.
    let answer = ask(Some(https.authority.issue("front-proxy-client", None)), headers).await;
    assert!(answer.contains(r#""username":"certified""#), "{answer}");
}

#[tokio::test]
async fn watches_end_when_the_server_stops() {
    let https = start().await;
    let watch = "GET /api/v1/pods?watch=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-jane\r\n\r\n";
    let mut stream = https.connect().await;
    stream.write_all(watch.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    https.harness.supervisor.shutdown().start();
    assert!(read_until(&mut stream, "0\r\n\r\n").await.ends_with("0\r\n\r\n"));
    https.harness.supervisor.drain(std::time::Duration::from_secs(5)).await;
}

/// What lets in clients with a certificate, at an address.
async fn node_listener(authority: &Authority) -> (TlsAcceptor, TcpListener) {
    let (cert, key) = authority.issue("node", None);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain(&authority.pem).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(chain(&cert), PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap())
}

/// An agent that answers one request a connection with these texts in turn, to clients with a certificate.
pub async fn agent_saying(
    authority: &Authority,
    answers: Vec<String>,
) -> (SocketAddr, BoxFuture<'static, Vec<String>>) {
    let (acceptor, listener) = node_listener(authority).await;
    let address = listener.local_addr().unwrap();
    let serving = async move {
        let mut requests = Vec::new();
        for body in answers {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(socket).await.unwrap();
            requests.push(read_until(&mut stream, "\r\n\r\n").await);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        requests
    };
    (address, Box::pin(serving))
}

/// An agent that answers logs and echoes what is sent after an upgrade, to clients with a certificate.
async fn agent(authority: &Authority, connections: usize) -> (SocketAddr, BoxFuture<'static, Vec<String>>) {
    let (acceptor, listener) = node_listener(authority).await;
    let address = listener.local_addr().unwrap();
    let serving = async move {
        let mut requests = Vec::new();
        for _ in 0..connections {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(socket).await.unwrap();
            let request = read_until(&mut stream, "\r\n\r\n").await;
            if request.contains("/containerLogs/") {
                let answer =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            } else {
                let answer =
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1\r\nconnection: Upgrade\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let said = read_until(&mut stream, "ping").await;
                stream.write_all(format!("echo:{said}").as_bytes()).await.unwrap();
            }
            stream.shutdown().await.unwrap();
            requests.push(request);
        }
        requests
    };
    (address, Box::pin(serving))
}

#[tokio::test]
async fn logs_and_streams_come_from_the_pods_node() {
    let https = start().await;
    let (agent, serving) = agent(&https.authority, 3).await;
    let (requests, ()) = tokio::join!(serving, ask_for_streams(&https, agent.port()));
    assert!(
        requests[0].starts_with("GET /containerLogs/default/p/c?tailLines=3 HTTP/1.1"),
        "{}",
        requests[0]
    );
    assert!(requests[1].starts_with("GET /containerLogs/default/p/c HTTP/1.1"), "{}", requests[1]);
    assert!(!requests[1].contains("pgrade"), "the client's upgrade is not the node's: {}", requests[1]);
    let requests = &requests[1..];
    let exec = "POST /exec/default/p/c?input=1&output=1&command=ls&command=-l%20a HTTP/1.1";
    assert!(requests[1].starts_with(exec), "{}", requests[1]);
    for credential in ["token-jane", "c2VjcmV0", "somebody"] {
        assert!(!requests[1].contains(credential), "credentials must not reach the node: {}", requests[1]);
    }
    assert!(requests[1].contains("sec-websocket-protocol: v5.channel.k8s.io\r\n"), "{}", requests[1]);
}

const HANDSHAKE: &str = "authorization: Bearer token-jane\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_watch_comes_over_a_websocket_where_the_client_asks_for_one() {
    let https = start().await;
    let request = format!("GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nhost: x\r\n{HANDSHAKE}\r\n");
    let mut stream = https.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    https.harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let event = read_until(&mut stream, "}\n").await;
    // One text message: its head of four bytes, then the line.
    let start = event.find('{').expect("an event");
    assert!(event[start..].starts_with(r#"{"type":"ADDED","object":{"kind":"ConfigMap""#), "{event}");
    assert!(event.as_bytes()[0] != b'{' && start <= 8, "{event}");
    https.harness.supervisor.shutdown().start();
}

#[tokio::test]
async fn an_answer_ends_with_a_newline() {
    let https = start().await;
    https.harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    for path in ["a", "missing"] {
        let get = format!(
            "GET {CONFIG_MAPS}/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer token-jane\r\n\r\n"
        );
        let answer = https.exchange(&get, "never").await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(body.starts_with(r#"{"kind":""#) && body.ends_with("}\n"), "{answer}");
        assert!(answer.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    }
}

async fn ask_for_streams(https: &Https, port: u16) {
    let harness = &https.harness;
    harness.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.ok();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    harness.merge("/api/v1/nodes/n1/status", &status).await.ok();
    let mut body = pod("p");
    body["spec"]["nodeName"] = "n1".into();
    harness.post(PODS, &body).await.ok();
    let api: Api<Pod> = Api::namespaced(https.client(&https.authority), "default");
    let logs = api.logs("p", &LogParams { tail_lines: Some(3), ..LogParams::default() }).await.unwrap();
    assert_eq!(logs, "hello\n");
    let request = format!(
        "GET {PODS}/p/log HTTP/1.1\r\nhost: x\r\n{HANDSHAKE}sec-websocket-protocol: base64.binary.k8s.io\r\n\r\n"
    );
    let mut stream = https.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "aGVsbG8K").await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("base64.binary.k8s.io"), "{answer}");
    let request = format!(
        "POST {PODS}/p/exec?command=ls&command=-l%20a&stdin=true&stdout=true HTTP/1.1\r\nhost: x\r\n\
         authorization: Bearer token-jane\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\ncontent-length: 0\r\n\
         sec-websocket-protocol: base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io\r\n\
         impersonate-user: somebody\r\n\r\n"
    );
    let mut stream = https.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut stream, "echo:ping").await, "echo:ping");
}

#[tokio::test]
async fn a_serving_certificate_can_be_replaced_while_running() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("first", None);
    let tls = tls(&authority, &cert, &key);
    assert!(tls.replace_serving(b"junk", key.as_bytes()).is_err());
    let (cert, key) = authority.issue("second", None);
    tls.replace_serving(cert.as_bytes(), key.as_bytes()).unwrap();
    tls.replace_client_ca(authority.pem.as_bytes()).unwrap();
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_not_waited_for() {
    let patience = std::time::Duration::from_millis(300);
    let https = start_with(Limits { patience, ..Limits::default() }).await;
    let mut silent = https.connect().await;
    assert_eq!(read_until(&mut silent, "never").await, "");
    // Whoever has asked once is served for as long as the answer goes on.
    let watch = "GET /api/v1/pods?watch=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-jane\r\n\r\n";
    let mut watching = https.connect().await;
    watching.write_all(watch.as_bytes()).await.unwrap();
    read_until(&mut watching, "\r\n\r\n").await;
    assert!(tokio::time::timeout(patience * 3, read_until(&mut watching, "never")).await.is_err());
}

#[tokio::test]
async fn what_is_no_request_is_answered() {
    let https = start().await;
    let long = "x".repeat(80 << 10);
    for (request, status) in [
        ("BREW\r\n\r\n".to_owned(), "400"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
        ("GET /version HTTP/1.1\r\nA b: c\r\n\r\n".to_owned(), "400"),
        ("GET /version HTTP/1.1\r\nno header\r\n\r\n".to_owned(), "400"),
        (format!("GET /version HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), "431"),
        (format!("GET /version?{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "431"),
    ] {
        let mut stream = https.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        let shown = &request[..request.len().min(60)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer:?}");
    }
    https.harness.supervisor.shutdown().start();
}

#[tokio::test]
async fn what_is_no_request_ends_its_connection_and_nothing_else() {
    let https = start().await;
    let mut plain = TcpStream::connect(https.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!read_until(&mut plain, "never").await.contains("HTTP/1.1 200"));
    let post = format!("POST {PODS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-t\r\n");
    let long = format!("GET /version HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(4 << 20));
    for request in [
        "\0\0\0\0\r\n\r\n",
        "BREW\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /version HTTP/1.1\r\nA b: c\r\n\r\n",
        &long,
        &format!("{post}Content-Length: x\r\n\r\n"),
        &format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}"),
        &format!("{post}Transfer-Encoding: chunked\r\n\r\nno number\r\n"),
        &format!("{post}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"kind\":"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frames at all, none",
    ] {
        let mut stream = https.connect().await;
        // The server may have closed by now: that is an answer too.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.shutdown().await;
        let answer = read_until(&mut stream, "never").await;
        let shown = &request[..request.len().min(120)];
        assert!(!answer.contains(" 200 ") && !answer.contains(" 50"), "{shown:?}: {answer}");
    }
    let version = https
        .exchange(
            "GET /version HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-t\r\nConnection: close\r\n\r\n",
            "never",
        )
        .await;
    assert!(version.starts_with("HTTP/1.1 200"), "{version}");
    assert_eq!(https.harness.get(PODS).await.ok()["items"], json!([]));
    https.harness.supervisor.shutdown().start();
}
