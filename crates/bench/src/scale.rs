//! What a large cluster costs the control plane: nodes that are only played, and their pods.
//!
//! Start with [`measure`]. A server without a node of its own runs with every controller and the scheduler; `fleet`
//! registers nodes and renews their leases as kubelets do, `workload` makes pods, lets them be scheduled and plays
//! the kubelets' part of their lives, `watchers` connects a watcher for each node. What a step costs is counted from
//! its first request until the server is quiet again (`step`), in processor time, as a multiple of what creating a
//! ConfigMap costs in the same run: seconds depend on the machine and its other work, multiples far less.

mod fleet;
mod heartbeats;
pub(crate) mod objects;
mod step;
mod watchers;
mod workload;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hyper::Method;

use crate::cluster::Cluster;
use crate::connection::{Request, Target};
use crate::load::Make;
pub(crate) use objects::node_name;
use step::Bench;

/// Connections of every load.
const CONNECTIONS: usize = 16;
/// ConfigMaps that are made for each reading of the unit.
const CONFIG_MAPS: usize = 5_000;

/// How large the cluster is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub nodes: usize,
    pub pods: usize,
}

impl FromStr for Size {
    type Err = anyhow::Error;

    /// `NODESxPODS`
    fn from_str(text: &str) -> Result<Self> {
        let (nodes, pods) = text.split_once('x').context("a size is written NODESxPODS")?;
        let size = Self { nodes: nodes.parse()?, pods: pods.parse()? };
        if size.nodes < fleet::FEWEST || size.pods < size.nodes {
            bail!("a size has at least {} nodes, and a pod for each", fleet::FEWEST);
        }
        Ok(size)
    }
}

/// What was found at one size. Processor times are the server's; multiples are those of creating a ConfigMap.
pub struct Scale {
    pub size: Size,
    /// Of creating a ConfigMap of 1 KB, in milliseconds.
    pub unit_ms: f64,
    pub nodes: fleet::Nodes,
    pub pods: workload::Pods,
    pub watchers: watchers::Watchers,
    /// The server's memory at the end, in MB.
    pub resident_mb: f64,
}

/// A row of the report: what, the figure at a size, and the goal where there is one.
pub type Row = (&'static str, fn(&Scale) -> String, &'static str);

/// What is reported.
pub const ROWS: &[Row] = &[
    ("a ConfigMap of 1 KB created: processor time, the unit", |s| format!("{:.3} ms", s.unit_ms), ""),
    ("a node registered", |s| s.times(s.nodes.cpu_s), "≤ 2 ×"),
    ("… writes", |s| format!("{:.1}", s.nodes.writes), ""),
    ("… the last 100 nodes against the first 100", |s| format!("{:.2} ×", s.nodes.last_to_first), "1 ×"),
    ("… memory, its lease included", |s| kilobytes(s.nodes.memory_kb), "≤ 8 KB"),
    ("all leases renewed each 10 s, of one core", |s| format!("{:.1} %", s.nodes.heartbeats * 1e2), ""),
    ("a pod created and bound", |s| s.times(s.pods.bound_cpu_s), "≤ 3.5 ×"),
    ("… writes", |s| format!("{:.1}", s.pods.bound_writes), ""),
    ("… pods a second", |s| format!("{:.0}", s.pods.bound_per_s), ""),
    ("a Deployment's pod created and bound", |s| s.times(s.pods.deployed_cpu_s), ""),
    ("… memory, bound", |s| kilobytes(s.pods.bound_memory_kb), "≤ 10 KB"),
    ("a pod's status written: running and ready", |s| s.times(s.pods.running_cpu_s), ""),
    ("… memory, running", |s| kilobytes(s.pods.running_memory_kb), "≤ 10 KB"),
    ("… its size in JSON", |s| kilobytes(s.pods.json_kb), ""),
    ("a pod changed, 5 node watchers connected", |s| s.times(s.watchers.few_cpu_s), ""),
    (
        "… a watcher for each node, against 5",
        |s| format!("{:.2} ×", s.watchers.many_cpu_s / s.watchers.few_cpu_s),
        "1 ×",
    ),
    ("… memory of a watcher", |s| kilobytes(s.watchers.memory_kb), ""),
    ("resident memory of the server", |s| format!("{:.0} MB", s.resident_mb), ""),
];

impl Scale {
    /// A processor time as a multiple of the unit.
    fn times(&self, cpu_s: f64) -> String {
        format!("{:.1} ×", cpu_s * 1e3 / self.unit_ms)
    }
}

fn kilobytes(kb: f64) -> String {
    format!("{kb:.1} KB")
}

/// Fills a control plane of its own to a size, step by step.
///
/// # Errors
/// When a request fails, or the server does not come to rest.
pub async fn measure(knarr: &Path, size: Size) -> Result<Scale> {
    let cluster = Cluster::control_plane(knarr)?;
    let target = Target::of(&cluster.kubeconfig())?;
    let mut bench = Bench::new(&cluster, &target);
    workload::namespaces(&target).await?;
    bench.rest().await?;
    // The first ones warm the server up.
    config_maps(&bench, "warm").await?;
    let before = config_maps(&bench, "before").await?;
    let nodes = fleet::measure(&mut bench, size.nodes).await?;
    let after = config_maps(&bench, "after").await?;
    let unit_s = (before + after) / 2.0;
    let pods = workload::measure(&bench, size.pods).await?;
    let watchers = watchers::measure(&bench, size.nodes).await?;
    let resident_mb = bench.settled_mb().await?;
    Ok(Scale { size, unit_ms: unit_s * 1e3, nodes, pods, watchers, resident_mb })
}

/// The processor time of creating one ConfigMap, in seconds.
async fn config_maps(bench: &Bench<'_>, prefix: &'static str) -> Result<f64> {
    let path = format!("/api/v1/namespaces/{}/configmaps", workload::namespace(0));
    let make: Make = Arc::new(move |number| {
        let object = crate::objects::config_map(&workload::namespace(0), &format!("{prefix}-{number}"), "");
        Request::json(Method::POST, path.as_str(), &object)
    });
    Ok(bench.step(bench.load(CONFIG_MAPS, make)).await?.cpu_s / CONFIG_MAPS as f64)
}
