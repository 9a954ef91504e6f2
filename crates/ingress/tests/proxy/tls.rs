//! Certificates by name, replaced while the proxy runs, and the protocols over TLS.

use std::sync::Arc;

use ingress::router::Pattern;
use ingress::tls::{self, FALLBACK_NAME};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ground::{Backend, Ground, HTTP};

/// A certificate and its key in PEM, with a name by which a test knows them again.
fn pair(name: &str, hosts: &[&str]) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

async fn connect(ground: &Ground, host: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut config = rustls::ClientConfig::clone(&*serving::unverified_client().expect("a configuration"));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(ground.secure).await.expect("connected");
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("shaken hands")
}

async fn shown(ground: &Ground, host: &str) -> String {
    let stream = connect(ground, host, &[]).await;
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    let (_, leaf) = X509Certificate::from_der(&chain[0]).expect("X.509");
    let name = leaf.subject().iter_common_name().last().expect("a name");
    name.as_str().expect("text").to_owned()
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_replaced_while_the_proxy_runs() {
    let ground = Ground::start().await;
    let show = |host: &str, name: &str| {
        let (chain, key) = pair(name, &[]);
        let read = tls::read(chain.as_bytes(), key.as_bytes()).expect("a certificate");
        ground.certificates.replace(&Pattern::parse(host), Some(read)).expect("replaced");
    };
    assert_eq!(shown(&ground, "a.example").await, FALLBACK_NAME);
    show("a.example", "first");
    show("*.example", "wild");
    assert_eq!(shown(&ground, "a.example").await, "first");
    assert_eq!(shown(&ground, "b.example").await, "wild");
    assert_eq!(shown(&ground, "c.b.example").await, FALLBACK_NAME);
    show("a.example", "second");
    assert_eq!(shown(&ground, "a.example").await, "second");
    ground.certificates.replace(&Pattern::parse("a.example"), None).expect("replaced");
    assert_eq!(shown(&ground, "a.example").await, "wild");
    assert_eq!(shown(&ground, "127.0.0.1").await, FALLBACK_NAME);
    ground.stop().await;
}

#[tokio::test]
async fn the_protocol_is_agreed_upon_and_endpoints_hear_that_the_client_is_safe() {
    let ground = Ground::start().await;
    let backend = Backend::start(|request: hyper::Request<hyper::body::Incoming>| async move {
        let proto = request.headers()["x-forwarded-proto"].to_str().expect("text").to_owned();
        hyper::Response::new(crate::ground::text(proto))
    })
    .await;
    ground.lead("a.example", HTTP, &[&backend]);
    let stream = connect(&ground, "a.example", &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.expect("connected");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let request = hyper::Request::get("https://a.example/").body(crate::ground::text("")).expect("a request");
    let response = sender.send_request(request).await.expect("a response");
    assert_eq!(response.version(), hyper::Version::HTTP_2);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    assert_eq!(&*body, b"https");
    let old = connect(&ground, "a.example", &["http/1.1"]).await;
    assert_eq!(old.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    ground.stop().await;
}

#[test]
fn what_is_no_certificate_is_told_from_one() {
    let (chain, key) = pair("a", &["a.example", "*.b.example"]);
    let (_, other) = pair("b", &[]);
    let read = |chain: &str, key: &str| tls::read(chain.as_bytes(), key.as_bytes());
    let hosts = tls::hosts(&read(&chain, &key).expect("a certificate"));
    assert_eq!(hosts, [Pattern::parse("a.example"), Pattern::parse("*.b.example")]);
    for (chain, key, says) in [
        (chain.as_str(), other.as_str(), "keys may not be consistent"),
        ("", &key, "its tls.crt holds no certificate"),
        (&chain, "no key", "its tls.key is no valid PEM"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", &key, "its tls.crt is no valid PEM"),
    ] {
        let error = read(chain, key).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}
