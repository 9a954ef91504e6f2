//! Keeps classes of volume attributes that claims or volumes name: their finalizer goes when nobody names them any more.
//! Upstream: `pkg/controller/volume/vacprotection`.

use informer::{Cache, Cached, Controller, Delta, Index, Key, Kind, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::Api;
use kube::api::ListParams;
use pods::volumes::ATTRIBUTES_CLASS_PROTECTION;

use super::protection::{Observed, concerns, is_held, protect};

/// Keeps classes that are named. Keys are classes.
pub struct AttributesClassProtectionController {
    classes: Cache<VolumeAttributesClass>,
    /// Claims by the classes that they name.
    claims: Index<PersistentVolumeClaim>,
    /// Volumes by the class that they name.
    volumes: Index<PersistentVolume>,
}

/// The classes that a claim asks for, has, or is on the way to.
fn of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let status = claim.status.as_ref();
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let modify = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = modify.and_then(|modify| modify.target_volume_attributes_class_name.as_deref());
    [asked, current, target].into_iter().flatten().filter(|name| !name.is_empty())
}

/// The class that a volume has.
fn of_volume(volume: &PersistentVolume) -> impl Iterator<Item = &str> {
    let spec = volume.spec.as_ref();
    let class = spec.and_then(|spec| spec.volume_attributes_class_name.as_deref());
    class.into_iter().filter(|name| !name.is_empty())
}

/// The classes that a change may free: those that the object named before, whether or not it names them still.
fn freed<K: Kind>(delta: &Delta<K>, names: impl Fn(&K) -> Vec<String>) -> Vec<Key> {
    let before = match delta {
        Delta::Deleted(object) => Some(object),
        _ => delta.old(),
    };
    let named = before.and_then(Cached::typed).map(|object| names(object)).unwrap_or_default();
    named.iter().map(|name| Key::new("", name)).collect()
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

impl Controller for AttributesClassProtectionController {
    const NAME: &'static str = "volumeattributesclass-protection-controller";
    const QUEUE: &'static str = "vacprotection";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed<VolumeAttributesClass>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let classes = sources.mapped(|delta: &Delta<VolumeAttributesClass>| {
            let class = delta.object();
            if concerns(class, ATTRIBUTES_CLASS_PROTECTION) { vec![class.key.clone()] } else { Vec::new() }
        });
        let claims: Cache<PersistentVolumeClaim> =
            sources.mapped(|delta| freed(delta, |claim| owned(of_claim(claim))));
        let volumes: Cache<PersistentVolume> =
            sources.mapped(|delta| freed(delta, |volume| owned(of_volume(volume))));
        let claims = claims.index("attributes-class", |claim, found| {
            claim.typed().into_iter().flat_map(|claim| of_claim(claim)).for_each(found);
        });
        let volumes = volumes.index("attributes-class", |volume, found| {
            volume.typed().into_iter().flat_map(|volume| of_volume(volume)).for_each(found);
        });
        Self { classes, claims, volumes }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Self::Observed>, kube::Error> {
        let Some(object) = self.classes.get_key(round.key) else { return Ok(None) };
        let name = &*round.key.name;
        let is_candidate = object.metadata.deletion_timestamp.is_some()
            && is_held(&object.metadata, ATTRIBUTES_CLASS_PROTECTION);
        let mut is_used =
            is_candidate && (!self.claims.keys(name).is_empty() || !self.volumes.keys(name).is_empty());
        if is_candidate && !is_used {
            // A claim that the cache has not seen yet may name the class.
            let api: Api<PersistentVolumeClaim> = Api::all(round.client.clone());
            let all = api.list(&ListParams::default()).await?;
            is_used = all.iter().any(|claim| of_claim(claim).any(|named| named == name));
        }
        Ok(Some(Observed { object, is_used }))
    }

    fn reconcile(observed: &Self::Observed, _: Timestamp) -> Plan {
        protect(observed, ATTRIBUTES_CLASS_PROTECTION)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn named<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn claims_name_the_classes_they_ask_for_have_and_are_on_the_way_to() {
        let names = |value: Value| owned(of_claim(&named(value)));
        assert!(names(json!({"spec": {}, "status": {}})).is_empty());
        assert!(names(json!({"spec": {"volumeAttributesClassName": ""}})).is_empty());
        let whole = json!({"spec": {"volumeAttributesClassName": "gold"}, "status": {
            "currentVolumeAttributesClassName": "silver",
            "modifyVolumeStatus": {"status": "Infeasible", "targetVolumeAttributesClassName": "bronze"}}});
        assert_eq!(names(whole), ["gold", "silver", "bronze"]);
        let volume: PersistentVolume = named(json!({"spec": {"volumeAttributesClassName": "gold"}}));
        assert_eq!(owned(of_volume(&volume)), ["gold"]);
    }

    #[test]
    fn a_class_is_kept_while_it_is_named_and_let_go_then() {
        let class = |meta: Value| -> Arc<VolumeAttributesClass> {
            Arc::new(named(json!({"metadata": meta, "driverName": "example.com/d"})))
        };
        let going = json!({"name": "gold", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["a/b", ATTRIBUTES_CLASS_PROTECTION]});
        let plan = |meta: &Value, is_used| {
            let observed = Observed { object: class(meta.clone()), is_used };
            AttributesClassProtectionController::reconcile(&observed, Timestamp::UNIX_EPOCH)
        };
        let finalizers = |plan: &Plan| match &*plan.actions {
            [] => None,
            [informer::Action::Update { object, .. }] => Some(object.0["metadata"]["finalizers"].clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(finalizers(&plan(&going, true)), None);
        assert_eq!(finalizers(&plan(&going, false)), Some(json!(["a/b"])));
        let bare = plan(&json!({"name": "gold"}), false);
        assert_eq!(finalizers(&bare), Some(json!([ATTRIBUTES_CLASS_PROTECTION])));
    }
}
