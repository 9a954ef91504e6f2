//! [`Hollow`]: the kubelets of all nodes, played. Pods become Running and Ready once they have a node, end where they
//! are not restarted, and go when they are told to.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection::{Connection, Request, STRATEGIC_PATCH, Target};
use crate::scale::objects;
use crate::watch::Watch;

/// Connections that kubelets write over.
const CONNECTIONS: usize = 16;

/// Plays until it is dropped.
pub(super) struct Hollow {
    _tasks: JoinSet<()>,
}

/// What a kubelet writes.
enum Write {
    Status(Value),
    /// It has ended, after it was told to.
    Gone,
}

/// A write about the pod of a path.
struct Deed {
    path: String,
    write: Write,
}

/// How far a pod has come that is still there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    Going,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Pod,
}

/// What of a pod decides.
#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    restart_policy: Option<String>,
}

impl Hollow {
    /// Plays from here on. A pod that is never restarted succeeds `life` after it began to run.
    pub async fn start(target: &Target, life: Duration) -> Result<Self> {
        let watch = Watch::open(target, "/api/v1/pods?fieldSelector=spec.nodeName%21%3D").await?;
        let (deeds, inbox) = mpsc::unbounded_channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (connection, inbox) = (target.connect().await?, Arc::clone(&inbox));
            tasks.spawn(async move { said(write(connection, inbox).await) });
        }
        tasks.spawn(async move { said(follow(watch, deeds, life).await) });
        Ok(Self { _tasks: tasks })
    }
}

/// Pods stand still then, and what is measured does not come to its end.
fn said(ended: Result<()>) {
    if let Err(error) = ended {
        eprintln!("a kubelet that is played has failed: {error:#}");
    }
}

async fn follow(mut watch: Watch, deeds: mpsc::UnboundedSender<Deed>, life: Duration) -> Result<()> {
    let mut stages = Stages::default();
    // All live as long, so that who began first ends first.
    let mut ends: VecDeque<(Instant, Deed)> = VecDeque::new();
    loop {
        let next = ends.front().map_or_else(|| Instant::now() + life, |(at, _)| *at);
        let line = tokio::select! {
            line = watch.line() => line?,
            () = tokio::time::sleep_until(next) => {
                if let Some((_, deed)) = ends.pop_front() {
                    deeds.send(deed)?;
                }
                continue;
            }
        };
        let Some((now, later)) = stages.see(serde_json::from_slice(&line).context("reading an event")?)
        else {
            continue;
        };
        deeds.send(now)?;
        ends.extend(later.map(|deed| (Instant::now() + life, deed)));
    }
}

/// The pods that are there, by their uids.
#[derive(Default)]
struct Stages {
    reached: HashMap<String, Stage>,
    /// Of the pods that began to run.
    count: usize,
}

impl Stages {
    /// What is to be written at once, and what at the end of the pod's life.
    fn see(&mut self, event: Event) -> Option<(Deed, Option<Deed>)> {
        let Pod { metadata, spec } = event.object;
        if event.kind == "DELETED" {
            self.reached.remove(&metadata.uid);
            return None;
        }
        let stage = if metadata.deletion_timestamp.is_some() { Stage::Going } else { Stage::Running };
        if self.reached.get(&metadata.uid).is_some_and(|reached| *reached >= stage) {
            return None;
        }
        self.reached.insert(metadata.uid, stage);
        let path = format!("/api/v1/namespaces/{}/pods/{}", metadata.namespace, metadata.name);
        if stage == Stage::Going {
            return Some((Deed { path, write: Write::Gone }, None));
        }
        self.count += 1;
        let write = |status| Deed { path: path.clone(), write: Write::Status(status) };
        let ends = spec.restart_policy.as_deref() == Some("Never");
        Some((write(objects::running(self.count)), ends.then(|| write(objects::succeeded(self.count)))))
    }
}

async fn write(mut connection: Connection, inbox: Arc<Mutex<mpsc::UnboundedReceiver<Deed>>>) -> Result<()> {
    loop {
        let Some(Deed { path, write }) = inbox.lock().await.recv().await else { return Ok(()) };
        let request = match write {
            Write::Status(status) => Request::patch(format!("{path}/status"), STRATEGIC_PATCH, &status),
            Write::Gone => {
                let now = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
                Request::json(Method::DELETE, path, &now)
            }
        };
        let (status, body) = connection.send_any(request).await?;
        let answer = body.collect().await?.to_bytes();
        // Somebody else may have removed it meanwhile.
        ensure!(status.is_success() || status == 404, "{status}: {}", String::from_utf8_lossy(&answer));
    }
}
