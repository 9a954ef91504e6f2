//! How long others wait while the control plane works: requests of each verb about one object, a list of everything, and
//! pods from their creation until they are Ready.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::Method;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::NAMESPACE;
use crate::connection::{Request, Target};
use crate::load::percentile;
use crate::objects;
use crate::watch::Watch;

/// Between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(20);
/// One round in so many reads everything.
const LISTS: usize = 25;

/// The times that 99 of 100 did not exceed.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// By what was asked for.
    pub requests: Vec<(&'static str, Duration)>,
    /// From a pod's creation to its being Ready, both as a watch shows them.
    pub pods: Duration,
}

/// What is asked, again and again.
const VERBS: [(&str, Method); 4] =
    [("POST", Method::POST), ("GET", Method::GET), ("PUT", Method::PUT), ("DELETE", Method::DELETE)];
const LIST: &str = "LIST of all pods of all namespaces";

/// Upstream's objective for 99 of 100 (its service level indicators).
pub fn objective(what: &str) -> &'static str {
    if what == LIST { "30 s" } else { "1 s" }
}

/// Asks until `done`.
pub(super) async fn ask(
    target: &Target,
    done: oneshot::Receiver<()>,
) -> Result<Vec<(&'static str, Duration)>> {
    let mut connection = target.connect().await?;
    let mut took: HashMap<&'static str, Vec<Duration>> = HashMap::new();
    let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let one = format!("{all}/probe");
    let work = async {
        for round in 0usize.. {
            for (verb, method) in VERBS {
                let object = objects::config_map(NAMESPACE, "probe", verb);
                let request = match method {
                    Method::POST => Request::json(method, all.as_str(), &object),
                    Method::PUT => Request::json(method, one.as_str(), &object),
                    _ => Request::plain(method, one.as_str()),
                };
                let sent = Instant::now();
                connection.send(request).await?.collect().await?;
                took.entry(verb).or_default().push(sent.elapsed());
            }
            if round % LISTS == 0 {
                let sent = Instant::now();
                connection.send(Request::plain(Method::GET, "/api/v1/pods")).await?.collect().await?;
                took.entry(LIST).or_default().push(sent.elapsed());
            }
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = work => ended?,
        _ = done => (),
    }
    let verbs = VERBS.iter().map(|(verb, _)| *verb).chain([LIST]);
    Ok(verbs.map(|verb| (verb, percentile(took.entry(verb).or_default(), 99))).collect())
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Pod,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Follows so many pods from their creation on.
pub(super) async fn start(mut watch: Watch, pods: usize) -> Result<Duration> {
    let mut made: HashMap<String, Instant> = HashMap::new();
    let mut took = Vec::with_capacity(pods);
    while took.len() < pods {
        let event: Event = serde_json::from_slice(&watch.line().await?).context("reading an event")?;
        let Pod { metadata, status } = event.object;
        if event.kind == "ADDED" {
            made.insert(metadata.uid, Instant::now());
            continue;
        }
        let is_ready = status.conditions.iter().any(|one| one.kind == "Ready" && one.status == "True");
        if let Some(at) = is_ready.then(|| made.remove(&metadata.uid)).flatten() {
            took.push(at.elapsed());
        }
    }
    Ok(percentile(&mut took, 99))
}
