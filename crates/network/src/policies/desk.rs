//! Hears what the CNI plugin says, on a socket of the node, and answers.
//!
//! A caller that says nothing, or more than there is to say, is sent away; so is one whose pod does not show up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cni::announce::{Announcement, Reply};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::Dirty;
use super::calls::Call;

/// The longest announcement: a namespace, a name, a uid and an address.
const ANNOUNCEMENT_LIMIT_BYTES: u64 = 4096;
/// How many are heard at a time; others wait to be accepted.
const CALLERS: usize = 64;
/// How long a caller may take to say what it has to say, and to read the answer.
const SPEAKING: Duration = Duration::from_secs(5);
/// How long an answer may take, which is as long as the watch takes to show a pod. The plugin waits longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hears callers, until it is dropped.
pub(super) async fn serve(listener: UnixListener, dirty: Arc<Dirty>) {
    let mut callers: FuturesUnordered<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>> =
        FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if callers.len() < CALLERS => match accepted {
                Ok((stream, _)) => callers.push(Box::pin(hear(stream, dirty.clone()))),
                Err(error) => {
                    tracing::error!(%error, "the plugin cannot be heard");
                    tokio::time::sleep(SPEAKING).await;
                }
            },
            Some(heard) = callers.next() => {
                if let Err(error) = heard {
                    tracing::warn!(%error, "a caller of the network policies' socket is not answered");
                }
            }
        }
    }
}

async fn hear(mut stream: UnixStream, dirty: Arc<Dirty>) -> io::Result<()> {
    let mut line = String::new();
    let reading = async {
        let (read, _) = stream.split();
        BufReader::new(read.take(ANNOUNCEMENT_LIMIT_BYTES)).read_line(&mut line).await
    };
    tokio::time::timeout(SPEAKING, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let error = match serde_json::from_str::<Announcement>(&line) {
        Err(error) => Some(format!("it is not understood: {error}")),
        Ok(said) => {
            let (call, heard) = Call::new(said);
            dirty.call(call);
            match tokio::time::timeout(PATIENCE, heard).await {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some("the agent of network policies stops".to_owned()),
                Err(_) => Some(format!(
                    "within {} s the pod was not seen in the API, or the kernel did not take its rules",
                    PATIENCE.as_secs()
                )),
            }
        }
    };
    let mut reply = serde_json::to_vec(&Reply { error })?;
    reply.push(b'\n');
    tokio::time::timeout(SPEAKING, stream.write_all(&reply)).await.map_err(|_| io::ErrorKind::TimedOut)?
}
