//! Pods: made, scheduled, and brought to life as kubelets would.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;

use super::objects;
use super::step::{Bench, Cost};
use crate::connection::{Request, STRATEGIC_PATCH, Target};
use crate::load::Make;
use crate::watch::Watch;

/// Namespaces that pods are spread over.
const NAMESPACES: usize = 20;
/// One pod in so many is a Deployment's.
const DEPLOYED: usize = 5;
/// Objects of a page when all are read.
const PAGE: usize = 500;

/// What was found, for one pod each.
pub struct Pods {
    /// Creating a pod and binding it, in seconds.
    pub bound_cpu_s: f64,
    /// Writes that this takes.
    pub bound_writes: f64,
    /// From the first request to the last pod's being bound.
    pub bound_per_s: f64,
    /// The same for the pods of Deployments, their controllers' work included.
    pub deployed_cpu_s: f64,
    /// Of the server, in KB, once all are bound.
    pub bound_memory_kb: f64,
    /// Writing that a pod runs and is ready, in seconds.
    pub running_cpu_s: f64,
    /// Of the server, in KB, once all run.
    pub running_memory_kb: f64,
    /// The size of one as it is read.
    pub json_kb: f64,
}

pub(super) fn namespace(number: usize) -> String {
    format!("shop-{:02}", number % NAMESPACES)
}

/// Makes the namespaces; returns when pods can be made in them.
pub(super) async fn namespaces(target: &Target) -> Result<()> {
    let accounts = "/api/v1/serviceaccounts?fieldSelector=metadata.name%3Ddefault";
    let mut watch = Watch::open(target, accounts).await?;
    for number in 0..NAMESPACES {
        let object = crate::objects::namespace(&namespace(number));
        target.ask(Request::json(Method::POST, "/api/v1/namespaces", &object)).await?;
    }
    let mut there = 0;
    // A pod needs its account.
    watch
        .until(|event| {
            let name = event["object"]["metadata"]["namespace"].as_str().unwrap_or_default();
            there += usize::from(event["type"] == "ADDED" && name.starts_with("shop-"));
            there == NAMESPACES
        })
        .await
}

/// Makes pods, waits for the scheduler, and plays the kubelets.
pub(super) async fn measure(bench: &Bench<'_>, count: usize) -> Result<Pods> {
    let deployed = count / DEPLOYED;
    let plain = count - deployed;
    let before = bench.settled_mb().await?;
    let mut bound = Bound::open(bench).await?;
    let made = bench.step(make_pods(bench, plain, &mut bound)).await?;
    let by_controllers = bench.step(make_deployments(bench, deployed, &mut bound)).await?;
    drop(bound);
    let with_bound = bench.settled_mb().await?;
    let all = Arc::new(read_all(bench.target).await?);
    let paths = all.paths.clone();
    let run: Make = Arc::new(move |number| {
        let path = format!("{}/status", paths[number]);
        Request::patch(path, STRATEGIC_PATCH, &objects::running(number))
    });
    let running: Cost = bench.step(bench.load(count, run)).await?;
    let with_running = bench.settled_mb().await?;
    let each = |mb: f64| (mb - before) * 1e3 / count as f64;
    Ok(Pods {
        bound_cpu_s: made.cpu_s / plain as f64,
        bound_writes: made.writes / plain as f64,
        bound_per_s: plain as f64 / made.took.as_secs_f64(),
        deployed_cpu_s: by_controllers.cpu_s / deployed as f64,
        bound_memory_kb: each(with_bound),
        running_cpu_s: running.cpu_s / count as f64,
        running_memory_kb: each(with_running),
        json_kb: all.bytes as f64 / 1e3 / count as f64,
    })
}

async fn make_pods(bench: &Bench<'_>, count: usize, bound: &mut Bound) -> Result<()> {
    let make: Make = Arc::new(|number| {
        let namespace = namespace(number);
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        Request::json(Method::POST, path, &objects::pod(&namespace, number))
    });
    tokio::try_join!(bench.load(count, make), bound.wait(count))?;
    Ok(())
}

/// A Deployment in each namespace.
async fn make_deployments(bench: &Bench<'_>, pods: usize, bound: &mut Bound) -> Result<()> {
    let replicas = pods / NAMESPACES;
    let make: Make = Arc::new(move |number| {
        let namespace = namespace(number);
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        Request::json(Method::POST, path, &objects::deployment(&namespace, "worker", replicas))
    });
    tokio::try_join!(bench.load(NAMESPACES, make), bound.wait(replicas * NAMESPACES))?;
    Ok(())
}

/// Sees pods get their nodes.
struct Bound(Watch);

impl Bound {
    async fn open(bench: &Bench<'_>) -> Result<Self> {
        let revision = bench.revision().await?;
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%21%3D&resourceVersion={revision}");
        Ok(Self(Watch::open(bench.target, &path).await?))
    }

    /// Waits for so many more.
    ///
    /// # Errors
    /// When they do not come in time.
    async fn wait(&mut self, count: usize) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(300);
        let mut seen = 0;
        let all = async {
            while seen < count {
                seen += usize::from(self.0.line().await?.starts_with(b"{\"type\":\"ADDED\""));
            }
            Ok(())
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(ended) => ended,
            Err(_) => Err(anyhow::anyhow!("only {seen} of {count} pods were bound")),
        }
    }
}

/// Every pod there is.
struct All {
    paths: Vec<String>,
    /// Of all of them.
    bytes: usize,
}

async fn read_all(target: &Target) -> Result<All> {
    let mut all = All { paths: Vec::new(), bytes: 0 };
    let mut from = String::new();
    loop {
        let list =
            target.ask(Request::plain(Method::GET, format!("/api/v1/pods?limit={PAGE}{from}"))).await?;
        for pod in list["items"].as_array().context("a list has no items")? {
            let metadata = &pod["metadata"];
            let namespace = metadata["namespace"].as_str().context("a pod has no namespace")?;
            let name = metadata["name"].as_str().context("a pod has no name")?;
            all.paths.push(format!("/api/v1/namespaces/{namespace}/pods/{name}"));
            all.bytes += pod.to_string().len();
        }
        match list["metadata"]["continue"].as_str().unwrap_or_default() {
            "" => return Ok(all),
            token => from = format!("&continue={token}"),
        }
    }
}
