//! Requests by several connections at once, each of which sends the next as soon as it has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::BodyExt;
use hyper::Method;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::connection::{Request, Target};

/// How a load went.
#[derive(Debug, Clone)]
pub struct Figures {
    pub requests_per_s: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// The server's processor time, in seconds for 1,000 requests.
    pub cpu_per_1000: f64,
}

/// The request of a number.
pub type Make = Arc<dyn Fn(usize) -> Request + Send + Sync>;

/// Sends `requests` requests over `connections` connections.
///
/// # Errors
/// When any answer is no success: such a load measures nothing.
pub async fn run(
    cluster: &Cluster,
    target: &Target,
    (connections, requests): (usize, usize),
    make: Make,
) -> Result<Figures> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut connection = target.connect().await?;
        // The first request of a connection finds out whose it is.
        connection.send(Request::plain(Method::GET, "/readyz")).await?.collect().await?;
        open.push(connection);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu, started) = (cluster.cpu_s()?, Instant::now());
    let mut workers = JoinSet::new();
    for mut connection in open {
        let (next, make) = (next.clone(), make.clone());
        workers.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return anyhow::Ok(took);
                }
                let sent = Instant::now();
                let mut body = connection.send(make(number)).await?;
                while let Some(frame) = body.frame().await {
                    frame?;
                }
                took.push(sent.elapsed());
            }
        });
    }
    let mut took = Vec::new();
    while let Some(worker) = workers.join_next().await {
        took.extend(worker??);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let count = requests as f64;
    Ok(Figures {
        requests_per_s: count / elapsed,
        p50: percentile(&mut took, 50),
        p99: percentile(&mut took, 99),
        cpu_per_1000: (cluster.cpu_s()? - cpu) * 1000.0 / count,
    })
}

/// The value that `percent` of a hundred do not exceed; zero of none.
pub fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let mut values: Vec<Duration> = (1..=20).rev().map(Duration::from_secs).collect();
        assert_eq!(percentile(&mut values, 50), Duration::from_secs(10));
        assert_eq!(percentile(&mut values, 99), Duration::from_secs(20));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
