use std::net::Ipv4Addr;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::testing::Authority;

const PATIENCE: Duration = Duration::from_secs(10);

fn issue(authority: &Authority) -> (String, String) {
    authority.issue("client", None)
}

fn tls(authority: &Authority, unverified: Unverified) -> ServerTls {
    let (chain, key) = issue(authority);
    let policy = Policy { unverified, protocols: &["http/1.1"] };
    let pem = Pem { chain: chain.as_bytes(), key: key.as_bytes(), client_ca: authority.pem.as_bytes() };
    ServerTls::new(policy, pem).expect("all parts fit")
}

/// Both sides of a handshake and a byte each way: what the server has, and whether the client was served.
async fn meet(tls: &ServerTls, mut client: ClientConfig) -> (Option<TlsStream<TcpStream>>, bool) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = async {
        let socket = TcpStream::connect(address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let Ok(mut stream) = TlsConnector::from(Arc::new(client)).connect(name, socket).await else {
            return false;
        };
        let connection: &ClientConnection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.read_u8().await.is_ok()
    };
    let server = async {
        let (socket, _) = listener.accept().await.expect("accepted");
        let mut stream = tls.handshake(socket, PATIENCE).await?;
        stream.write_u8(1).await.expect("written");
        stream.flush().await.expect("written");
        Some(stream)
    };
    tokio::join!(server, client)
}

fn verdict(tls: &ServerTls, stream: &TlsStream<TcpStream>) -> Result<(), rustls::Error> {
    tls.verify_client(stream.get_ref().1.peer_certificates().unwrap_or(&[]), UnixTime::now())
}

#[tokio::test]
async fn an_unverified_client_takes_any_certificate() {
    let tls = tls(&Authority::new(), Unverified::Refused);
    let client = crate::unverified_client().expect("a configuration");
    let (stream, served) = meet(&tls, ClientConfig::clone(&client)).await;
    assert!(served && stream.is_some_and(|stream| stream.get_ref().1.peer_certificates().is_none()));
}

#[tokio::test]
async fn a_client_without_certificate_is_served_under_every_policy() {
    let authority = Authority::new();
    for unverified in [Unverified::Refused, Unverified::Served] {
        let tls = tls(&authority, unverified);
        let (stream, served) = meet(&tls, authority.client(None)).await;
        assert!(served);
        assert_eq!(verdict(&tls, &stream.expect("connected")), Err(rustls::Error::NoCertificatesPresented));
    }
}

#[tokio::test]
async fn a_strangers_certificate_is_refused_or_marked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shown = issue(&stranger);
    let refusing = tls(&authority, Unverified::Refused);
    let (stream, served) = meet(&refusing, authority.client(Some(&shown))).await;
    assert!(stream.is_none() && !served);
    let serving = tls(&authority, Unverified::Served);
    let (stream, served) = meet(&serving, authority.client(Some(&shown))).await;
    assert!(served);
    assert!(verdict(&serving, &stream.expect("connected")).is_err());
}

#[tokio::test]
async fn replaced_parts_count_for_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    for unverified in [Unverified::Refused, Unverified::Served] {
        let tls = tls(&old, unverified);
        let (chain, key) = issue(&new);
        assert!(tls.replace_serving(b"junk", key.as_bytes()).is_err());
        assert!(tls.replace_serving(chain.as_bytes(), issue(&old).1.as_bytes()).is_err(), "another key");
        assert!(tls.replace_client_ca(b"").is_err());
        let (stream, served) = meet(&tls, old.client(Some(&issue(&old)))).await;
        assert!(served, "the old parts stay");
        verdict(&tls, &stream.expect("connected")).expect("verified");

        tls.replace_serving(chain.as_bytes(), key.as_bytes()).expect("usable");
        tls.replace_client_ca(new.pem.as_bytes()).expect("usable");
        assert!(!meet(&tls, old.client(None)).await.1, "the old authority's clients do not know the server");
        let (stream, served) = meet(&tls, new.client(Some(&issue(&new)))).await;
        assert!(served);
        verdict(&tls, &stream.expect("connected")).expect("verified");
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let tls = tls(&Authority::new(), Unverified::Refused);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let _silent = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let (socket, _) = listener.accept().await.expect("accepted");
    assert!(tls.handshake(socket, Duration::from_millis(10)).await.is_none());
}
