//! Expiry without writes, the history's budget, files in use or damaged.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use jiff::SignedDuration;
use store::{Embedded, Error, Expect, ListRange, Store, WatchItem};

use super::{Fixture, config};
use crate::Backend;

async fn put(store: &Embedded, key: &str, value: impl Into<Bytes>, ttl_s: Option<u64>) -> u64 {
    store.put(key, value.into(), Expect::Anything, ttl_s).await.unwrap().mod_revision
}

#[tokio::test]
async fn nobody_else_reads_the_data_file() {
    use std::os::unix::fs::PermissionsExt;
    let mut fixture = Fixture::new();
    let path = fixture.folder.path().join("data");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    fixture.reopen().await;
    assert_eq!(mode(), 0o600, "a file made by others is closed to them");
}

#[tokio::test]
async fn an_idle_store_wakes_for_the_next_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(config(folder.path(), base::SystemClock)).unwrap();
    let mut watch = store.watch("/", 1).await.unwrap();
    put(&store, "/x", "x", Some(1)).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let WatchItem::Changes(changes) = watch.next().await.unwrap().unwrap() {
            seen.extend(changes);
        }
    }
    assert!(seen[1].value.is_none());
}

#[tokio::test]
async fn history_over_its_budget_is_forgotten_once_it_is_old_enough() {
    let fixture = Fixture::with(|config| config.history_budget_bytes = 64 << 10);
    for _ in 0..200 {
        put(&fixture.store, "/x", vec![0; 1024], None).await;
    }
    assert!(fixture.store.watch("/", 1).await.is_ok(), "young history is kept");
    fixture.clock.advance(SignedDuration::from_secs(301));
    for _ in 0..3 {
        put(&fixture.store, "/y", "now", None).await;
    }
    let Err(Error::Compacted { oldest, .. }) = fixture.store.watch("/", 1).await else {
        panic!("history was not forgotten");
    };
    // 64 KiB of 1 KiB values are kept, 7/8 of them at least.
    assert!((201 - 64..=201 - 50).contains(&oldest), "{oldest}");
    assert_eq!(fixture.store.get("/x").await.unwrap().0.unwrap().mod_revision, 201);
    let then = ListRange { at: Some(oldest), ..ListRange::default() };
    assert_eq!(fixture.store.list(then).await.unwrap().items[0].mod_revision, oldest);
}

#[tokio::test]
async fn the_file_gives_back_the_space_of_forgotten_history() {
    const LARGE: usize = 64 << 20;
    let mut fixture = Fixture::with(|config| config.history_budget_bytes = 1 << 20);
    let keys: Vec<String> = (0..40).map(|i| format!("/{i:05}")).collect();
    for round in 0..60 {
        let writes = keys.iter().map(|key| put(&fixture.store, key, vec![round; 32 << 10], None));
        futures::future::join_all(writes).await;
    }
    let before = fixture.store.size_bytes().await.unwrap();
    assert!(before > LARGE as u64, "{before}: young history is kept");
    fixture.clock.advance(SignedDuration::from_secs(301));
    put(&fixture.store, &keys[0], vec![60; 32 << 10], None).await;
    let shrunk = async {
        // Readers see every object all the while.
        for key in keys[1..].iter().cycle() {
            assert_eq!(fixture.store.get(key).await.unwrap().0.unwrap().value[..], [59; 32 << 10]);
            if fixture.store.size_bytes().await.unwrap() < before / 4 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shrunk).await.expect("the file becomes smaller");
    fixture.reopen().await;
    let listed = fixture.store.list(ListRange::default()).await.unwrap();
    assert_eq!(listed.items.len(), keys.len());
    assert_eq!(put(&fixture.store, "/new", "x", None).await, listed.revision + 1);
}

#[tokio::test]
async fn a_file_in_use_is_not_opened_twice() {
    let fixture = Fixture::new();
    let second = Embedded::open(config(fixture.folder.path(), fixture.clock.clone()));
    assert!(matches!(second, Err(Error::Locked { .. })));
    fixture.store.close().await.unwrap();
    assert!(Embedded::open(config(fixture.folder.path(), fixture.clock.clone())).is_ok());
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::write(&path, b"not a database ".repeat(1000)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let opened = Embedded::open(config(folder.path(), base::SystemClock));
    match opened {
        Err(Error::Corrupted { path, .. }) => assert!(path.ends_with("data")),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
    assert!(std::fs::read(&path).unwrap() == before);
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let fixture = Fixture::new();
    for i in 0..50 {
        put(&fixture.store, &format!("/{i}"), vec![1; 20 << 10], None).await;
    }
    fixture.store.close().await.unwrap();
    let path = fixture.folder.path().join("data");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let opened = Embedded::open(config(fixture.folder.path(), fixture.clock.clone()));
    assert!(matches!(opened, Err(Error::Corrupted { .. })), "{:?}", opened.err());
}

#[tokio::test]
async fn a_file_that_something_else_wrote_to_is_told_as_damaged() {
    use std::os::unix::fs::FileExt;
    let fixture = Fixture::new();
    let keys: Vec<String> = (0..1000).map(|i| format!("/{i:05}")).collect();
    let writes = keys.iter().map(|key| put(&fixture.store, key, "value", None));
    futures::future::join_all(writes).await;
    fixture.store.close().await.unwrap();
    let path = fixture.folder.path().join("data");
    let sound = std::fs::read(&path).unwrap();
    let mut told = 0;
    // The first page is the engine's header; a file whose header is wrong is no store at all.
    for page in (4096..sound.len() as u64).step_by(7 * 4096) {
        std::fs::write(&path, &sound).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xa5; 4096], page).unwrap();
        let opened = Embedded::open(config(fixture.folder.path(), fixture.clock.clone()));
        let listed = match opened {
            Ok(store) => {
                let listed = store.list(ListRange::default()).await.map(drop);
                store.close().await.unwrap();
                listed
            }
            Err(error) => Err(error),
        };
        match listed {
            Ok(()) => {}
            Err(Error::Corrupted { path, .. }) => {
                assert!(path.ends_with("data"));
                told += 1;
            }
            Err(other) => panic!("page {page}: {other}"),
        }
    }
    assert!(told > 0, "no damage was noticed");
}

#[test]
fn a_folder_that_is_absent_is_said() {
    let opened = Embedded::open(config("/nonexistent/folder".as_ref(), base::SystemClock));
    let Err(Error::Io(reason)) = opened else { panic!("it was opened") };
    assert!(reason.contains("/nonexistent/folder/data"), "{reason}");
}
