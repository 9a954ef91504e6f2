//! What stays of a burst: the server's memory and the store's file before, at its end, and once it is over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hyper::Method;

use crate::cluster::Cluster;
use crate::connection::{Request, Target};
use crate::load::{self, Make};
use crate::objects;
use crate::pods;

const NAMESPACE: &str = "bench-burst";
/// Objects made and deleted.
pub const MADE: usize = 40_000;
/// Objects of 1 KB that stay, and how often one of them is changed.
pub const LIVE: usize = 1_000;
pub const CHANGES: usize = 180_000;
/// Reads, of which every hundredth is a list.
pub const READS: usize = 18_000;
const CONNECTIONS: usize = 16;
/// How long before and after the burst nothing happens. The store keeps five minutes of history whatever its size.
pub const MEMORY_REST: Duration = Duration::from_secs(60);
pub const FILE_REST: Duration = Duration::from_secs(300);

/// What was found.
pub struct Burst {
    pub before: Size,
    pub at_end: Size,
    /// [`MEMORY_REST`] after the end.
    pub rested: Size,
    /// When the history of the burst is old enough to be forgotten.
    pub forgotten: Size,
}

/// The server's resident memory and the store's file.
pub struct Size {
    pub resident_mb: f64,
    pub store_mb: f64,
}

/// Makes the burst and waits.
pub async fn measure(cluster: &Cluster, target: &Target) -> Result<Burst> {
    target.ask(Request::json(Method::POST, "/api/v1/namespaces", &objects::namespace(NAMESPACE))).await?;
    tokio::time::sleep(MEMORY_REST).await;
    let before = size(cluster)?;
    pods::replicas(cluster, target, NAMESPACE).await?;
    let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    load(cluster, target, LIVE, put(&all, Method::POST, "live", LIVE)).await?;
    let path = all.clone();
    let read = move |number: usize| {
        let path =
            if number.is_multiple_of(100) { path.clone() } else { format!("{path}/live-{}", number % LIVE) };
        Request::plain(Method::GET, path)
    };
    load(cluster, target, READS, Arc::new(read)).await?;
    load(cluster, target, MADE, put(&all, Method::POST, "made", MADE)).await?;
    let path = all.clone();
    let delete = move |number| Request::plain(Method::DELETE, format!("{path}/made-{number}"));
    load(cluster, target, MADE, Arc::new(delete)).await?;
    load(cluster, target, CHANGES, put(&all, Method::PUT, "live", LIVE)).await?;
    let at_end = size(cluster)?;
    tokio::time::sleep(MEMORY_REST).await;
    let rested = size(cluster)?;
    tokio::time::sleep(FILE_REST).await;
    Ok(Burst { before, at_end, rested, forgotten: size(cluster)? })
}

/// A request that writes one of `count` objects.
fn put(all: &str, method: Method, prefix: &'static str, count: usize) -> Make {
    let all = all.to_owned();
    Arc::new(move |number| {
        let name = format!("{prefix}-{}", number % count);
        let object = objects::config_map(NAMESPACE, &name, &number.to_string());
        let path = if method == Method::PUT { format!("{all}/{name}") } else { all.clone() };
        Request::json(method.clone(), path, &object)
    })
}

async fn load(cluster: &Cluster, target: &Target, requests: usize, make: Make) -> Result<()> {
    load::run(cluster, target, (CONNECTIONS, requests), make).await.map(drop)
}

fn size(cluster: &Cluster) -> Result<Size> {
    Ok(Size { resident_mb: cluster.resident_mb()?, store_mb: cluster.store_bytes()? as f64 / 1e6 })
}
