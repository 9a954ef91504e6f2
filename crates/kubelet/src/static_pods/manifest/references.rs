//! Which objects of the API a pod refers to. A static pod runs without the API, and past its rules on who may use what
//! (upstream `podutil.HasAPIObjectReference`). Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};

/// The first kind of objects that the pod refers to, in upstream's words.
pub fn of(pod: &Pod) -> Option<&'static str> {
    let spec = pod.spec.as_ref()?;
    if spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return Some("serviceaccounts");
    }
    if spec.image_pull_secrets.as_ref().is_some_and(|all| !all.is_empty()) || environment(spec, is_secret) {
        return Some("secrets");
    }
    if environment(spec, is_config_map) {
        return Some("configmaps");
    }
    if spec.resource_claims.as_ref().is_some_and(|all| !all.is_empty()) {
        return Some("resourceclaims");
    }
    spec.volumes.iter().flatten().find_map(of_volume)
}

fn environment(spec: &PodSpec, refers: fn(&Container) -> bool) -> bool {
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(refers)
}

fn is_secret(container: &Container) -> bool {
    let one = |c: &Container| {
        c.env
            .iter()
            .flatten()
            .any(|env| env.value_from.as_ref().is_some_and(|from| from.secret_key_ref.is_some()))
    };
    one(container) || container.env_from.iter().flatten().any(|from| from.secret_ref.is_some())
}

fn is_config_map(container: &Container) -> bool {
    let one = |c: &Container| {
        let mut env = c.env.iter().flatten();
        env.any(|env| env.value_from.as_ref().is_some_and(|from| from.config_map_key_ref.is_some()))
    };
    one(container) || container.env_from.iter().flatten().any(|from| from.config_map_ref.is_some())
}

fn of_volume(volume: &Volume) -> Option<&'static str> {
    let own = [
        (volume.config_map.is_some(), "configmaps (via configmap volumes)"),
        (volume.secret.is_some(), "secrets (via secret volumes)"),
        (volume.csi.is_some(), "csidrivers (via CSI volumes)"),
        (volume.glusterfs.is_some(), "endpoints (via glusterFS volumes)"),
        (volume.persistent_volume_claim.is_some(), "persistentvolumeclaims"),
        (volume.ephemeral.is_some(), "persistentvolumeclaims (via ephemeral volumes)"),
        (volume.azure_file.is_some(), "secrets (via azureFile volumes)"),
        (volume.cephfs.as_ref().is_some_and(|v| v.secret_ref.is_some()), "secrets (via cephFS volumes)"),
        (volume.cinder.as_ref().is_some_and(|v| v.secret_ref.is_some()), "secrets (via Cinder volumes)"),
        (volume.flex_volume.as_ref().is_some_and(|v| v.secret_ref.is_some()), "secrets (via flexVolumes)"),
        (volume.iscsi.as_ref().is_some_and(|v| v.secret_ref.is_some()), "secrets (via iSCSI volumes)"),
        (volume.rbd.as_ref().is_some_and(|v| v.secret_ref.is_some()), "secrets (via RBD volumes)"),
        (volume.scale_io.is_some(), "secrets (via scaleIO volumes)"),
        (
            volume.storageos.as_ref().is_some_and(|v| v.secret_ref.is_some()),
            "secrets (via storageOS volumes)",
        ),
    ];
    if let Some((_, what)) = own.into_iter().find(|(is, _)| *is) {
        return Some(what);
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for source in sources {
        let parts = [
            (source.config_map.is_some(), "configmaps (via projected volumes)"),
            (source.secret.is_some(), "secrets (via projected volumes)"),
            (source.service_account_token.is_some(), "serviceaccounts (via projected volumes)"),
            (source.cluster_trust_bundle.is_some(), "clustertrustbundles"),
            (source.pod_certificate.is_some(), "podcertificates"),
        ];
        if let Some((_, what)) = parts.into_iter().find(|(is, _)| *is) {
            return Some(what);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_lies_in_the_api_is_named() {
        let referred = |spec: Value| {
            let mut whole = json!({"containers": [{"name": "c"}]});
            whole.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
            of(&serde_json::from_value(json!({"spec": whole})).expect("a pod"))
        };
        let env =
            |from: Value| json!({"containers": [{"name": "c", "env": [{"name": "A", "valueFrom": from}]}]});
        let volume = |source: Value| {
            let mut volume = json!({"name": "v"});
            volume.as_object_mut().expect("an object").extend(source.as_object().expect("an object").clone());
            json!({"volumes": [volume]})
        };
        let projected = |source: Value| volume(json!({"projected": {"sources": [source]}}));
        for (spec, what) in [
            (json!({"serviceAccountName": "x"}), Some("serviceaccounts")),
            (json!({"imagePullSecrets": [{"name": "x"}]}), Some("secrets")),
            (env(json!({"secretKeyRef": {"name": "x", "key": "k"}})), Some("secrets")),
            (env(json!({"configMapKeyRef": {"name": "x", "key": "k"}})), Some("configmaps")),
            (
                json!({"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "x"}}]}]}),
                Some("secrets"),
            ),
            (json!({"resourceClaims": [{"name": "x"}]}), Some("resourceclaims")),
            (volume(json!({"configMap": {"name": "x"}})), Some("configmaps (via configmap volumes)")),
            (volume(json!({"secret": {"secretName": "x"}})), Some("secrets (via secret volumes)")),
            (volume(json!({"persistentVolumeClaim": {"claimName": "x"}})), Some("persistentvolumeclaims")),
            (
                projected(json!({"serviceAccountToken": {"path": "t"}})),
                Some("serviceaccounts (via projected volumes)"),
            ),
            (projected(json!({"downwardAPI": {}})), None),
            (volume(json!({"hostPath": {"path": "/x"}})), None),
            (
                volume(json!({"cephfs": {"monitors": ["m"], "secretRef": {"name": "x"}}})),
                Some("secrets (via cephFS volumes)"),
            ),
            (volume(json!({"cephfs": {"monitors": ["m"]}})), None),
            (
                volume(json!({"rbd": {"monitors": ["m"], "image": "i", "secretRef": {"name": "x"}}})),
                Some("secrets (via RBD volumes)"),
            ),
            (
                volume(json!({"flexVolume": {"driver": "d/e", "secretRef": {"name": "x"}}})),
                Some("secrets (via flexVolumes)"),
            ),
            (
                volume(
                    json!({"iscsi": {"iqn": "i", "lun": 0, "targetPortal": "p", "secretRef": {"name": "x"}}}),
                ),
                Some("secrets (via iSCSI volumes)"),
            ),
            (
                volume(json!({"scaleIO": {"gateway": "g", "system": "s", "secretRef": {"name": "x"}}})),
                Some("secrets (via scaleIO volumes)"),
            ),
            (
                volume(json!({"storageos": {"secretRef": {"name": "x"}}})),
                Some("secrets (via storageOS volumes)"),
            ),
            (volume(json!({"csi": {"driver": "d"}})), Some("csidrivers (via CSI volumes)")),
            (volume(json!({"emptyDir": {}})), None),
            (env(json!({"fieldRef": {"fieldPath": "metadata.name"}})), None),
            (json!({"serviceAccountName": ""}), None),
        ] {
            assert_eq!(referred(spec.clone()), what, "{spec}");
        }
    }
}
