//! Reads an object and its owners from the API itself.

use http::header::ACCEPT;
use http::{Method, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use resources::KindTable;
use serde::Deserialize;

use super::decide::{self, Owner, Situation};
use super::graph::{FOREGROUND, Identity, Known, row_of};

const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

#[derive(Deserialize)]
struct Partial {
    metadata: ObjectMeta,
}

/// The state of a known object and of its owners.
pub(super) async fn situation(
    client: &Client,
    table: &KindTable,
    known: Known,
) -> Result<Situation, kube::Error> {
    let live = read(client, &known.identity).await?;
    let mut owners = Vec::new();
    for reference in live.iter().flat_map(|meta| meta.owner_references.iter().flatten()) {
        let state = owner(client, table, &known.identity, reference).await?;
        owners.push((reference.clone(), state));
    }
    let mut unmerged = Vec::new();
    if live.as_ref().is_some_and(decide::is_to_orphan) {
        let dependents = known.dependents.iter().map(|dependent| &dependent.identity);
        for dependent in dependents.filter(|dependent| !decide::is_merged(dependent)) {
            if let Some(meta) = read(client, dependent).await? {
                unmerged.push((dependent.clone(), meta));
            }
        }
    }
    Ok(Situation { known, live, owners, unmerged })
}

async fn owner(
    client: &Client,
    table: &KindTable,
    dependent: &Identity,
    reference: &OwnerReference,
) -> Result<Owner, kube::Error> {
    let Some(row) = row_of(table, reference) else { return Ok(Owner::Unknown) };
    if row.namespaced() && dependent.namespace.is_empty() {
        return Ok(Owner::Unknown);
    }
    let identity = Identity {
        namespace: if row.namespaced() { dependent.namespace.clone() } else { "".into() },
        row,
        name: reference.name.as_str().into(),
        uid: reference.uid.as_str().into(),
    };
    Ok(match read(client, &identity).await? {
        None => Owner::Absent,
        Some(meta) => {
            let waits = meta.finalizers.iter().flatten().any(|f| f == FOREGROUND);
            if meta.deletion_timestamp.is_some() && waits { Owner::Waits } else { Owner::Solid }
        }
    })
}

/// The metadata of the object with this uid; `None` if the object is gone or replaced.
async fn read(client: &Client, identity: &Identity) -> Result<Option<ObjectMeta>, kube::Error> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(decide::target(identity).path())
        .header(ACCEPT, METADATA_ONLY)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    match client.request::<Partial>(request).await {
        Ok(found) if found.metadata.uid.as_deref() == Some(&*identity.uid) => Ok(Some(found.metadata)),
        Ok(_) => Ok(None),
        Err(error) if client::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
