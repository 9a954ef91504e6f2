//! The objects that are left of a definition that is being deleted, read live.

use std::collections::BTreeSet;

use http::header::ACCEPT;
use http::{Method, Request};
use informer::{Action, Target};
use kube::Client;
use serde::Deserialize;

/// Objects per look; the rest is looked at once these are gone.
const PAGE: usize = 500;
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// What is left.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Instances {
    /// The collection of all namespaces.
    pub collection: Option<Target>,
    pub count: usize,
    /// The namespaces (the empty one of objects that live in none) with objects that nobody has deleted yet.
    pub undeleted: BTreeSet<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    namespace: String,
    deletion_timestamp: Option<String>,
}

impl Instances {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The deletions to request now.
    pub fn deletions(&self) -> Vec<Action> {
        let Some(collection) = &self.collection else { return Vec::new() };
        let of = |namespace: &String| Action::DeleteCollection {
            target: Target { namespace: namespace.clone(), ..collection.clone() },
            propagation: "Background",
        };
        self.undeleted.iter().map(of).collect()
    }
}

/// Reads what is left of a collection.
///
/// # Errors
/// The API's; a collection that is not served has no objects.
pub(super) async fn read(client: &Client, collection: Target) -> Result<Instances, kube::Error> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("{}?limit={PAGE}", collection.path()))
        .header(ACCEPT, METADATA_ONLY)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let list: List = match client.request(request).await {
        Ok(list) => list,
        Err(error) if client::is_not_found(&error) => List::default(),
        Err(error) => return Err(error),
    };
    let undeleted = list.items.iter().filter(|item| item.metadata.deletion_timestamp.is_none());
    let undeleted = undeleted.map(|item| item.metadata.namespace.clone()).collect();
    Ok(Instances { collection: Some(collection), count: list.items.len(), undeleted })
}
