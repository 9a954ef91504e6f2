//! [`Discoverer`]: asks other servers what they serve, when a registration changes and every minute. Nothing runs while no
//! other server is registered. Upstream: `kube-aggregator/pkg/apiserver/handler_discovery.go`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::GroupVersion;
use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, StatusCode};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Reach;
use super::discovered::{self, Discovered, Document, Version};
use super::registry::{Registered, Registry, Server};

/// How often servers are asked again, as upstream does.
const REFRESH: Duration = Duration::from_mins(1);
/// When servers are asked again of which one did not answer.
const RETRY: Duration = Duration::from_secs(10);
const AGGREGATED: HeaderValue = HeaderValue::from_static(
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// See the module's documentation.
pub(super) struct Discoverer {
    pub reach: Reach,
    pub registry: Arc<ArcSwap<Registry>>,
    /// Told when the registry changes.
    pub changed: Arc<Notify>,
    /// What is found.
    pub found: watch::Sender<Arc<Discovered>>,
}

/// What is known of the versions that are registered, and of which registration it is known.
type Known = HashMap<GroupVersion, (Arc<Registered>, Version)>;

/// What a server has answered.
struct Answered {
    server: Arc<Server>,
    document: Result<Document, String>,
    openapi: HashMap<String, String>,
}

impl Discoverer {
    pub async fn run(self) {
        let mut known = Known::new();
        let mut due = Instant::now();
        loop {
            let registry = self.registry.load_full();
            let is_due = Instant::now() >= due;
            if is_due {
                due = Instant::now() + REFRESH;
            }
            self.refresh(&mut known, registry.remotes(), is_due).await;
            if known.values().any(|(_, version)| version.is_stale) {
                due = due.min(Instant::now() + RETRY);
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(due), if !registry.remotes().is_empty() => {}
            }
        }
    }

    /// Asks the servers of registrations that have changed, or all.
    async fn refresh(&self, known: &mut Known, remotes: &[Arc<Registered>], all: bool) {
        known.retain(|gv, (of, _)| {
            remotes.iter().any(|remote| remote.gv == *gv && is_same_server(remote, of))
        });
        let mut asked: HashMap<Arc<Server>, Vec<Arc<Registered>>> = HashMap::new();
        for registered in remotes {
            let is_new = known.get(&registered.gv).is_none_or(|(of, _)| !Arc::ptr_eq(of, registered));
            let Some(remote) = registered.remote.as_ref().filter(|_| all || is_new) else { continue };
            if remote.available {
                asked.entry(Arc::clone(&remote.server)).or_default().push(Arc::clone(registered));
            } else {
                fail(known, registered);
            }
        }
        self.publish(known);
        let mut answers: FuturesUnordered<_> =
            asked.iter().map(|(server, versions)| self.ask(Arc::clone(server), versions)).collect();
        while let Some(answered) = answers.next().await {
            for registered in asked.get(&answered.server).into_iter().flatten() {
                take(known, registered, &answered);
            }
            self.publish(known);
        }
    }

    fn publish(&self, known: &Known) {
        let versions = known.iter().map(|(gv, (_, version))| (gv.clone(), version.clone())).collect();
        let found = Discovered::new(versions);
        self.found.send_if_modified(|before| {
            let is_other = **before != found;
            if is_other {
                *before = Arc::new(found);
            }
            is_other
        });
    }

    async fn ask(&self, server: Arc<Server>, versions: &[Arc<Registered>]) -> Answered {
        let document = self.document(&server, versions).await;
        if let Err(why) = &document {
            tracing::info!(server = server.host(), why, "another server does not say what it serves");
        }
        let openapi = match self.reach.get(&server, "/openapi/v3", JSON).await {
            Ok((StatusCode::OK, _, json)) => discovered::openapi(&json).unwrap_or_default(),
            Ok(_) | Err(_) => HashMap::new(),
        };
        Answered { server, document, openapi }
    }

    async fn document(&self, server: &Arc<Server>, versions: &[Arc<Registered>]) -> Result<Document, String> {
        let (status, kind, json) = self.reach.get(server, "/apis", AGGREGATED).await?;
        if status == StatusCode::OK && kind.contains("as=APIGroupDiscoveryList") {
            return discovered::aggregated(&json).map_err(|error| error.to_string());
        }
        let mut document = Document::new();
        for Registered { gv, .. } in versions.iter().map(|registered| &**registered) {
            let path = resources::openapi::api_path(gv);
            let (status, _, json) = self.reach.get(server, &format!("/{path}"), JSON).await?;
            if status != StatusCode::OK {
                return Err(format!("failed to download discovery for /{path}: {status}"));
            }
            let resources = discovered::legacy(&json, gv).map_err(|error| error.to_string())?;
            document.insert(gv.clone(), resources);
        }
        Ok(document)
    }
}

fn is_same_server(one: &Registered, other: &Registered) -> bool {
    let server = |of: &Registered| of.remote.as_ref().map(|remote| Arc::clone(&remote.server));
    server(one) == server(other)
}

/// The server does not answer: what it has said before is kept, marked as old.
fn fail(known: &mut Known, registered: &Arc<Registered>) {
    let (of, version) =
        known.entry(registered.gv.clone()).or_insert_with(|| (Arc::clone(registered), Version::default()));
    *of = Arc::clone(registered);
    version.is_stale = true;
}

fn take(known: &mut Known, registered: &Arc<Registered>, answered: &Answered) {
    let Ok(document) = &answered.document else { return fail(known, registered) };
    let path = resources::openapi::api_path(&registered.gv);
    let url = answered.openapi.get(&path).filter(|url| is_own(url, &path));
    let version = Version {
        // A server that does not name the version serves nothing in it.
        resources: document.get(&registered.gv).cloned().unwrap_or_default(),
        is_stale: false,
        openapi: url.cloned().unwrap_or_default(),
    };
    known.insert(registered.gv.clone(), (Arc::clone(registered), version));
}

/// Whether a document lies where requests for it are forwarded to its server.
fn is_own(url: &str, path: &str) -> bool {
    url.strip_prefix("/openapi/v3/")
        .and_then(|rest| rest.strip_prefix(path))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
}
