//! [`Tunnel`]: a connection that has gone over to another protocol, passed on byte by byte.

use base::{Supervisor, TaskKind};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use super::endpoint::Lease;

/// Both sides of an upgrade that the endpoint has agreed to.
pub(super) struct Tunnel {
    pub client: OnUpgrade,
    pub endpoint: OnUpgrade,
    /// The request is in progress for as long as the tunnel is open.
    pub lease: Lease,
}

impl Tunnel {
    /// Passes bytes on in a task of its own, until both sides have ended or all stops.
    pub fn run_beside(self, supervisor: &Supervisor) {
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "ingress tunnel", async move {
            tokio::select! {
                () = self.run() => {}
                () = shutdown.started() => {}
            }
        });
    }

    /// Passes bytes on until both sides have ended.
    pub async fn run(self) {
        let Self { client, endpoint, lease } = self;
        let sides = async { Ok::<_, hyper::Error>((client.await?, endpoint.await?)) };
        let (client, endpoint): (Upgraded, Upgraded) = match sides.await {
            Ok(sides) => sides,
            Err(error) => {
                tracing::debug!(%error, "an upgrade was not completed");
                return;
            }
        };
        let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await {
            tracing::debug!(%error, "an upgraded connection ended");
        }
        drop(lease);
    }
}
