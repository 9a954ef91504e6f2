//! A byte that something else changed in the file: named when read, and mended but for what it hit.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use store::embedded::{check, repair};
use store::{Embedded, Error, Expect, ListRange, Store};

use super::{Fixture, config};
use crate::Backend;

/// A closed store with three keys; each has two changes.
async fn closed() -> (Fixture, PathBuf) {
    let fixture = Fixture::new();
    for value in ["before", "now"] {
        for key in ["/a", "/b", "/c"] {
            put(&fixture.store, key, &format!("{value} of {key}")).await;
        }
    }
    fixture.store.delete("/c", Expect::Anything, store::Previous::Unwanted).await.unwrap();
    fixture.store.close().await.unwrap();
    let path = fixture.folder.path().join("data");
    (fixture, path)
}

async fn put(store: &Embedded, key: &str, value: &str) -> u64 {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.put(key, value, Expect::Anything, None).await.unwrap().mod_revision
}

/// Changes a byte wherever the file has this text.
fn change(path: &PathBuf, text: &str) {
    let bytes = std::fs::read(path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        file.write_all_at(b"X", at as u64).unwrap();
    }
}

#[tokio::test]
async fn a_sound_file_has_no_damage_and_stays_as_it_is() {
    let (_fixture, path) = closed().await;
    let report = check(&path).unwrap();
    assert_eq!((report.revision, report.keys, report.damages.len()), (8, 2, 0));
    assert_eq!(repair(&path).unwrap(), None);
}

#[tokio::test]
async fn a_changed_value_is_named_and_not_served() {
    let (fixture, path) = closed().await;
    change(&path, "now of /b");
    let store = Embedded::open(config(fixture.folder.path(), fixture.clock.clone())).unwrap();
    assert_eq!(&store.get("/a").await.unwrap().0.unwrap().value[..], b"now of /a");
    let error = store.get("/b").await.unwrap_err();
    assert!(matches!(&error, Error::Corrupted { .. }), "{error}");
    assert!(error.to_string().contains("revision 6 of \"/b\" was changed on the disk"), "{error}");
    assert!(matches!(store.list(ListRange::default()).await, Err(Error::Corrupted { .. })));
    let in_use = check(&path).unwrap_err();
    assert!(matches!(in_use, Error::Locked { .. }), "{in_use}");
    store.close().await.unwrap();
    let report = check(&path).unwrap();
    assert!(report.damages.iter().any(|damage| damage.key.as_deref() == Some("/b")), "{report:?}");
    assert!(report.damages.iter().all(|damage| damage.revision == Some(6)), "{report:?}");
}

#[tokio::test]
async fn a_repair_sets_back_what_was_hit_and_keeps_the_rest() {
    let (mut fixture, path) = closed().await;
    change(&path, "now of /b");
    let repaired = repair(&path).unwrap().expect("there was damage");
    assert_eq!((repaired.kept, repaired.searched), (1, false));
    assert_eq!(repaired.set_back, [("/b".to_owned(), 3)]);
    assert!(repaired.lost.is_empty());
    assert!(repaired.damaged_file.exists());
    assert_eq!(check(&path).unwrap().damages, []);
    fixture.reopen().await;
    let listed = fixture.store.list(ListRange::default()).await.unwrap();
    let values: Vec<&[u8]> = listed.items.iter().map(|item| &item.value[..]).collect();
    assert_eq!(values, [&b"now of /a"[..], b"before of /b"]);
    assert!(put(&fixture.store, "/d", "new").await > 8, "revisions go on");
    let past = fixture.store.watch("/", 2).await.err();
    assert!(matches!(past, Some(Error::Compacted { .. })), "{past:?}");
}

#[tokio::test]
async fn what_nothing_is_left_of_is_lost_and_named() {
    let (_fixture, path) = closed().await;
    change(&path, "now of /b");
    change(&path, "before of /b");
    let repaired = repair(&path).unwrap().expect("there was damage");
    assert_eq!((repaired.kept, repaired.lost), (1, vec!["/b".to_owned()]));
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_searched() {
    let (mut fixture, path) = closed().await;
    // The engine's own header.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xa5; 320], 0).unwrap();
    assert!(matches!(check(&path), Err(Error::Corrupted { .. })));
    let repaired = repair(&path).unwrap().expect("there was damage");
    assert!(repaired.searched);
    fixture.reopen().await;
    let listed = fixture.store.list(ListRange::default()).await.unwrap();
    let keys: Vec<&str> = listed.items.iter().map(|item| &*item.key).collect();
    assert_eq!(keys, ["/a", "/b"], "the deletion of /c was found too");
    assert_eq!(&listed.items[1].value[..], b"now of /b");
}

#[test]
fn an_absent_and_an_empty_file_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    assert!(matches!(check(&path), Err(Error::Io(_))));
    std::fs::write(&path, "").unwrap();
    let told = repair(&path).unwrap_err().to_string();
    assert!(told.contains("is empty"), "{told}");
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}
