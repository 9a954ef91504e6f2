//! `volumesAttached` of a node's status: what is attached to it, by which node agents know that they may mount.

use std::sync::Arc;

use informer::{Action, Cache, Controller, Delta, Index, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{AttachedVolume, Node, PersistentVolume};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use pods::volumes::attachment;
use serde_json::{Value, json};

use super::by_node;
use crate::target::target_of;

/// What the names of drivers' volumes begin with; others are not this controller's.
const OURS: &str = "kubernetes.io/csi/";

/// See the module's documentation. Keys are nodes.
pub struct AttachedVolumesController {
    nodes: Cache<Node>,
    volumes: Cache<PersistentVolume>,
    attachments: Index<VolumeAttachment>,
}

/// A node, and the names of what is attached to it.
pub struct Observed {
    node: Arc<Node>,
    attached: Vec<String>,
}

impl Controller for AttachedVolumesController {
    const NAME: &'static str = "attached-volumes-controller";
    const ACCOUNT: &'static str = "attachdetach-controller";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let attached: Cache<VolumeAttachment> = sources.mapped(|delta: &Delta<VolumeAttachment>| {
            let node = delta.object().typed().map(|object| Key::new("", &object.spec.node_name));
            node.into_iter().collect()
        });
        let attachments = by_node(&attached);
        // Nodes are written about as they come; those that nothing is attached to are not looked at.
        let here = attachments.clone();
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            let key = &delta.object().key;
            if here.count(&key.name) == 0 { Vec::new() } else { vec![key.clone()] }
        });
        Self { nodes, volumes: sources.reads(), attachments }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(node) = self.nodes.get_key(round.key) else { return Ok(None) };
        let mut attached = Vec::new();
        for held in self.attachments.get(&round.key.name) {
            let Some(object) = held.typed() else { continue };
            let is_attached = object.status.as_ref().is_some_and(|status| status.attached);
            let name = object.spec.source.persistent_volume_name.as_deref().unwrap_or_default();
            let volume = self.volumes.get("", name);
            if let Some((driver, handle)) = volume.as_deref().and_then(attachment::driver_of)
                && is_attached
                && object.metadata.deletion_timestamp.is_none()
                && held.name() == attachment::object_name(driver, handle, &round.key.name)
            {
                attached.push(attachment::unique_name(driver, handle));
            }
        }
        attached.sort();
        Ok(Some(Observed { node, attached }))
    }

    fn reconcile(observed: &Observed, _: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let held = observed.node.status.as_ref().and_then(|status| status.volumes_attached.clone());
        let held = held.unwrap_or_default();
        let kept = held.iter().filter(|volume| !volume.name.starts_with(OURS)).cloned();
        let ours =
            observed.attached.iter().map(|name| AttachedVolume { name: name.clone(), ..Default::default() });
        let wanted: Vec<AttachedVolume> = kept.chain(ours).collect();
        if wanted == held {
            return plan;
        }
        let list = if wanted.is_empty() { Value::Null } else { json!(wanted) };
        plan.then(Action::MergePatch {
            target: target_of(&*observed.node).subresource("status"),
            patch: json!({"status": {"volumesAttached": list}}),
        });
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(held: Value, attached: &[&str]) -> Vec<Action> {
        let node = json!({"metadata": {"name": "n"}, "status": {"volumesAttached": held}});
        let node = Arc::new(serde_json::from_value(node).expect("a node"));
        let attached = attached.iter().map(|name| (*name).to_owned()).collect();
        AttachedVolumesController::reconcile(&Observed { node, attached }, Timestamp::UNIX_EPOCH).actions
    }

    #[test]
    fn a_node_is_told_what_is_attached_and_others_volumes_stay() {
        let (ours, others) = ("kubernetes.io/csi/d^h", "example.com/other^1");
        assert_eq!(plan(Value::Null, &[]), []);
        let one = json!([{"name": ours, "devicePath": ""}]);
        assert_eq!(plan(one.clone(), &[ours]), []);
        let [Action::MergePatch { patch, .. }] = &plan(Value::Null, &[ours])[..] else { panic!("a patch") };
        assert_eq!(patch.pointer("/status/volumesAttached"), Some(&one));
        let [Action::MergePatch { patch, .. }] = &plan(one, &[])[..] else { panic!("a patch") };
        assert_eq!(patch.pointer("/status/volumesAttached"), Some(&Value::Null));
        let both = json!([{"name": others, "devicePath": "/dev/x"}, {"name": ours, "devicePath": ""}]);
        let [Action::MergePatch { patch, .. }] = &plan(both, &[])[..] else { panic!("a patch") };
        let left = json!([{"name": others, "devicePath": "/dev/x"}]);
        assert_eq!(patch.pointer("/status/volumesAttached"), Some(&left));
    }
}
