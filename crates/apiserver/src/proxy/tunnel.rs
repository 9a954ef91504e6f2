//! Copies bytes both ways between two upgraded connections until either side ends.

use base::TaskKind;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::context::Context;

/// Copies in a task of its own, for as long as both sides and the server live.
pub(super) fn start(context: &Context, client: OnUpgrade, backend: OnUpgrade) {
    let shutdown = context.deps.supervisor.shutdown().clone();
    context.deps.supervisor.spawn(TaskKind::Background, "tunnel", async move {
        let (client, backend) = match tokio::try_join!(client, backend) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "an upgrade did not come about");
                return;
            }
        };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        tokio::select! {
            copied = tokio::io::copy_bidirectional(&mut client, &mut backend) => {
                if let Err(error) = copied {
                    tracing::debug!(%error, "a stream through the server ended");
                }
            }
            () = shutdown.started() => {}
        }
    });
}
