//! [`Scales`]: how many pods the owners of a budget's pods want together.

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::{Cache, Key, Kind, Owner, Sources, controller_of};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::Scale as ScaleObject;
use k8s_openapi::api::core::v1::ReplicationController;
use kube::Client;
use resources::ResourceSource;

use crate::replicas::pod::Replica;

/// What owners want.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scale {
    pub pods: i32,
    /// There are pods without an owner, which no owner's number stands for.
    pub unmanaged: bool,
}

/// The owners that are known, and the way to all others: their `scale` subresource.
pub(super) struct Scales {
    controllers: Cache<ReplicationController>,
    replica_sets: Cache<ReplicaSet>,
    deployments: Cache<Deployment>,
    stateful_sets: Cache<StatefulSet>,
    kinds: Arc<dyn ResourceSource>,
}

/// An owner by its uid, and how many pods it wants.
type Wish = (String, i32);

impl Scales {
    pub fn new(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        Self {
            controllers: sources.reads(),
            replica_sets: sources.reads(),
            deployments: sources.reads(),
            stateful_sets: sources.reads(),
            kinds,
        }
    }

    /// How many pods the pods' owners want; why that cannot be said otherwise.
    pub async fn of(&self, client: &Client, namespace: &str, pods: &[Replica]) -> Result<Scale, String> {
        let mut owners: BTreeMap<String, Wish> = BTreeMap::new();
        let mut unmanaged = false;
        for pod in pods {
            let Some(reference) = pod.controller() else {
                unmanaged = true;
                continue;
            };
            if owners.contains_key(&*reference.uid) {
                continue;
            }
            let owner = self.owner(client, namespace, reference).await?;
            let owner = owner.ok_or_else(|| format!("found no controllers for pod {:?}", pod.name()))?;
            owners.insert(reference.uid.to_string(), owner);
        }
        // The revisions of one Deployment are one owner.
        let owners: BTreeMap<String, i32> = owners.into_values().collect();
        Ok(Scale { pods: owners.into_values().fold(0, i32::saturating_add), unmanaged })
    }

    async fn owner(
        &self,
        client: &Client,
        namespace: &str,
        reference: &Owner,
    ) -> Result<Option<Wish>, String> {
        let (group, version) = reference.api_version.split_once('/').unwrap_or(("", &reference.api_version));
        let key = Key::new(namespace, &reference.name);
        Ok(match (group, &*reference.kind) {
            ("", "ReplicationController") => {
                named(&self.controllers, &key, &reference.uid, |owner| owner.spec.as_ref()?.replicas)
            }
            ("apps", "StatefulSet") => {
                named(&self.stateful_sets, &key, &reference.uid, |owner| owner.spec.as_ref()?.replicas)
            }
            ("apps", "ReplicaSet") => self.revision(&key, &reference.uid),
            _ => return self.asked(client, (group, version), namespace, reference).await,
        })
    }

    /// A ReplicaSet, or the Deployment whose revision it is.
    fn revision(&self, key: &Key, uid: &str) -> Option<Wish> {
        let set = self.replica_sets.get_key(key)?;
        let deployment = controller_of(&*set).filter(|owner| owner.kind == "Deployment").and_then(|owner| {
            let key = Key::new(&key.namespace, &owner.name);
            named(&self.deployments, &key, &owner.uid, |deployment| deployment.spec.as_ref()?.replicas)
        });
        deployment.or_else(|| named(&self.replica_sets, key, uid, |set| set.spec.as_ref()?.replicas))
    }

    /// Any other kind, by its `scale` subresource.
    async fn asked(
        &self,
        client: &Client,
        (group, version): (&str, &str),
        namespace: &str,
        reference: &Owner,
    ) -> Result<Option<Wish>, String> {
        let Owner { api_version, kind, name, uid, .. } = reference;
        let table = self.kinds.table();
        let Some(row) = table.by_kind(group, version, kind) else {
            return Err(format!("no matches for kind {kind:?} in version {api_version:?}"));
        };
        if row.part("scale").is_none() {
            return Err(format!("{} does not implement the scale subresource", row.group_resource()));
        }
        let path =
            informer::Target::new(group, version, &row.plural, namespace, name).subresource("scale").path();
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
        let scale: ScaleObject = match client.request(request).await {
            Ok(scale) => scale,
            Err(error) if client::is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let wanted = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        Ok(scale.metadata.uid.filter(|found| **found == **uid).map(|uid| (uid, wanted)))
    }
}

/// The owner of that name, if it is the very one meant.
fn named<K: Kind>(cache: &Cache<K>, key: &Key, uid: &str, replicas: fn(&K) -> Option<i32>) -> Option<Wish> {
    let owner = cache.get_key(key)?;
    let found = owner.meta().uid.clone().filter(|found| found == uid)?;
    Some((found, replicas(&owner).unwrap_or(1)))
}
