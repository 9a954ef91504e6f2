//! Which objects belong to which owner: an owner adopts objects without a controller that it selects, and releases
//! its own objects that it no longer selects (`pkg/controller/controller_ref_manager.go`).

use informer::{Action, Delta, Key, Kind, Meta, Round};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use serde_json::json;

use crate::selecting::Selecting;
use crate::target::target;

/// An owner's relation to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Owned,
    /// An orphan to adopt.
    Adopt,
    /// Owned, but not selected.
    Release,
    /// Owned by another controller, or an orphan that is not selected.
    Foreign,
}

/// Who claims objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant<'a> {
    pub owner: &'a OwnerReference,
    /// The owner is being deleted: it claims nothing any more.
    pub deleting: bool,
}

impl Claimant<'_> {
    /// The relation to an object that the owner selects or not.
    pub fn relation(self, selected: bool, candidate: &Meta) -> Claim {
        match candidate.controller() {
            Some(owner) if *owner.uid != *self.owner.uid => Claim::Foreign,
            Some(_) if selected => Claim::Owned,
            // One that goes keeps its objects for the garbage collector.
            Some(_) if self.deleting => Claim::Owned,
            Some(_) => Claim::Release,
            None if !selected || self.deleting || candidate.is_being_deleted() => Claim::Foreign,
            None => Claim::Adopt,
        }
    }

    pub fn adoption<K: Kind>(self, orphan: &Meta) -> Action {
        Action::StrategicPatch {
            target: target::<K>(orphan.namespace(), orphan.name()),
            patch: json!({"metadata": {"ownerReferences": [self.owner], "uid": &*orphan.uid}}),
        }
    }

    pub fn release<K: Kind>(self, stray: &Meta) -> Action {
        let gone = json!({"$patch": "delete", "uid": self.owner.uid});
        Action::StrategicPatch {
            target: target::<K>(stray.namespace(), stray.name()),
            patch: json!({"metadata": {"ownerReferences": [gone], "uid": &*stray.uid}}),
        }
    }
}

/// Whether the API, not only the cache, still has the round's object with this uid, and it is not being deleted.
/// Adopting for an owner that is gone would undo what its deletion asked for.
pub(crate) async fn still_there<K>(round: &Round<'_>, object: &K) -> Result<bool, kube::Error>
where
    K: Kind + serde::de::DeserializeOwned + kube::Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(round.client.clone(), &round.key.namespace);
    let live = api.get_opt(&round.key.name).await?;
    Ok(live
        .is_some_and(|live| live.meta().uid == object.meta().uid && live.meta().deletion_timestamp.is_none()))
}

/// The owners of kind `W` that an object's change concerns: its controllers, old and new, or, for an orphan, all that
/// might adopt it.
pub(crate) fn concerned<W: Kind, K: Kind>(selecting: &Selecting<W>, delta: &Delta<K>) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |key: Key| {
        if !keys.contains(&key) {
            keys.push(key);
        }
    };
    let (new, old) = (delta.object(), delta.old());
    for state in std::iter::once(new).chain(old) {
        if let Some(owner) = state.controller()
            && *owner.kind == *W::kind(&())
            && *owner.api_version == *W::api_version(&())
        {
            add(Key { namespace: new.key.namespace.clone(), name: owner.name.clone() });
        }
    }
    let orphan = matches!(delta, Delta::Applied { .. }) && new.controller().is_none();
    let changed = old.is_none_or(|old| old.labels != new.labels || old.controller().is_some());
    if orphan && changed {
        selecting.of(new).into_iter().for_each(add);
    }
    keys
}
