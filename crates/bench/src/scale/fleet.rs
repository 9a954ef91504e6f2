//! Nodes: what registering one costs, and keeping it alive.

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hyper::Method;

use super::heartbeats::Heartbeats;
use super::objects;
use super::step::Bench;
use crate::cluster::ThreadTimes;
use crate::connection::{Request, Target};
use crate::load::Make;

/// The first and the last nodes whose costs are compared.
const ENDS: usize = 100;
/// Nodes that are measured at least.
pub(super) const FEWEST: usize = 3 * ENDS;
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// What was found.
pub struct Nodes {
    /// The server's processor time for one, in seconds.
    pub cpu_s: f64,
    /// Writes that one causes, its own among them.
    pub writes: f64,
    /// What the last hundred cost, as a multiple of the first hundred.
    pub last_to_first: f64,
    /// Of the server, in KB, lease included.
    pub memory_kb: f64,
    /// What the renewals of all leases take, of one core.
    pub heartbeats: f64,
}

/// Registers nodes, makes their leases and keeps them alive.
pub(super) async fn measure(bench: &mut Bench<'_>, count: usize) -> Result<Nodes> {
    let memory = bench.settled_mb().await?;
    let first = ends(bench, 0).await?;
    let middle = bench.step(create(bench, ENDS, count - 2 * ENDS)).await?;
    let last = ends(bench, count - ENDS).await?;
    let uids = uids(bench.target, count).await?;
    let make: Make =
        Arc::new(move |number| Request::json(Method::POST, LEASES, &objects::lease(number, &uids[number])));
    bench.step(bench.load(count, make)).await?;
    let memory_kb = (bench.settled_mb().await? - memory) * 1e3 / count as f64;
    let heartbeats = bench.keep_alive(Heartbeats::start(bench.target, count).await?).await?;
    Ok(Nodes {
        cpu_s: (first.cpu_s + middle.cpu_s + last.cpu_s) / count as f64,
        writes: (first.writes + middle.writes + last.writes) / count as f64,
        last_to_first: last.cpu_s / first.cpu_s,
        memory_kb,
        heartbeats,
    })
}

struct End {
    cpu_s: f64,
    writes: f64,
}

/// Registers a hundred nodes and counts finely.
async fn ends(bench: &Bench<'_>, from: usize) -> Result<End> {
    let before: RefCell<Option<ThreadTimes>> = RefCell::new(None);
    let load = async {
        before.replace(Some(bench.cluster.thread_times()?));
        create(bench, from, ENDS).await
    };
    let cost = bench.step(load).await?;
    let after = bench.cluster.thread_times()?;
    let cpu_s = before.into_inner().map_or(0.0, |before| after.since_s(&before));
    Ok(End { cpu_s, writes: cost.writes })
}

async fn create(bench: &Bench<'_>, from: usize, count: usize) -> Result<()> {
    let make: Make =
        Arc::new(move |number| Request::json(Method::POST, "/api/v1/nodes", &objects::node(from + number)));
    bench.load(count, make).await
}

/// The nodes' uids, by their numbers; read in pages, so as not to leave a large list's buffers behind.
async fn uids(target: &Target, count: usize) -> Result<Vec<String>> {
    const PAGE: usize = 500;
    let (mut uids, mut from) = (Vec::with_capacity(count), String::new());
    while uids.len() < count {
        let list =
            target.ask(Request::plain(Method::GET, format!("/api/v1/nodes?limit={PAGE}{from}"))).await?;
        for node in list["items"].as_array().context("a list has no items")? {
            uids.push(node["metadata"]["uid"].as_str().context("a node has no uid")?.to_owned());
        }
        match list["metadata"]["continue"].as_str().unwrap_or_default() {
            "" if uids.len() < count => bail!("only {} of {count} nodes are there", uids.len()),
            token => from = format!("&continue={token}"),
        }
    }
    Ok(uids)
}
