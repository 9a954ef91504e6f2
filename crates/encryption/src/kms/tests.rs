//! The provider against a plugin that listens on a socket of its own.

use std::convert::Infallible;
use std::sync::Mutex as Lock;

use base::{Shutdown, Supervisor, TaskKind};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use store::{Error, Expect, Memory, Store};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic_prost::ProstCodec;

use super::plugin::{
    DECRYPT, DecryptRequest, DecryptResponse, ENCRYPT, EncryptRequest, EncryptResponse, STATUS,
    StatusRequest, StatusResponse,
};
use super::*;
use crate::{Configuration, Encrypted};

const SECRET: &str = "/registry/secrets/default/s";

/// A plugin that mirrors what it encrypts.
#[derive(Clone, Default)]
struct Mirror(Arc<Lock<Said>>);

#[derive(Default)]
struct Said {
    key_id: String,
    unwell: bool,
    /// It answers nothing.
    hangs: bool,
    asked: usize,
    decrypted: usize,
}

impl Mirror {
    fn with<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.0.lock().expect("nobody panics with it"))
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let hangs = self.with(|said| {
            said.asked += 1;
            said.hangs
        });
        if hangs {
            std::future::pending::<()>().await;
        }
        match request.uri().path() {
            STATUS => {
                let answer = tower::service_fn(move |_: tonic::Request<StatusRequest>| {
                    let status = self.with(|said| StatusResponse {
                        version: "v2".to_owned(),
                        healthz: if said.unwell { "sealed" } else { "ok" }.to_owned(),
                        key_id: said.key_id.clone(),
                    });
                    async { Ok(tonic::Response::new(status)) }
                });
                tonic::server::Grpc::new(ProstCodec::default()).unary(answer, request).await
            }
            ENCRYPT => {
                let answer = tower::service_fn(move |request: tonic::Request<EncryptRequest>| {
                    let key_id = self.with(|said| said.key_id.clone());
                    let ciphertext = request.into_inner().plaintext.into_iter().rev().collect();
                    let annotations = [("kind.mirror.example".to_owned(), b"m".to_vec())].into();
                    async { Ok(tonic::Response::new(EncryptResponse { ciphertext, key_id, annotations })) }
                });
                tonic::server::Grpc::new(ProstCodec::default()).unary(answer, request).await
            }
            DECRYPT => {
                let answer = tower::service_fn(move |request: tonic::Request<DecryptRequest>| {
                    let request = request.into_inner();
                    let refused = self.with(|said| {
                        said.decrypted += 1;
                        said.unwell
                    });
                    let plaintext: Vec<u8> = request.ciphertext.into_iter().rev().collect();
                    let known = request.annotations.contains_key("kind.mirror.example");
                    async move {
                        if refused || !known {
                            return Err(tonic::Status::unavailable("sealed"));
                        }
                        Ok(tonic::Response::new(DecryptResponse { plaintext }))
                    }
                });
                tonic::server::Grpc::new(ProstCodec::default()).unary(answer, request).await
            }
            other => panic!("{other} is no call of a plugin"),
        }
    }
}

struct Setting {
    mirror: Mirror,
    supervisor: Supervisor,
    folder: tempfile::TempDir,
    inner: Arc<dyn Store>,
}

impl Setting {
    fn new(key_id: &str) -> Self {
        let mirror = Mirror::default();
        mirror.with(|said| said.key_id = key_id.to_owned());
        Self {
            mirror,
            supervisor: Supervisor::new(Shutdown::new()),
            folder: tempfile::tempdir().expect("a folder"),
            inner: Arc::new(Memory::new(store::memory::Config::default())),
        }
    }

    fn listen(&self) {
        let listener = UnixListener::bind(self.folder.path().join("kms.sock")).expect("a socket");
        let mirror = self.mirror.clone();
        self.supervisor.spawn(TaskKind::Background, "mirror", async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let mirror = mirror.clone();
                let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                    let mirror = mirror.clone();
                    async move { Ok::<_, Infallible>(mirror.answer(request.map(Body::new)).await) }
                });
                connections.spawn(
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service),
                );
            }
        });
    }

    fn configuration(&self) -> Configuration {
        let socket = self.folder.path().join("kms.sock");
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{{resources: [secrets], \
             providers: [{{kms: {{apiVersion: v2, name: mirror, endpoint: 'unix://{}', timeout: 2s}}}}, {{identity: {{}}}}]}}]",
            socket.display()
        );
        Configuration::parse(&text, |_| vec!["/registry/secrets/".to_owned()])
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// A server's store, with the service that it asks.
    fn server(&self) -> (Encrypted, Arc<Kms>) {
        let configuration = self.configuration();
        let kms = configuration.key_services().pop().expect("one service");
        (Encrypted::new(Arc::clone(&self.inner), configuration), kms)
    }
}

async fn put(store: &Encrypted, value: &'static str) -> Result<(), Error> {
    store.put(SECRET, Bytes::from_static(value.as_bytes()), Expect::Anything, None).await.map(drop)
}

async fn get(store: &Encrypted) -> Result<Bytes, String> {
    match store.get(SECRET).await {
        Ok((found, _)) => Ok(found.expect("there").value),
        Err(error) => Err(error.to_string()),
    }
}

