//! Watches: what they begin with, what they show, how they end.

use futures::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, as_item, config_map, pod};

/// An open watch, read line by line.
pub struct Watch {
    body: apiserver::Body,
    buffer: Vec<u8>,
}

impl Watch {
    pub async fn open(harness: &Harness, path: &str, accept: &str) -> Self {
        Self::send(harness, Request::get(path).header("accept", accept)).await
    }

    /// A watch of objects without managed fields.
    async fn open_lean(harness: &Harness, path: &str) -> Self {
        let (name, value) = client::managed_fields::UNWANTED;
        Self::send(harness, Request::get(path).header(name, value)).await
    }

    async fn send(harness: &Harness, request: http::request::Builder) -> Self {
        let response = harness.raw(request.body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    async fn brief(&mut self) -> String {
        let event = self.next().await.expect("the watch goes on");
        format!(
            "{} {}",
            event["type"].as_str().unwrap(),
            event["object"]["metadata"]["name"].as_str().unwrap_or("")
        )
    }
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_watch_shows_what_is_there_and_what_follows() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let mut watch = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    assert_eq!(watch.brief().await, "ADDED a");
    harness.post(CONFIG_MAPS, &config_map("b")).await.ok();
    assert_eq!(watch.brief().await, "ADDED b");
    let changed = harness.merge(&format!("{CONFIG_MAPS}/b"), &json!({"data": {"x": "y"}})).await.ok();
    let event = watch.next().await.unwrap();
    assert_eq!(event, json!({"type": "MODIFIED", "object": changed}));
    let version = changed["metadata"]["resourceVersion"].as_str().unwrap();
    harness.delete(&format!("{CONFIG_MAPS}/b")).await.ok();
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_ne!(gone["object"]["metadata"]["resourceVersion"], version);
    let url = format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}");
    let mut later = Watch::open(&harness, &url, JSON).await;
    assert_eq!(later.brief().await, "DELETED b");
}

#[tokio::test]
async fn a_selector_turns_changes_into_comings_and_goings() {
    let harness = Harness::start().await;
    let url = format!("{PODS}?watch=true&labelSelector=on%3Dyes");
    let mut watch = Watch::open(&harness, &url, JSON).await;
    harness.post(PODS, &pod("a")).await.ok();
    let path = format!("{PODS}/a");
    for value in [json!("yes"), json!("no")] {
        harness.merge(&path, &json!({"metadata": {"labels": {"on": value}}})).await.ok();
    }
    assert_eq!(watch.brief().await, "ADDED a");
    assert_eq!(watch.brief().await, "DELETED a");
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_bookmark() {
    let harness = Harness::start().await;
    for i in 0..100 {
        harness.post(CONFIG_MAPS, &config_map(&format!("c{i:03}"))).await.ok();
    }
    let url = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = Watch::open(&harness, &url, JSON).await;
    for i in 0..100 {
        assert_eq!(watch.brief().await, format!("ADDED c{i:03}"));
    }
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["kind"], "ConfigMap");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let listed = harness.get(CONFIG_MAPS).await.ok();
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], listed["metadata"]["resourceVersion"]);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_is_not_older_than_the_version_it_names() {
    let harness = Harness::start().await;
    let first = harness.post(CONFIG_MAPS, &config_map("first")).await.ok();
    let version: u64 = first["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let url = |version: u64| {
        format!(
            "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={version}"
        )
    };
    let listed = url(version + 1);
    let mut open = Box::pin(Watch::open(&harness, &listed, JSON));
    assert!(open.as_mut().now_or_never().is_none(), "nothing is as new yet");
    let second = config_map("second");
    let (mut watch, _) = tokio::join!(open, harness.post(CONFIG_MAPS, &second));
    assert_eq!(watch.brief().await, "ADDED first");
    assert_eq!(watch.brief().await, "ADDED second");
    let begun = tokio::time::Instant::now();
    let mut watch = Watch::open(&harness, &url(version + 100), JSON).await;
    assert_eq!(begun.elapsed(), std::time::Duration::from_secs(3));
    let error = watch.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(504)));
    let message = error["object"]["message"].as_str().unwrap();
    assert!(message.starts_with("Timeout: Too large resource version"), "{message}");
}

