//! The audiences that a pod's volumes ask for tokens of: its own projected tokens, and those that a CSI driver wants.

use api::Object;
use serde_json::Value;

use crate::cache::lookup::Lookup;

/// Whether a volume of the pod asks for tokens of the audience. The empty one is the API server itself.
pub(super) fn asked_for(lookup: &Lookup, namespace: &str, pod: &Object, audience: &str) -> bool {
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    volumes.iter().any(|volume| projects(volume, audience))
        || volumes
            .iter()
            .filter_map(|volume| driver(lookup, namespace, pod, volume))
            .any(|name| driver_wants(lookup, &name, audience))
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn projects(volume: &Value, audience: &str) -> bool {
    let sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
    sources
        .filter_map(|source| source.get("serviceAccountToken"))
        .any(|token| text(token, "/audience").unwrap_or_default() == audience)
}

/// The CSI driver that a volume is of: named by the volume, or by the volume that its claim is bound to.
fn driver(lookup: &Lookup, namespace: &str, pod: &Object, volume: &Value) -> Option<String> {
    if let Some(driver) = text(volume, "/csi/driver") {
        return Some(driver.to_owned());
    }
    let claim = match text(volume, "/persistentVolumeClaim/claimName") {
        Some(claim) => claim.to_owned(),
        None => {
            volume.get("ephemeral")?;
            format!("{}-{}", pod.name(), text(volume, "/name")?)
        }
    };
    let claim = lookup.object("", "persistentvolumeclaims", namespace, &claim)?;
    let bound = claim.str_at(&["spec", "volumeName"]).filter(|name| !name.is_empty())?;
    let volume = lookup.object("", "persistentvolumes", "", bound)?;
    volume.str_at(&["spec", "csi", "driver"]).map(str::to_owned)
}

fn driver_wants(lookup: &Lookup, name: &str, audience: &str) -> bool {
    let Some(driver) = lookup.object("storage.k8s.io", "csidrivers", "", name) else { return false };
    let wanted = driver.at(&["spec", "tokenRequests"]).and_then(Value::as_array).into_iter().flatten();
    wanted.into_iter().any(|request| text(request, "/audience").unwrap_or_default() == audience)
}
