//! Requests: what they cost, alone and many at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::Method;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::connection::{MERGE_PATCH, Request, Target};
use crate::load::{self, Figures, Make, percentile};
use crate::objects;
use crate::upstream;
use crate::watch::Watch;

const NAMESPACE: &str = "bench-requests";
/// Objects that are listed.
const PODS: usize = 1_000;
const CONFIG_MAPS: usize = 10_000;
const WATCHERS: usize = 100;
const WATCHED: usize = 1_000;

/// What was found.
pub struct Requests {
    pub rows: Vec<Row>,
    pub watch: Watching,
}

/// One kind of load beside upstream's figures for it.
pub struct Row {
    pub what: &'static str,
    pub knarr: Figures,
    pub upstream: upstream::Requests,
}

/// Many watchers of many changes.
pub struct Watching {
    pub events_per_s: f64,
    /// From sending the request that makes an object to a watcher's seeing it.
    pub p99: Duration,
    pub cpu_s: f64,
}

/// Fills a namespace and loads the server.
pub async fn measure(cluster: &Cluster, target: &Target) -> Result<Requests> {
    target.ask(Request::json(Method::POST, "/api/v1/namespaces", &objects::namespace(NAMESPACE))).await?;
    let mut bench = Bench { cluster, target, rows: Vec::new() };
    bench.pods().await?;
    bench.config_maps().await?;
    let rows = bench.rows;
    Ok(Requests { rows, watch: watch(cluster, target).await? })
}

struct Bench<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    rows: Vec<Row>,
}

impl Bench<'_> {
    async fn load(&self, connections: usize, requests: usize, make: Make) -> Result<Figures> {
        load::run(self.cluster, self.target, (connections, requests), make).await
    }

    async fn row(
        &mut self,
        what: &'static str,
        (connections, requests): (usize, usize),
        upstream: upstream::Requests,
        make: Make,
    ) -> Result<()> {
        let knarr = self.load(connections, requests, make).await?;
        self.rows.push(Row { what, knarr, upstream });
        Ok(())
    }

    async fn pods(&mut self) -> Result<()> {
        let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let path = pods.clone();
        let create = move |number| {
            Request::json(
                Method::POST,
                path.as_str(),
                &objects::large_pod(NAMESPACE, &format!("pod-{number}")),
            )
        };
        self.load(16, PODS, Arc::new(create)).await?;
        let get = plain(Method::GET, format!("{pods}/pod-0"));
        self.row("GET pod (1)", (1, 5_000), upstream::requests(1045.0, 0.84, 2.5, 1.315), get.clone())
            .await?;
        self.row("GET pod (16)", (16, 20_000), upstream::requests(3157.0, 4.3, 20.1, 0.558), get.clone())
            .await?;
        self.row("GET pod (64)", (64, 20_000), upstream::requests(3566.0, 15.5, 50.7, 0.492), get).await?;
        let list = plain(Method::GET, pods);
        self.row("LIST 1,000 pods (1)", (1, 100), upstream::requests(15.1, 57.7, 113.0, 89.5), list.clone())
            .await?;
        self.row("LIST 1,000 pods (4)", (4, 200), upstream::requests(20.8, 151.0, 381.0, 86.0), list).await
    }

    async fn config_maps(&mut self) -> Result<()> {
        let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let create = |prefix: &'static str| -> Make {
            let path = all.clone();
            Arc::new(move |number| {
                let object = objects::config_map(NAMESPACE, &format!("{prefix}-{number}"), "");
                Request::json(Method::POST, path.as_str(), &object)
            })
        };
        self.row("CREATE configmap (1)", (1, 1_000), upstream::requests(682.0, 1.34, 2.8, 1.58), create("a"))
            .await?;
        self.row("CREATE (16)", (16, 5_000), upstream::requests(1788.0, 7.9, 26.4, 0.94), create("b"))
            .await?;
        self.row(
            "CREATE (64)",
            (64, CONFIG_MAPS),
            upstream::requests(2336.0, 25.5, 65.0, 0.745),
            create("c"),
        )
        .await?;
        let path = all.clone();
        let put: Make = Arc::new(move |number| {
            let name = format!("c-{}", number % 1_000);
            let object = objects::config_map(NAMESPACE, &name, &number.to_string());
            Request::json(Method::PUT, format!("{path}/{name}"), &object)
        });
        self.row("PUT (16)", (16, 5_000), upstream::requests(1523.0, 9.0, 33.9, 1.151), put).await?;
        let path = all.clone();
        let patch: Make = Arc::new(move |number| Request {
            method: Method::PATCH,
            path: format!("{path}/c-{}", number % 1_000),
            content_type: MERGE_PATCH,
            body: json!({"data": {"changing": format!("patched {number}")}}).to_string().into(),
        });
        self.row("PATCH, merge (16)", (16, 5_000), upstream::requests(1413.0, 9.8, 36.6, 1.231), patch)
            .await?;
        let path = all.clone();
        let delete: Make =
            Arc::new(move |number| Request::plain(Method::DELETE, format!("{path}/b-{number}")));
        self.row("DELETE (16)", (16, 5_000), upstream::requests(1866.0, 7.4, 29.5, 0.908), delete).await?;
        for number in 0..1_000 {
            self.target.ask(Request::plain(Method::DELETE, format!("{all}/a-{number}"))).await?;
        }
        let list = plain(Method::GET, all.clone());
        self.row("LIST 10,000 configmaps (1)", (1, 30), upstream::requests(7.3, 134.0, 192.0, 187.0), list)
            .await?;
        let page = plain(Method::GET, format!("{all}?limit=500"));
        self.row("LIST, a page of 500 (1)", (1, 300), upstream::requests(94.0, 9.6, 21.4, 14.4), page).await
    }
}

