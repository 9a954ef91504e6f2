//! Samples of the nodes' agents (`/stats/summary`), taken because somebody asks. Who asks for the first time waits
//! [`SPACING`] for the second of the two that figures are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::{Error, Reason};
use futures::{FutureExt, StreamExt};
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Limited};
use jiff::{SignedDuration, Timestamp};

use crate::body::{Body, RequestBody};
use crate::context::Context;
use crate::proxy::forward::dial;
use crate::proxy::node;
use crate::usage::{self, History, SPACING, Sample};

/// How long an agent may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer of an agent.
const SUMMARY_BYTES: usize = 16 * 1024 * 1024;
/// How many agents are asked at a time.
const AGENTS: usize = 32;

/// How many samples may be taken because something was not in those before: one that has it, and one to compare with.
const FURTHER: usize = 2;

/// The samples of nodes, by name, or why a node's agent gave none. While `complete` says no of a node, whose samples it
/// is given and when this began, a further sample is taken.
pub(super) async fn measure(
    context: &Arc<Context>,
    nodes: BTreeSet<String>,
    complete: impl Fn(&str, &History, Timestamp) -> bool,
) -> BTreeMap<String, Result<History, Error>> {
    let began = context.deps.clock.now();
    let mut seen = look(context, nodes).await;
    for _ in 0..FURTHER {
        let lacks = |(name, history): &(&String, &Result<History, Error>)| {
            history.as_ref().is_ok_and(|history| !complete(name, history, began))
        };
        let lacking: BTreeSet<String> = seen.iter().filter(lacks).map(|(name, _)| name.clone()).collect();
        if lacking.is_empty() {
            break;
        }
        let taken = lacking.iter().filter_map(|name| seen.get(name)?.as_ref().ok()?.taken());
        let next = taken.max().map(|taken| taken + SPACING);
        let left = next.map(|next| next.duration_since(context.deps.clock.now())).unwrap_or_default();
        // What is measured is how much is used in this time.
        tokio::time::sleep(left.clamp(SignedDuration::ZERO, SPACING).unsigned_abs()).await;
        seen.extend(look(context, lacking).await);
    }
    seen
}

async fn look(context: &Arc<Context>, nodes: BTreeSet<String>) -> BTreeMap<String, Result<History, Error>> {
    let asked = nodes.into_iter().map(|name| async move {
        let take = || take(Arc::clone(context), name.clone()).boxed();
        let taking = context.usage.sampled(&name, context.deps.clock.now(), take);
        (name, taking.await)
    });
    futures::stream::iter(asked).buffer_unordered(AGENTS).collect().await
}

/// Takes a sample and returns it with those before.
async fn take(context: Arc<Context>, name: String) -> Result<History, Error> {
    let late = |_| Error::new(Reason::Timeout, format!("the agent of node {name:?} takes too long"));
    let sample = tokio::time::timeout(PATIENCE, ask(&context, &name)).await.map_err(late)??;
    Ok(context.usage.add(name, sample))
}

async fn ask(context: &Context, name: &str) -> Result<Sample, Error> {
    // Nothing that starts from now on can be missed in what is said.
    let began = context.deps.clock.now();
    let agent = node::agent(context, name)?;
    let host = HeaderValue::from_str(&agent.authority()).map_err(Error::internal)?;
    let request = Request::get("/stats/summary").header(HOST, host);
    let request = request.body(RequestBody::new(Body::Empty)).map_err(Error::internal)?;
    let response = dial(context, &agent, request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), SUMMARY_BYTES).collect().await;
    let unread =
        |why: String| Error::internal(format!("the agent of node {name:?} is not understood: {why}"));
    let body = body.map_err(|error| unread(error.to_string()))?.to_bytes();
    if !status.is_success() {
        return Err(unread(format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)]))));
    }
    usage::read(&body, began).map_err(|error| unread(error.to_string()))
}
