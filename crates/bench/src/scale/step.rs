//! Counting what a step costs: from its first request until the server is quiet again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper::Method;

use super::CONNECTIONS;
use super::heartbeats::Heartbeats;
use crate::cluster::Cluster;
use crate::connection::{Request, Target};
use crate::load::{self, Make};

/// Processor time is looked at over windows of this length.
const WINDOW: Duration = Duration::from_millis(500);
/// A server is quiet that uses less of a core than this over a window, heartbeats apart.
const QUIET: f64 = 0.05;
/// Within this time a server has come to rest.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long memory may take to be given back once the server is quiet.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the processor time of heartbeats alone is counted.
const BACKGROUND: Duration = Duration::from_secs(10);

/// A server that is measured.
pub(super) struct Bench<'a> {
    pub cluster: &'a Cluster,
    pub target: &'a Target,
    heartbeats: Option<Heartbeats>,
    /// What heartbeats take, of one core.
    background: Cell<f64>,
}

/// What a step took.
pub(super) struct Cost {
    /// Without what the heartbeats take.
    pub cpu_s: f64,
    /// Commits of the store, without those of heartbeats.
    pub writes: f64,
    /// Until the load itself was done.
    pub took: Duration,
}

impl<'a> Bench<'a> {
    pub fn new(cluster: &'a Cluster, target: &'a Target) -> Self {
        Self { cluster, target, heartbeats: None, background: Cell::new(0.0) }
    }

    /// Runs a load and waits for everything that follows from it.
    ///
    /// # Errors
    /// When the load fails, or the server does not come to rest.
    pub async fn step(&self, load: impl Future<Output = Result<()>>) -> Result<Cost> {
        let (revision, beats) = (self.revision().await?, self.beats());
        let (cpu, started) = (self.cluster.cpu_s()?, Instant::now());
        load.await?;
        let took = started.elapsed();
        self.rest().await?;
        let cpu_s = self.cluster.cpu_s()? - cpu - self.background.get() * started.elapsed().as_secs_f64();
        let writes = (self.revision().await? - revision) as f64 - (self.beats() - beats) as f64;
        Ok(Cost { cpu_s, writes, took })
    }

    /// Sends `requests` requests over as many connections as every load.
    pub async fn load(&self, requests: usize, make: Make) -> Result<()> {
        load::run(self.cluster, self.target, (CONNECTIONS, requests), make).await.map(drop)
    }

    /// Lets nodes live on from here, and finds out what that takes of a core.
    pub async fn keep_alive(&mut self, heartbeats: Heartbeats) -> Result<f64> {
        self.heartbeats = Some(heartbeats);
        let (cpu, started) = (self.cluster.cpu_s()?, Instant::now());
        tokio::time::sleep(BACKGROUND).await;
        let background = (self.cluster.cpu_s()? - cpu) / started.elapsed().as_secs_f64();
        self.background.set(background);
        Ok(background)
    }

    /// Waits until the server is quiet.
    ///
    /// # Errors
    /// When it works on for too long.
    pub async fn rest(&self) -> Result<()> {
        let started = Instant::now();
        let most = QUIET + self.background.get() * 1.5;
        loop {
            let (cpu, looked) = (self.cluster.cpu_s()?, Instant::now());
            tokio::time::sleep(WINDOW).await;
            let used = (self.cluster.cpu_s()? - cpu) / looked.elapsed().as_secs_f64();
            if used < most {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                bail!("the server does not come to rest: it uses {used:.2} of a core");
            }
        }
    }

    /// The server's memory once it is quiet, in MB.
    pub async fn settled_mb(&self) -> Result<f64> {
        self.rest().await?;
        tokio::time::sleep(SETTLE).await;
        self.cluster.resident_mb()
    }

    /// The store's newest revision.
    pub async fn revision(&self) -> Result<i64> {
        let list = self.target.ask(Request::plain(Method::GET, "/api/v1/namespaces?limit=1")).await?;
        let revision = list["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
        revision.context("a list has no revision")
    }

    fn beats(&self) -> u64 {
        self.heartbeats.as_ref().map_or(0, Heartbeats::count)
    }
}