async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// What came of several at a time, how long all took, and how often the service was asked.
async fn together<T, E>(setting: &Setting, each: impl AsyncFn() -> Result<T, E>) -> (usize, Duration, usize) {
    let (before, since) = (setting.mirror.with(|said| said.asked), tokio::time::Instant::now());
    let all = futures::future::join_all((0..10).map(|_| each())).await;
    let failed = all.iter().filter(|one| one.is_err()).count();
    (failed, since.elapsed(), setting.mirror.with(|said| said.asked) - before)
}

#[tokio::test]
async fn a_service_that_hangs_is_waited_for_once() {
    let setting = Setting::new("one");
    setting.listen();
    let (store, _) = setting.server();
    put(&store, "password").await.expect("written");
    let (other, others) = setting.server();
    others.ask().await.expect("asked");
    setting.mirror.with(|said| said.hangs = true);
    tokio::time::pause();
    tokio::time::advance(SEED_LIFE).await;
    // The configured time limit is 2 s.
    let limit = Duration::from_secs(2)..Duration::from_secs(3);
    let writing = async || put(&store, "more").await;
    let (failed, took, asked) = together(&setting, writing).await;
    assert!(failed == 10 && limit.contains(&took) && asked <= 1, "{failed} failed, {took:?}, {asked}");
    assert_eq!(together(&setting, writing).await, (10, Duration::ZERO, 0), "the last failure still counts");
    let reading = async || get(&other).await;
    let (failed, took, asked) = together(&setting, reading).await;
    assert!(failed == 10 && limit.contains(&took) && asked <= 1, "{failed} failed, {took:?}, {asked}");
    assert_eq!(together(&setting, reading).await, (10, Duration::ZERO, 0), "the last failure still counts");
    // Once it answers again and the failure is no longer fresh, all is well.
    setting.mirror.with(|said| said.hangs = false);
    tokio::time::advance(UNWELL).await;
    tokio::time::resume();
    put(&store, "more").await.expect("written");
    assert_eq!(get(&other).await.as_deref(), Ok(&b"more"[..]));
}

#[tokio::test]
async fn sockets_without_a_file_are_reached() {
    let name = format!("knarr-kms-{}", base::random::uuid());
    let listener = UnixListener::bind(format!("\0{name}")).expect("a socket");
    let socket = Socket::Abstract(name);
    let (reached, accepted) = tokio::join!(socket.connect(), listener.accept());
    reached.expect("connected");
    accepted.expect("accepted");
}

#[tokio::test]
async fn values_are_encrypted_with_a_seed_that_the_service_keeps() {
    let setting = Setting::new("one");
    setting.listen();
    let (store, kms) = setting.server();
    put(&store, "password").await.expect("written");
    assert_eq!(kms.health(), Ok(()));
    let lies = setting.inner.get(SECRET).await.expect("read").0.expect("there").value;
    assert!(lies.starts_with(b"k8s:enc:kms:v2:mirror:") && !lies.windows(8).any(|part| part == b"password"));
    assert_eq!(get(&store).await.as_deref(), Ok(&b"password"[..]));
    assert_eq!(setting.mirror.with(|said| said.decrypted), 0, "a server knows its own seeds");
    // Another server has the seed opened once.
    let (other, _) = setting.server();
    for _ in 0..2 {
        assert_eq!(get(&other).await.as_deref(), Ok(&b"password"[..]));
    }
    assert_eq!(setting.mirror.with(|said| said.decrypted), 1);
}

#[tokio::test]
async fn a_new_key_makes_a_new_seed_and_old_values_outdated() {
    let setting = Setting::new("one");
    setting.listen();
    let (store, kms) = setting.server();
    put(&store, "old").await.expect("written");
    assert!(!store.is_outdated(SECRET).await.expect("read"));
    setting.mirror.with(|said| said.key_id = "two".to_owned());
    kms.ask().await.expect("asked");
    assert!(store.is_outdated(SECRET).await.expect("read"));
    assert_eq!(get(&store).await.as_deref(), Ok(&b"old"[..]), "what is old is still read");
    put(&store, "new").await.expect("written");
    assert!(!store.is_outdated(SECRET).await.expect("read"));
}

#[tokio::test]
async fn without_its_service_nothing_new_is_written_or_read() {
    let setting = Setting::new("one");
    let (store, kms) = setting.server();
    let Err(Error::Unreadable { reason, .. }) = put(&store, "password").await else {
        panic!("nobody listens")
    };
    assert!(reason.contains("KMS Provider mirror"), "{reason}");
    assert!(kms.health().is_err());
    setting.listen();
    assert!(put(&store, "password").await.is_err(), "it is not asked again at once");
    advance(UNWELL).await;
    put(&store, "password").await.expect("it listens now");
    setting.mirror.with(|said| said.unwell = true);
    let why = kms.ask().await.expect_err("unwell");
    assert!(why.contains("got unexpected healthz status: sealed"), "{why}");
    // The seed is good for a while, and then no more.
    put(&store, "more").await.expect("written");
    advance(SEED_LIFE).await;
    assert!(put(&store, "late").await.is_err());
    assert_eq!(get(&store).await.as_deref(), Ok(&b"more"[..]));
    let (other, _) = setting.server();
    assert!(get(&other).await.is_err_and(|why| why.contains("failed to decrypt DEK")));
}
