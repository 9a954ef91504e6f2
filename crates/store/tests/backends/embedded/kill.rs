//! Kills a process that writes, again and again: every acknowledged write must be found, and no gap.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use store::{Embedded, Expect, Previous, Store, WatchItem};

use super::config;

/// Names the folder to the process that is to be killed.
const FOLDER: &str = "STORE_KILL_TEST_FOLDER";
const KILLS: u64 = 100;
const WRITERS: usize = 16;
const KEYS: u64 = 8;

/// What the killed process does: this very test, called with the variable set. Writes without end and says
/// on its output what was acknowledged, as `key revision value`.
async fn write_until_killed(folder: &Path) {
    let store = Embedded::open(config(folder, base::SystemClock)).expect("the store opens after a kill");
    let mut tasks = tokio::task::JoinSet::new();
    let (compacting, upto) = (store.clone(), store.revision().await.expect("an open store"));
    tasks.spawn(async move { compacting.compact(upto).await.expect("a compaction") });
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0u64.. {
                let key = format!("/w/{writer}/{}", n % KEYS);
                let value = format!("{n}-{}", "x".repeat((n % 500) as usize));
                let line = if n % 7 == 6 {
                    let deleted = store.delete(&key, Expect::Anything, Previous::Unwanted).await;
                    format!("{key} {} -\n", deleted.expect("a delete").revision)
                } else {
                    let put = store.put(&key, Bytes::from(value.clone()), Expect::Anything, None).await;
                    format!("{key} {} {value}\n", put.expect("a put").mod_revision)
                };
                // One write, so that a kill leaves a line whole or cut short, never mixed.
                std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
            }
        });
    }
    tasks.join_all().await;
}

/// Key → (revision, value or `None` for deleted), as last acknowledged.
type Acknowledged = HashMap<String, (u64, Option<String>)>;

/// Runs the writer, kills it after `writes` acknowledgements and adds these to `acknowledged`.
fn run_and_kill(folder: &Path, writes: u64, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().expect("this test's file"))
        .args(["--exact", "embedded::kill::acknowledged_writes_survive_a_hundred_kills", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the writer starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut seen = 0;
    let mut line = String::new();
    while output.read_line(&mut line).expect("its output is text") > 0 {
        // The test harness says a few things too. A line cut short has no newline.
        if let Some(line) = line.strip_suffix('\n')
            && line.starts_with("/w/")
        {
            let mut words = line.splitn(3, ' ');
            let (Some(key), Some(revision), Some(value)) = (words.next(), words.next(), words.next()) else {
                panic!("the writer said {line:?}");
            };
            let revision = revision.parse().expect("a revision");
            let value = (value != "-").then(|| value.to_owned());
            acknowledged.insert(key.to_owned(), (revision, value));
            seen += 1;
            if seen == writes {
                child.kill().expect("the writer runs");
            }
        }
        line.clear();
    }
    child.wait().expect("the writer is gone");
    assert!(seen >= writes, "the writer ended by itself after {seen} writes");
}

/// Every acknowledged write is there, or a later one of the same key that was not acknowledged in time. What
/// is found is what the next round must find; history before `checked` may be forgotten.
async fn check(store: &Embedded, acknowledged: &mut Acknowledged, checked: u64) {
    for (key, (revision, value)) in acknowledged {
        let (found, now) = store.get(key).await.expect("the store is readable");
        let found = found.map(|kv| (kv.mod_revision, String::from_utf8_lossy(&kv.value).into_owned()));
        match (&found, &value) {
            (Some((at, _)), _) if *at > *revision => {}
            (Some((at, text)), Some(value)) => assert_eq!((at, text), (&*revision, value), "{key}"),
            (None, None) => {}
            (None, Some(_)) => assert_deleted_later(store, key, checked.max(*revision)).await,
            (Some(found), None) => panic!("{key} was deleted at {revision}, found {found:?}"),
        }
        (*revision, *value) = found.map_or((now, None), |(at, text)| (at, Some(text)));
    }
}

async fn assert_deleted_later(store: &Embedded, key: &str, revision: u64) {
    let mut watch = store.watch(key, revision).await.expect("history is kept");
    let next = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
    let item = next.unwrap_or_else(|_| panic!("{key} of {revision} is lost")).expect("open").expect("kept");
    let WatchItem::Changes(changes) = item else { panic!("{key} of {revision} is lost") };
    assert!(changes.iter().any(|change| change.value.is_none()), "{key} of {revision} is lost");
}

/// Every revision since `after` has its change.
async fn assert_no_gap(store: &Embedded, after: u64) {
    let last = store.revision().await.expect("an open store");
    let mut expected = after + 1;
    let mut watch = store.watch("", after).await.expect("history is kept");
    while expected <= last {
        let item = watch.next().await.expect("the watch goes on").expect("the watch has no error");
        let WatchItem::Changes(changes) = item else { continue };
        for change in changes {
            assert_eq!(change.revision, expected);
            expected += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_hundred_kills() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_killed(folder.as_ref()).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged = Acknowledged::new();
    let mut checked = 1;
    for round in 0..KILLS {
        // Early and late in the process's life, in the middle of a batch or not.
        run_and_kill(folder.path(), 1 + round * 37 % 400, &mut acknowledged);
        let store =
            Embedded::open(config(folder.path(), base::SystemClock)).expect("the store opens after a kill");
        check(&store, &mut acknowledged, checked).await;
        assert_no_gap(&store, checked).await;
        checked = store.revision().await.expect("an open store");
        store.close().await.expect("the store closes");
    }
    assert!(checked > KILLS, "{checked} revisions");
}
