//! Makes the claims of generic ephemeral volumes: one for each such volume of a pod, which owns it. Upstream:
//! `pkg/controller/volume/ephemeral`.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cache, Controller, Delta, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::core::ObjectMeta;
use pods::volumes;

use crate::replicas::pod;
use crate::target::{controller_reference, dynamic, target};

/// See the module's documentation. Keys are pods.
pub struct EphemeralVolumeController {
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
}

/// A pod, and the claims there are under the names that its volumes' claims have.
pub struct Observed {
    pod: Arc<Pod>,
    claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
}

fn wants(pod: &informer::Cached<Pod>) -> bool {
    !pod.is_being_deleted() && pod::facts(pod).claims.iter().any(|used| used.is_ephemeral)
}

impl Controller for EphemeralVolumeController {
    const NAME: &'static str = "ephemeral-volume-controller";
    const EVENT_SOURCE: &'static str = "ephemeral_volume";
    const QUEUE: &'static str = "ephemeral_volume";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods = sources.mapped(|delta: &Delta<Pod>| {
            let pod = delta.object();
            let is_new = delta.old().is_none() && !matches!(delta, Delta::Deleted(_));
            if is_new && wants(pod) { vec![pod.key.clone()] } else { Vec::new() }
        });
        // One that is gone, or whose place was taken by another's, is made again.
        let claims = sources.mapped(|delta: &Delta<PersistentVolumeClaim>| {
            let claim = delta.object();
            let owner = claim.controller().filter(|owner| &*owner.kind == "Pod");
            let gone = matches!(delta, Delta::Deleted(_));
            owner.filter(|_| gone).map(|owner| Key::new(claim.namespace(), &owner.name)).into_iter().collect()
        });
        Self { pods, claims }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(held) = self.pods.find(round.key).filter(wants) else { return Ok(None) };
        let Some(pod) = held.typed().cloned() else { return Ok(None) };
        let facts = pod::facts(&held);
        let names = facts.claims.iter().filter(|used| used.is_ephemeral).map(|used| &*used.name);
        let found =
            names.filter_map(|name| Some((name.to_owned(), self.claims.get(&round.key.namespace, name)?)));
        Ok(Some(Observed { claims: found.collect(), pod }))
    }

    fn reconcile(Observed { pod, claims }: &Observed, _: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (name, uid) = (pod.metadata.name.as_deref(), pod.metadata.uid.as_deref());
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let template = volume.ephemeral.as_ref().and_then(|source| source.volume_claim_template.as_ref());
            let Some(template) = template else { continue };
            let claim = volumes::ephemeral_claim(name.unwrap_or_default(), &volume.name);
            match claims.get(&claim) {
                Some(held) if volumes::is_of_pod(held, uid.unwrap_or_default()) => {}
                Some(_) => {
                    let message = format!(
                        "ephemeral volume {}: PVC {namespace}/{claim} was not created for pod {namespace}/{} (pod is not \
                         owner)",
                        volume.name,
                        name.unwrap_or_default()
                    );
                    plan.then(Action::Event {
                        about: client::reference(&**pod),
                        event_type: EventType::Warning,
                        reason: "FailedBinding",
                        message,
                    });
                }
                None => {
                    let meta = template.metadata.as_ref();
                    let made = PersistentVolumeClaim {
                        metadata: ObjectMeta {
                            name: Some(claim),
                            namespace: Some(namespace.to_owned()),
                            labels: meta.and_then(|meta| meta.labels.clone()),
                            annotations: meta.and_then(|meta| meta.annotations.clone()),
                            owner_references: Some(vec![controller_reference(&**pod)]),
                            ..ObjectMeta::default()
                        },
                        spec: Some(template.spec.clone()),
                        status: None,
                    };
                    let target = target::<PersistentVolumeClaim>(namespace, "");
                    plan.then(Action::Create { target, object: dynamic(&made) });
                }
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_volume_has_a_claim_that_its_pod_owns_and_takes_no_other() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"storageClassName": "s"}}}}]}}))
            .expect("a pod");
        let plan = |claims| {
            let observed = Observed { pod: Arc::new(pod.clone()), claims };
            EphemeralVolumeController::reconcile(&observed, Timestamp::UNIX_EPOCH)
        };
        let made = plan(BTreeMap::new());
        let [Action::Create { object, .. }] = &made.actions[..] else { panic!("{made:?}") };
        assert_eq!((object.name(), object.label("a")), ("p-v", Some("b")));
        assert_eq!(object.str_at(&["spec", "storageClassName"]), Some("s"));
        let owner = &object.at(&["metadata", "ownerReferences"]).expect("an owner")[0];
        assert_eq!((&owner["uid"], &owner["controller"]), (&json!("u"), &json!(true)));
        let held = |uid: &str| {
            let claim = json!({"metadata": {"name": "p-v", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod",
                "name": "p", "uid": uid, "controller": true}]}});
            BTreeMap::from([("p-v".to_owned(), serde_json::from_value(claim).expect("a claim"))])
        };
        assert_eq!(plan(held("u")), Plan::nothing());
        let other = plan(held("other"));
        let [Action::Event { reason, message, .. }] = &other.actions[..] else { panic!("{other:?}") };
        assert_eq!(*reason, "FailedBinding");
        assert!(message.ends_with("PVC ns/p-v was not created for pod ns/p (pod is not owner)"), "{message}");
    }
}
