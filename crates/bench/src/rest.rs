//! A cluster's start, and what it takes when nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cluster::Cluster;

/// How long processor time is counted.
const WINDOW: Duration = Duration::from_secs(30);

/// What was found.
pub struct Rest {
    pub boot: Duration,
    pub resident_mb: f64,
    /// Of one core.
    pub cpu_percent: f64,
    pub binary_mb: f64,
}

/// Lets the cluster rest, then looks.
pub async fn measure(cluster: &Cluster, rest: Duration) -> Result<Rest> {
    tokio::time::sleep(rest).await;
    let resident_mb = cluster.resident_mb()?;
    let (cpu, started) = (cluster.cpu_s()?, Instant::now());
    tokio::time::sleep(WINDOW).await;
    Ok(Rest {
        boot: cluster.boot,
        resident_mb,
        cpu_percent: (cluster.cpu_s()? - cpu) / started.elapsed().as_secs_f64() * 100.0,
        binary_mb: cluster.binary_bytes()? as f64 / 1e6,
    })
}