/// The frames of the next event as they come in process.
async fn event_frames(watch: &mut Watch) -> [bytes::Bytes; 3] {
    let mut frames = Vec::new();
    while frames.len() < 3 {
        frames.push(watch.body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    frames.try_into().unwrap()
}

#[tokio::test]
async fn managed_fields_are_shown_to_all_but_those_who_do_not_want_them() {
    let harness = Harness::start().await;
    let url = format!("{CONFIG_MAPS}?watch=true");
    let mut whole = Watch::open(&harness, &url, JSON).await;
    let mut lean = Watch::open_lean(&harness, &url).await;
    let path = format!("{CONFIG_MAPS}/a");
    for write in 0..3 {
        let mut written = match write {
            0 => harness.post(CONFIG_MAPS, &config_map("a")).await.ok(),
            n => harness.merge(&path, &json!({"data": {format!("k{n}"): "v"}})).await.ok(),
        };
        assert!(written["metadata"]["managedFields"][0]["fieldsV1"].is_object());
        assert_eq!(harness.get(&path).await.ok(), written);
        assert_eq!(harness.get(CONFIG_MAPS).await.ok()["items"], json!([as_item(&written)]));
        let [_, object, _] = event_frames(&mut whole).await;
        assert_eq!(serde_json::from_slice::<Value>(&object).unwrap(), written);
        written["metadata"].as_object_mut().unwrap().remove("managedFields");
        let [_, object, _] = event_frames(&mut lean).await;
        assert_eq!(serde_json::from_slice::<Value>(&object).unwrap(), written);
    }
}

#[tokio::test]
async fn callers_of_the_process_share_the_bytes_of_objects() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let url = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut one = Watch::open_lean(&harness, &url).await;
    let mut other = Watch::open_lean(&harness, &url).await;
    let listing = Request::get(CONFIG_MAPS).body(Full::default()).unwrap();
    let mut list = harness.raw(listing).await.into_body();
    let (_head, _brace) = (list.frame().await, list.frame().await);
    let listed = list.frame().await.unwrap().unwrap().into_data().unwrap();
    let mut shared = Vec::new();
    for watch in [&mut one, &mut other] {
        let [head, object, tail] = event_frames(watch).await;
        assert_eq!((&head[..], &tail[..]), (&br#"{"type":"ADDED","object":"#[..], &b"}\n"[..]));
        shared.push(object);
        let [head, _, tail] = event_frames(watch).await;
        assert_eq!((&head[..], &tail[..]), (&br#"{"type":"BOOKMARK","object":"#[..], &b"}\n"[..]));
    }
    assert!(shared.iter().all(|object| object.as_ptr() == shared[0].as_ptr()));
    // The item of the list is the object without its kind and version.
    let omitted = br#"{"kind":"ConfigMap","apiVersion":"v1","#.len();
    assert_eq!(listed.as_ptr(), shared[0][omitted..].as_ptr());
    harness.post(CONFIG_MAPS, &config_map("b")).await.ok();
    let [one, other] = [event_frames(&mut one).await, event_frames(&mut other).await];
    assert_eq!(one[1].as_ptr(), other[1].as_ptr());
    // Other forms come in three frames too.
    let mut table = Watch::open(
        &harness,
        &format!("{CONFIG_MAPS}?watch=true"),
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    .await;
    let [head, object, _] = event_frames(&mut table).await;
    assert_eq!(head, one[0]);
    assert_eq!(serde_json::from_slice::<Value>(&object).unwrap()["kind"], "Table");
}

#[tokio::test]
async fn watches_have_other_views() {
    let harness = Harness::start().await;
    harness.post(PODS, &pod("a")).await.ok();
    let url = format!("{PODS}?watch=true");
    let mut table = Watch::open(&harness, &url, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let first = table.next().await.unwrap();
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    assert!(first["object"]["columnDefinitions"].is_array());
    harness.post(PODS, &pod("b")).await.ok();
    assert!(table.next().await.unwrap()["object"]["columnDefinitions"].is_null());
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut partial = Watch::open(&harness, &url, partial).await;
    assert_eq!(partial.next().await.unwrap()["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn watches_end_in_time_and_at_the_stop() {
    let harness = Harness::start().await;
    let mut open = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    let mut timed = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1"), JSON).await;
    assert_eq!(timed.next().await, None);
    harness.supervisor.shutdown().start();
    assert_eq!(open.next().await, None);
}

#[tokio::test]
async fn a_state_too_old_is_told_in_the_stream() {
    let harness = Harness::start().await;
    let url = format!("{CONFIG_MAPS}?watch=true&resourceVersion=1");
    for i in 0..3 {
        harness.post(CONFIG_MAPS, &config_map(&format!("c{i}"))).await.ok();
    }
    // From the beginning of this server's life on, everything is still known.
    assert_eq!(Watch::open(&harness, &url, JSON).await.brief().await, "ADDED c0");
    let mut none = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true&resourceVersion=0"), JSON).await;
    assert_eq!(none.brief().await, "ADDED c0");
}

#[tokio::test]
async fn a_marked_list_in_a_watch_is_no_table() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let url = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    harness.get_as(&url, table).await.refused(406);
    let mut plain = Watch::open(&harness, &url, &format!("{table},{JSON}")).await;
    let event = plain.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["kind"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("ConfigMap"), &json!("a"))
    );
    let mut rows = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true"), table).await;
    assert_eq!(rows.next().await.unwrap()["object"]["kind"], "Table");
}
