//! Leases, progress, compaction by several servers, TLS, the layout of keys.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use etcd::testing::{Cluster, ServerTls};
use etcd::v3::RangeRequest;
use etcd::v3::kv_client::KvClient;
use etcd::{Config, Etcd, Progress, TlsFiles, Turn};
use futures::StreamExt;
use store::{Error, Expect, ListRange, Previous, Store, WatchItem};

use super::Fixture;
use crate::Backend;

async fn put(store: &Etcd, key: &str, ttl_s: Option<u64>) -> u64 {
    let written = store.put(key, "x".into(), Expect::Anything, ttl_s).await.expect("etcd takes the write");
    written.mod_revision
}

async fn keys(store: &Etcd, prefix: &str) -> Vec<String> {
    let page = store.list(ListRange { prefix: prefix.into(), ..ListRange::default() }).await;
    page.expect("etcd lists").items.iter().map(|kv| kv.key.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_expire_and_never_early() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let begun = tokio::time::Instant::now();
    // An etcd grants no lease of less than its elections take.
    put(store, "/short/a", Some(3)).await;
    put(store, "/short/b", Some(3)).await;
    let renewed = put(store, "/short/kept", Some(3)).await;
    put(store, "/short/kept", None).await;
    let mut watch = store.watch("/short/", renewed + 1).await.unwrap();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        if let WatchItem::Changes(changes) = watch.next().await.unwrap().unwrap() {
            assert!(changes.iter().all(|change| change.value.is_none() && change.previous.is_some()));
            gone.extend(changes.iter().map(|change| change.key.to_string()));
        }
    }
    assert!(begun.elapsed().as_millis() >= 3000, "never earlier");
    gone.sort();
    assert_eq!(
        (gone, keys(store, "/short/").await),
        (vec!["/short/a".into(), "/short/b".into()], vec!["/short/kept".into()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_written_at_once_share_a_lease() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let names: Vec<_> = (0..40).map(|n| format!("/events/{n:02}")).collect();
    futures::future::join_all(names.iter().map(|name| put(store, name, Some(3600)))).await;
    put(store, "/servers/a", Some(15)).await;
    put(store, "/servers/b", Some(15)).await;
    put(store, "/events/late", Some(3600)).await;
    let channel = etcd::connect_member(&fixture.cluster.members[0].endpoint(), &TlsFiles::default());
    let all =
        RangeRequest { key: "/".into(), range_end: "0".into(), keys_only: true, ..RangeRequest::default() };
    let found = KvClient::new(channel).range(all).await.expect("etcd answers").into_inner().kvs;
    assert_eq!(found.len(), 43);
    let leases = |prefix: &str| {
        let below = found.iter().filter(|kv| kv.key.starts_with(prefix.as_bytes()));
        below.map(|kv| kv.lease).collect::<BTreeSet<_>>().len()
    };
    assert_eq!((leases("/events/"), leases("/servers/")), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_learnt_by_asking_too() {
    let fixture = Fixture::new();
    let config = Config { progress: Some(Progress::Asked), ..fixture.cluster.config() };
    let store = Etcd::connect(config).await.unwrap();
    let mut watch = store.watch("/idle/", 1).await.unwrap();
    let last = put(&store, "/other/a", None).await;
    store.request_progress().await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(WatchItem::Progress(upto))) if upto == last));
    assert_eq!(store.revision().await.unwrap(), last, "nothing was written for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_are_seen_by_no_reader() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    put(store, "/a", None).await;
    let mut watch = store.watch("", 2).await.unwrap();
    let mut narrow = store.watch("/none/", 2).await.unwrap();
    store.request_progress().await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(WatchItem::Progress(2)))), "changes have come as far");
    assert!(matches!(narrow.next().await, Some(Ok(WatchItem::Progress(2)))));
    // A key beside the range: only a commit in the range tells that there was nothing else.
    put(store, "/b", None).await;
    store.request_progress().await.unwrap();
    assert!(matches!(narrow.next().await, Some(Ok(WatchItem::Progress(4)))));
    let WatchItem::Changes(changes) = watch.next().await.unwrap().unwrap() else {
        panic!("a change is first")
    };
    assert_eq!((changes.len(), changes[0].revision), (1, 3));
    assert_eq!(keys(store, "").await, ["/a", "/b"]);
    let one = ListRange { limit: 1, ..ListRange::default() };
    let page = store.list(one).await.unwrap();
    assert_eq!((page.items.len(), page.more), (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_take_turns_in_forgetting_history() {
    let fixture = Fixture::new();
    let (a, b) = (&fixture.store, Etcd::connect(fixture.cluster.config()).await.unwrap());
    let old = put(a, "/x", None).await;
    let mut of_a = a.take_turn(Turn::default()).await.unwrap();
    let mut of_b = b.take_turn(Turn::default()).await.unwrap();
    let before = put(a, "/x", None).await;
    assert!(a.watch("/", old).await.is_ok(), "the first turn forgets nothing");
    // Whoever comes second finds that it was done, and forgets nothing that is younger than an interval.
    of_b = b.take_turn(of_b).await.unwrap();
    of_a = a.take_turn(of_a).await.unwrap();
    assert!(matches!(a.watch("/", old - 1).await.err(), Some(Error::Compacted { .. })));
    assert!(b.watch("/", before).await.is_ok(), "what came after the last turn stays");
    put(a, "/x", None).await;
    a.take_turn(of_a).await.unwrap();
    b.take_turn(of_b).await.unwrap();
    assert!(matches!(b.watch("/", before).await.err(), Some(Error::Compacted { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_share_an_etcd_below_prefixes_of_their_own() {
    let fixture = Fixture::new();
    let raw = &fixture.store;
    let of = async |prefix: &str| {
        let prefix = ("/registry".to_owned(), prefix.to_owned());
        Etcd::connect(Config { prefix, ..fixture.cluster.config() }).await.unwrap()
    };
    let (one, two) = (of("/one").await, of("two/registry").await);
    put(&one, "/registry/pods/a/b", None).await;
    put(&two, "/registry/pods/a/c", None).await;
    assert_eq!(keys(raw, "").await, ["/one/pods/a/b", "/two/registry/pods/a/c"]);
    assert_eq!(keys(&one, "/registry/").await, ["/registry/pods/a/b"]);
    let mut watch = two.watch("/registry/", 1).await.unwrap();
    let WatchItem::Changes(changes) = watch.next().await.unwrap().unwrap() else { panic!("a change") };
    assert_eq!(changes[0].key.as_ref(), "/registry/pods/a/c");
    let gone = two.delete("/registry/pods/a/c", Expect::Anything, Previous::Wanted).await.unwrap();
    assert_eq!(gone.previous.unwrap().key.as_ref(), "/registry/pods/a/c");
    assert_eq!(keys(raw, "").await, ["/one/pods/a/b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_cannot_be_read_are_named() {
    let fixture = Fixture::new();
    put(&fixture.store, "/good", None).await;
    fixture.store.put("/bad", Bytes::from_static(b"k8s\0"), Expect::Anything, None).await.unwrap();
    let translate: etcd::Translate = Arc::new(|_, value| {
        if value.starts_with(b"k8s\0") { Err("protobuf".to_owned()) } else { Ok("translated".into()) }
    });
    let store =
        Etcd::connect(Config { translate: Some(translate), ..fixture.cluster.config() }).await.unwrap();
    assert_eq!(store.get("/good").await.unwrap().0.unwrap().value, "translated");
    let bad = store.get("/bad").await;
    assert!(
        matches!(bad, Err(Error::Unreadable { key, reason }) if (&*key, &*reason) == ("/bad", "protobuf"))
    );
}

/// A CA in `folder` with certificates for etcd on loopback and for a client.
fn certificates(folder: &Path, ca_name: &str) -> (ServerTls, TlsFiles) {
    let write = |name: &str, pem: String| {
        let path = folder.join(format!("{ca_name}-{name}"));
        std::fs::write(&path, pem).expect("a temporary file");
        path
    };
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, ca_name);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = write("ca.pem", ca.self_signed(&ca_key).unwrap().pem());
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = |name: &str, address: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![address.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (write(&format!("{name}.pem"), certificate.pem()), write(&format!("{name}.key"), key.serialize_pem()))
    };
    let (certificate, key) = leaf("server", "127.0.0.1");
    let server = ServerTls { certificate, key, client_ca: ca_pem.clone() };
    (server, TlsFiles { ca: Some(ca_pem), identity: Some(leaf("client", "client")) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_those_that_one_authority_knows() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = certificates(folder.path(), "one");
    let (_, foreign) = certificates(folder.path(), "other");
    let cluster = Cluster::start(1, Some(&server)).expect("etcd starts");
    let connect = async |tls: TlsFiles| Etcd::connect(Config { tls, ..cluster.config() }).await;
    let store = connect(client.clone()).await.expect("etcd lets the client in");
    assert_eq!(put(&store, "/a", None).await, 2);
    let said = async |tls: TlsFiles| match connect(tls).await {
        Ok(_) => panic!("etcd is to be refused, or to refuse"),
        Err(error) => error.to_string(),
    };
    let unknown = said(TlsFiles { ca: foreign.ca.clone(), ..client.clone() }).await;
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let nobody = said(TlsFiles { identity: None, ..client.clone() }).await;
    assert!(nobody.contains("https://127.0.0.1:"), "{nobody}");
    let missing = said(TlsFiles { ca: Some("/nonexistent/ca.pem".into()), ..client }).await;
    assert!(missing.contains("/nonexistent/ca.pem"), "{missing}");
}
