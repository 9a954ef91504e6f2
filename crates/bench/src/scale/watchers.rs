//! What a pod's change costs when few and when many nodes watch for their pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use super::objects::node_name;
use super::step::Bench;
use crate::connection::{MERGE_PATCH, Request, Target};
use crate::load::Make;
use crate::watch::Lines;

/// Nodes whose pods change; the few watchers are theirs.
const FEW: usize = 5;
/// Changes that are made.
const EVENTS: usize = 2_000;
/// Watches of one connection.
const STREAMS: usize = 100;

/// What was found.
pub struct Watchers {
    /// The server's processor time for a change, its write included, with few watchers, in seconds.
    pub few_cpu_s: f64,
    /// With a watcher for each node.
    pub many_cpu_s: f64,
    /// Memory of a watcher's connection and stream, in KB.
    pub memory_kb: f64,
}

/// Changes pods of a few nodes while few and while all nodes watch.
pub(super) async fn measure(bench: &Bench<'_>, nodes: usize) -> Result<Watchers> {
    let pods = Arc::new(pods_of(bench.target, FEW).await?);
    let few_cpu_s = changes(bench, &pods, FEW).await?.0;
    let before = bench.settled_mb().await?;
    let (many_cpu_s, with_watchers) = changes(bench, &pods, nodes).await?;
    let memory_kb = (with_watchers - before) * 1e3 / nodes as f64;
    Ok(Watchers { few_cpu_s, many_cpu_s, memory_kb })
}

/// The paths of the first nodes' pods.
async fn pods_of(target: &Target, nodes: usize) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for node in 0..nodes {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node_name(node));
        let list = target.ask(Request::plain(Method::GET, path)).await?;
        for pod in list["items"].as_array().context("a list has no items")? {
            let (namespace, name) = (&pod["metadata"]["namespace"], &pod["metadata"]["name"]);
            let (Some(namespace), Some(name)) = (namespace.as_str(), name.as_str()) else {
                bail!("a pod has no name");
            };
            paths.push(format!("/api/v1/namespaces/{namespace}/pods/{name}"));
        }
    }
    if paths.is_empty() {
        bail!("the first {nodes} nodes have no pods");
    }
    Ok(paths)
}

/// The processor time of one change while the first `watchers` nodes watch, and the server's memory meanwhile in MB.
async fn changes(bench: &Bench<'_>, pods: &Arc<Vec<String>>, watchers: usize) -> Result<(f64, f64)> {
    let mut open = Open::all(bench, watchers).await?;
    let memory = bench.settled_mb().await?;
    let paths = pods.clone();
    let change: Make = Arc::new(move |number| {
        let patch =
            json!({"metadata": {"annotations": {"shop.example.com/seen": format!("{watchers}-{number}")}}});
        Request::patch(paths[number % paths.len()].as_str(), MERGE_PATCH, &patch)
    });
    let load = async { tokio::try_join!(bench.load(EVENTS, change), open.wait(EVENTS)).map(drop) };
    let cost = bench.step(load).await?;
    Ok((cost.cpu_s / EVENTS as f64, memory))
}

/// Open watches, one for each of the first nodes.
struct Open {
    tasks: JoinSet<Result<()>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    events: AtomicUsize,
    changed: Notify,
}

impl Open {
    async fn all(bench: &Bench<'_>, watchers: usize) -> Result<Self> {
        let revision = bench.revision().await?;
        let (seen, mut tasks) = (Arc::new(Seen::default()), JoinSet::new());
        let all = Arc::new(Barrier::new(watchers + 1));
        for first in (0..watchers).step_by(STREAMS) {
            let sender = connect(bench.target, &mut tasks).await?;
            for node in first..watchers.min(first + STREAMS) {
                let uri = format!(
                    "https://{}/api/v1/pods?fieldSelector=spec.nodeName%3D{}&resourceVersion={revision}\
                     &watch=1&timeoutSeconds=1200",
                    bench.target.authority(),
                    node_name(node)
                );
                tasks.spawn(watch(sender.clone(), uri, seen.clone(), all.clone()));
            }
        }
        let mut open = Self { tasks, seen };
        tokio::select! {
            _ = all.wait() => Ok(open),
            failed = open.tasks.join_next() => Err(ended(failed)),
        }
    }

    /// Waits until so many events have come.
    ///
    /// # Errors
    /// When a watch ends before that.
    async fn wait(&mut self, events: usize) -> Result<()> {
        while self.seen.events.load(Ordering::Acquire) < events {
            tokio::select! {
                () = self.seen.changed.notified() => {}
                failed = self.tasks.join_next() => return Err(ended(failed)),
            }
        }
        Ok(())
    }
}

/// A watch or its connection ended: neither does by itself.
fn ended(task: Option<Result<Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match task {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => error.into(),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a watch ended"),
    }
}

async fn connect(target: &Target, tasks: &mut JoinSet<Result<()>>) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(target.dial().await?)).await?;
    tasks.spawn(async { driver.await.context("a connection of watches broke off") });
    Ok(sender)
}

async fn watch(
    mut sender: SendRequest<Full<Bytes>>,
    uri: String,
    seen: Arc<Seen>,
    all: Arc<Barrier>,
) -> Result<()> {
    let request = hyper::Request::builder().method(Method::GET).uri(uri).body(Full::default())?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        bail!("a watch was refused: {}", response.status());
    }
    let mut lines = Lines::new(response.into_body());
    all.wait().await;
    loop {
        lines.next().await?;
        seen.events.fetch_add(1, Ordering::Release);
        seen.changed.notify_one();
    }
}