fn plain(method: Method, path: String) -> Make {
    Arc::new(move |_| Request::plain(method.clone(), path.as_str()))
}

/// 100 watchers see 1,000 objects made by 16 connections.
async fn watch(cluster: &Cluster, target: &Target) -> Result<Watching> {
    let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let page = target.ask(Request::plain(Method::GET, format!("{all}?limit=1"))).await?;
    let revision = page["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let path = format!("{all}?resourceVersion={revision}");
    let (epoch, open) = (Instant::now(), Arc::new(Barrier::new(WATCHERS + 1)));
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let (target, path, open) = (target.clone(), path.clone(), open.clone());
        watchers.spawn(async move {
            let mut watch = Watch::open(&target, &path).await?;
            open.wait().await;
            let mut took = Vec::with_capacity(WATCHED);
            while took.len() < WATCHED {
                let line = watch.line().await?;
                took.push(epoch.elapsed().saturating_sub(sent_at(&line)));
            }
            anyhow::Ok(took)
        });
    }
    tokio::select! {
        _ = open.wait() => {}
        // No watcher ends before all are open, unless it failed.
        Some(ended) = watchers.join_next() => ended??.clear(),
    }
    let (cpu, started) = (cluster.cpu_s()?, Instant::now());
    let create: Make = Arc::new(move |number| {
        let sent = epoch.elapsed().as_nanos().to_string();
        let object = objects::config_map(NAMESPACE, &format!("watched-{number}"), &sent);
        Request::json(Method::POST, all.as_str(), &object)
    });
    load::run(cluster, target, (16, WATCHED), create).await?;
    let mut took = Vec::new();
    while let Some(watcher) = watchers.join_next().await {
        took.extend(watcher??);
    }
    Ok(Watching {
        events_per_s: took.len() as f64 / started.elapsed().as_secs_f64(),
        p99: percentile(&mut took, 99),
        cpu_s: cluster.cpu_s()? - cpu,
    })
}

/// When an event's object was sent, as it says itself.
fn sent_at(line: &[u8]) -> Duration {
    const FIELD: &[u8] = b"\"changing\":\"";
    let start = line
        .windows(FIELD.len())
        .position(|window| window == FIELD)
        .map_or(line.len(), |at| at + FIELD.len());
    let digits = line[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Duration::from_nanos(digits.fold(0, |nanos, digit| nanos * 10 + u64::from(digit - b'0')))
}
