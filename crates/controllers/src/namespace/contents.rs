//! The contents of a namespace, read live for every served kind.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use api::GroupVersion;
use http::header::ACCEPT;
use http::{Method, Request};
use informer::{Action, DeletePolicy, Target};
use kube::Client;
use resources::{Resource, ResourceSource, Verb};
use serde::Deserialize;

/// Objects per page of a list; the server returns how many more there are.
const PAGE: usize = 500;
/// How long a list may take.
const LIST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// What is left of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remaining {
    /// The collection.
    pub target: Target,
    pub count: usize,
    /// Names of the objects of the first page that are not being deleted yet.
    pub undeleted: Vec<String>,
    /// Finalizers and the number of objects that wait for them.
    pub finalizers: BTreeMap<String, usize>,
    /// Whether the whole collection can be deleted by one request.
    pub at_once: bool,
}

/// The objects that are left, and the kinds that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub remaining: Vec<Remaining>,
    pub failures: Vec<String>,
    /// The groups and versions of which nobody says what they hold.
    pub undiscovered: Vec<GroupVersion>,
}

impl Contents {
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty() && self.failures.is_empty() && self.undiscovered.is_empty()
    }

    /// The deletions to request now.
    pub fn deletions(&self) -> Vec<Action> {
        self.next().flat_map(Remaining::deletions).collect()
    }

    /// The objects to delete now: only pods while there are any, then all others.
    pub fn next(&self) -> impl Iterator<Item = &Remaining> {
        let is_pods =
            |r: &Remaining| r.target.resource.group.is_empty() && r.target.resource.resource == "pods";
        let pods_first = self.remaining.iter().any(is_pods);
        self.remaining.iter().filter(move |r| !pods_first || is_pods(r))
    }
}

impl Remaining {
    fn deletions(&self) -> Vec<Action> {
        if self.undeleted.is_empty() {
            return Vec::new();
        }
        if self.at_once {
            return vec![Action::DeleteCollection { target: self.target.clone(), propagation: "Background" }];
        }
        let one = |name: &String| Action::Delete {
            target: Target { name: name.clone(), ..self.target.clone() },
            policy: DeletePolicy { propagation: Some("Background"), ..DeletePolicy::default() },
        };
        self.undeleted.iter().map(one).collect()
    }
}

/// Reads contents.
pub(super) struct Reader {
    kinds: Arc<dyn ResourceSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    remaining_item_count: Option<usize>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    name: String,
    deletion_timestamp: Option<String>,
    #[serde(default)]
    finalizers: Vec<String>,
}

impl Reader {
    pub fn new(kinds: Arc<dyn ResourceSource>) -> Self {
        Self { kinds }
    }

    /// Reads one kind after the other. Kinds that cannot be read are returned as failures.
    pub async fn read(&self, client: &Client, namespace: &str) -> Contents {
        let mut contents = Contents { undiscovered: self.kinds.undiscovered(), ..Contents::default() };
        for row in stored_once(&self.kinds, &contents.undiscovered) {
            let target = Target::new(&row.group, &row.version, &row.plural, namespace, "");
            match list(client, &target).await {
                Ok(found) if found.items.is_empty() => {}
                Ok(found) => {
                    contents.remaining.push(remaining(target, found, row.supports(Verb::DeleteCollection)));
                }
                // A kind that has just gone holds nothing.
                Err(error) if client::is_not_found(&error) => {}
                Err(error) => contents.failures.push(format!("{}: {error}", row.group_resource())),
            }
        }
        contents
    }
}

/// The namespaced kinds whose objects can be listed and deleted, each in one version.
fn stored_once(kinds: &Arc<dyn ResourceSource>, but: &[GroupVersion]) -> Vec<Arc<Resource>> {
    let table = kinds.table();
    let mut seen = HashSet::new();
    table
        .rows()
        .filter(|row| row.namespaced() && row.supports(Verb::List) && row.supports(Verb::Delete))
        .filter(|row| !but.contains(&row.group_version()))
        .filter(|row| seen.insert(row.storage_prefix.to_string()))
        .cloned()
        .collect()
}

async fn list(client: &Client, target: &Target) -> Result<List, kube::Error> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("{}?limit={PAGE}", target.path()))
        .header(ACCEPT, METADATA_ONLY)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    // A server of somebody else's may never come to an end.
    let listed = tokio::time::timeout(LIST_PATIENCE, client.request(request)).await;
    listed.unwrap_or_else(|late| Err(kube::Error::Service(Box::new(late))))
}

fn remaining(target: Target, found: List, at_once: bool) -> Remaining {
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for finalizer in found.items.iter().flat_map(|item| &item.metadata.finalizers) {
        *finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    let count = found.items.len() + found.metadata.remaining_item_count.unwrap_or(0);
    let undeleted = found.items.into_iter().map(|item| item.metadata);
    let undeleted =
        undeleted.filter(|meta| meta.deletion_timestamp.is_none()).map(|meta| meta.name).collect();
    Remaining { target, count, undeleted, finalizers, at_once }
}
