use std::net::Ipv4Addr;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self) -> (String, String) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }

    fn tls(&self, unverified: Unverified) -> Tls {
        let (chain, key) = self.issue();
        let policy = Policy { unverified, protocols: &["http/1.1"] };
        let pem = Pem { chain: chain.as_bytes(), key: key.as_bytes(), client_ca: self.pem.as_bytes() };
        Tls::new(policy, pem).expect("all parts fit")
    }

    /// A client that trusts this authority and shows the certificate given.
    fn client(&self, shown: Option<&(String, String)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")).expect("a CA");
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = read_certificates(chain.as_bytes(), "chain").expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// Both sides of a handshake and a byte each way: what the server has, and whether the client was served.
async fn meet(tls: &Tls, client: ClientConfig) -> (Option<TlsStream<TcpStream>>, bool) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
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

fn verdict(tls: &Tls, stream: &TlsStream<TcpStream>) -> Result<(), rustls::Error> {
    tls.verify_client(stream.get_ref().1.peer_certificates().unwrap_or(&[]), UnixTime::now())
}

#[tokio::test]
async fn a_client_without_certificate_is_served_under_every_policy() {
    let authority = Authority::new();
    for unverified in [Unverified::Refused, Unverified::Served] {
        let tls = authority.tls(unverified);
        let (stream, served) = meet(&tls, authority.client(None)).await;
        assert!(served);
        assert_eq!(verdict(&tls, &stream.expect("connected")), Err(rustls::Error::NoCertificatesPresented));
    }
}

#[tokio::test]
async fn a_strangers_certificate_is_refused_or_marked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shown = stranger.issue();
    let refusing = authority.tls(Unverified::Refused);
    let (stream, served) = meet(&refusing, authority.client(Some(&shown))).await;
    assert!(stream.is_none() && !served);
    let serving = authority.tls(Unverified::Served);
    let (stream, served) = meet(&serving, authority.client(Some(&shown))).await;
    assert!(served);
    assert!(verdict(&serving, &stream.expect("connected")).is_err());
}

#[tokio::test]
async fn replaced_parts_count_for_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    for unverified in [Unverified::Refused, Unverified::Served] {
        let tls = old.tls(unverified);
        let (chain, key) = new.issue();
        assert!(tls.replace_serving(b"junk", key.as_bytes()).is_err());
        assert!(tls.replace_serving(chain.as_bytes(), old.issue().1.as_bytes()).is_err(), "another key");
        assert!(tls.replace_client_ca(b"").is_err());
        let (stream, served) = meet(&tls, old.client(Some(&old.issue()))).await;
        assert!(served, "the old parts stay");
        verdict(&tls, &stream.expect("connected")).expect("verified");

        tls.replace_serving(chain.as_bytes(), key.as_bytes()).expect("usable");
        tls.replace_client_ca(new.pem.as_bytes()).expect("usable");
        assert!(!meet(&tls, old.client(None)).await.1, "the old authority's clients do not know the server");
        let (stream, served) = meet(&tls, new.client(Some(&new.issue()))).await;
        assert!(served);
        verdict(&tls, &stream.expect("connected")).expect("verified");
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let tls = Authority::new().tls(Unverified::Refused);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let _silent = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let (socket, _) = listener.accept().await.expect("accepted");
    assert!(tls.handshake(socket, Duration::from_millis(10)).await.is_none());
}
