//! The nodes' signs of life: each lease is renewed every ten seconds, as kubelets do it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::objects::node_name;
use crate::connection::{Connection, MERGE_PATCH, Request, Target};

/// Between two renewals of one lease.
const EVERY: Duration = Duration::from_secs(10);
/// Connections the renewals are sent over.
const CONNECTIONS: usize = 4;

/// Renews leases until it is dropped.
pub(super) struct Heartbeats {
    count: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Heartbeats {
    /// Renews the leases of the first `nodes` nodes, evenly spread over time.
    pub async fn start(target: &Target, nodes: usize) -> Result<Self> {
        let (count, epoch) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let mut tasks = JoinSet::new();
        for first in 0..CONNECTIONS {
            let (mut connection, count) = (target.connect().await?, count.clone());
            let every = EVERY * u32::try_from(CONNECTIONS)? / u32::try_from(nodes)?;
            tasks.spawn(async move {
                let mut ticks = tokio::time::interval(every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                for node in (first..nodes).step_by(CONNECTIONS).cycle() {
                    ticks.tick().await;
                    if let Err(error) = renew(&mut connection, node, epoch.elapsed()).await {
                        // The nodes die, and the step that needs them fails.
                        eprintln!("a lease could not be renewed: {error:#}");
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Ok(Self { count, _tasks: tasks })
    }

    /// Renewals so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

async fn renew(connection: &mut Connection, node: usize, since: Duration) -> Result<()> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}", node_name(node));
    let patch = json!({"spec": {"renewTime": time(since)}});
    connection.send(Request::patch(path, MERGE_PATCH, &patch)).await?.collect().await?;
    Ok(())
}

/// A time that is later each time: the control plane looks at whether a lease changes, not at what it says.
fn time(since: Duration) -> String {
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("2026-01-01T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_api_takes_them() {
        assert_eq!(time(Duration::from_micros(3_723_000_045)), "2026-01-01T01:02:03.000045Z");
    }
}
