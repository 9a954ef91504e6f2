//! Reading and following logs, with a real file system and its events.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

struct Flag(Arc<AtomicBool>);

impl Liveness for Flag {
    async fn is_running(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn raw(second: u32, stream: &str, tag: &str, text: &str) -> String {
    format!("2026-11-21T10:00:{second:02}.000000000Z {stream} {tag} {text}\n")
}

async fn read(path: &Path, options: LogOptions) -> String {
    let (sink, mut source) = mpsc::channel(4);
    let flag = Flag(Arc::new(AtomicBool::new(false)));
    let work = stream(path, &options, &flag, sink);
    let collect = async {
        let mut all = Vec::new();
        while let Some(piece) = source.recv().await {
            all.extend_from_slice(&piece);
        }
        String::from_utf8(all).expect("text")
    };
    let (result, text) = tokio::join!(work, collect);
    result.expect("read");
    text
}

#[tokio::test]
async fn options_pick_and_shape_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("0.log");
    let text = [
        raw(1, "stdout", "F", "one"),
        raw(2, "stderr", "P", "tw"),
        raw(2, "stderr", "F", "o"),
        "torn li\n".to_owned(),
        raw(3, "stdout", "F", "three"),
    ];
    fs::write(&path, text.concat()).expect("written");
    let check = async |options: LogOptions, expect: &str| assert_eq!(read(&path, options).await, expect);
    check(LogOptions::default(), "one\ntwo\nthree\n").await;
    check(LogOptions { tail_lines: Some(1), ..LogOptions::default() }, "three\n").await;
    check(LogOptions { tail_lines: Some(0), ..LogOptions::default() }, "").await;
    check(LogOptions { limit_bytes: Some(6), ..LogOptions::default() }, "one\ntw").await;
    check(LogOptions { streams: Streams::Stderr, ..LogOptions::default() }, "two\n").await;
    let since = "2026-11-21T10:00:03Z".parse().ok();
    check(LogOptions { since, ..LogOptions::default() }, "three\n").await;
    let stamped = LogOptions { timestamps: true, tail_lines: Some(4), ..LogOptions::default() };
    let expect = "2026-11-21T10:00:02.000000000Z two\n2026-11-21T10:00:03.000000000Z three\n";
    check(stamped, expect).await;
}

#[tokio::test]
async fn following_goes_on_across_rotation_and_ends_with_the_container() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("0.log");
    let running = Arc::new(AtomicBool::new(true));
    let mut writer = OpenOptions::new().create(true).append(true).open(&path).expect("opened");
    writer.write_all(raw(1, "stdout", "F", "a").as_bytes()).expect("written");

    let (sink, mut source) = mpsc::channel(4);
    let flag = Flag(running.clone());
    let (follow_path, options) = (path.clone(), LogOptions { follow: true, ..LogOptions::default() });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { stream(&follow_path, &options, &flag, sink).await });
    let mut next = async || String::from_utf8(source.recv().await.expect("a piece").to_vec()).expect("text");
    assert_eq!(next().await, "a\n");

    writer.write_all(raw(2, "stdout", "F", "b").as_bytes()).expect("written");
    assert_eq!(next().await, "b\n");
    fs::rename(&path, dir.path().join("0.log.20261121-100003")).expect("rotated");
    writer.write_all(raw(3, "stdout", "F", "c").as_bytes()).expect("written to the old file");
    let mut fresh = OpenOptions::new().create(true).append(true).open(&path).expect("opened");
    fresh.write_all(raw(4, "stdout", "F", "d").as_bytes()).expect("written");
    drop(writer);
    let mut both = next().await;
    while !both.ends_with("d\n") {
        both.push_str(&next().await);
    }
    assert_eq!(both, "c\nd\n");
    running.store(false, Ordering::SeqCst);
    drop(fresh);
    tasks.join_next().await.expect("a task").expect("ended").expect("read");
}

#[tokio::test]
async fn a_log_that_grows_while_it_is_read_ends_where_it_stood() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("0.log");
    fs::write(&path, [raw(1, "stdout", "F", "one"), raw(2, "stdout", "F", "two")].concat()).expect("written");
    let options = LogOptions { tail_lines: Some(1), ..LogOptions::default() };
    let (file, there) = open_at_start(&path, &options).await.expect("open");
    let mut log = OpenOptions::new().append(true).open(&path).expect("open");
    log.write_all(raw(3, "stdout", "F", "three").as_bytes()).expect("written");
    let (sink, mut source) = mpsc::channel(4);
    let (mut file, mut out) = (file, Output::new(&options, sink));
    assert!(out.copy(&mut file, there).await.expect("read").is_continue());
    out.finish().await.expect("sent");
    assert_eq!(source.recv().await.expect("a piece"), "two\n");
}
