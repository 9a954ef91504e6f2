//! Volumes of pods, and sources of persistent volumes.

use super::*;

fn said(volumes: Value) -> Vec<String> {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"serviceAccountName": "s", "containers": [{"name": "a", "image": "i:1"}], "volumes": volumes},
    });
    created("pods", &pod)
}

/// What is said of one source of a volume, without the path of the volume.
fn of(kind: &str, source: Value) -> Vec<String> {
    let said = said(json!([{"name": "v", kind: source}]));
    said.into_iter()
        .map(|text| text.strip_prefix("spec.volumes[0].").map_or(text.clone(), str::to_owned))
        .collect()
}

#[test]
fn old_sources_need_what_their_drivers_needed() {
    for (kind, source, expect) in [
        (
            "gitRepo",
            json!({"repository": "r", "directory": "../x"}),
            &["gitRepo.directory: Invalid value: \"../x\": must not contain '..'"][..],
        ),
        (
            "gcePersistentDisk",
            json!({"pdName": "d", "partition": 256}),
            &["persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive"],
        ),
        (
            "nfs",
            json!({"server": "s"}),
            &["nfs.path: Required value", "nfs.path: Invalid value: \"\": must be an absolute path"],
        ),
        ("hostPath", json!({}), &["hostPath.path: Required value"]),
        ("flocker", json!({}), &["flocker: Required value: one of datasetName and datasetUUID is required"]),
        (
            "flocker",
            json!({"datasetName": "a/b"}),
            &["flocker.datasetName: Invalid value: \"a/b\": must not contain '/'"],
        ),
        ("cinder", json!({"volumeID": "v", "secretRef": {}}), &["cinder.secretRef.name: Required value"]),
        (
            "quobyte",
            json!({"volume": "v", "registry": "a:1,b"}),
            &[
                "quobyte.registry: Invalid value: \"a:1,b\": must be a host:port pair or multiple pairs separated by commas",
            ],
        ),
        (
            "fc",
            json!({}),
            &["fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"],
        ),
        (
            "fc",
            json!({"targetWWNs": ["w"]}),
            &["fc.lun: Required value: lun is required if targetWWNs is specified"],
        ),
        (
            "flexVolume",
            json!({"driver": "d", "options": {"a.K8s.io/b": "c"}}),
            &[
                "flexVolume.options[a.K8s.io/b]: Invalid value: \"a.K8s.io/b\": kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
        (
            "azureDisk",
            json!({"diskName": "d", "diskURI": "u", "kind": "Managed"}),
            &[
                "azureDisk.diskURI: Unsupported value: \"u\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
            ],
        ),
        (
            "storageos",
            json!({"volumeName": "v", "volumeNamespace": "n.m"}),
            &["storageos.volumeNamespace: Invalid value: \"n.m\": must not contain dots"],
        ),
        (
            "csi",
            json!({"driver": "d", "nodePublishSecretRef": {}}),
            &["csi.nodePublishSecretRef.name: Required value"],
        ),
    ] {
        assert_eq!(of(kind, source.clone()), expect, "{kind} {source}");
    }
}

#[test]
fn names_of_iscsi_are_of_three_kinds() {
    let iscsi = |name: &str, more: Value| {
        let mut source = json!({"targetPortal": "10.0.0.1:3260", "iqn": name, "lun": 0});
        for (key, value) in more.as_object().expect("an object") {
            source[key] = value.clone();
        }
        of("iscsi", source)
    };
    for name in [
        "iqn.2001-04.com.example:storage:disk",
        "eui.0123456789ABCDEF",
        "naa.52004567BA64678D52004567BA64678D",
    ] {
        assert_eq!(iscsi(name, json!({})), [""; 0], "{name}");
    }
    for name in ["iqn.2001-4.com:x", "iqn.2001-04.com", "iqn.2001-04.com:a b", "eui.0123", "naa.x"] {
        assert_eq!(
            iscsi(name, json!({})),
            [format!("iscsi.iqn: Invalid value: \"{name}\": must be valid format")]
        );
    }
    assert_eq!(
        iscsi("x", json!({})),
        ["iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa"]
    );
    let named = json!({"lun": 300, "chapAuthSession": true, "initiatorName": "iqn.2001-04.com:a",
        "targetPortal": "p".repeat(64)});
    assert_eq!(
        iscsi("eui.0123456789ABCDEF", named),
        [
            "iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive",
            "iscsi.secretRef: Required value",
            "name: Invalid value: \"v\": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
        ]
    );
}

#[test]
fn projected_sources_share_no_path() {
    let two = json!({"sources": [
        {"secret": {"name": "s", "items": [{"key": "k", "path": "f"}]}},
        {"configMap": {"name": "c", "items": [{"key": "k", "path": "f"}]}},
    ]});
    assert_eq!(of("projected", two), ["projected: Invalid value: \"c\": conflicting duplicate paths"]);
    let token = json!({"sources": [{"serviceAccountToken": {"path": "", "expirationSeconds": 5}}]});
    assert_eq!(
        of("projected", token),
        [
            "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            "projected.path: Required value",
        ]
    );
    let bundle = |bundle: Value| of("projected", json!({"sources": [{"clusterTrustBundle": bundle}]}));
    assert_eq!(bundle(json!({"name": "a.b:c:d", "path": "f"})), [""; 0]);
    assert_eq!(
        bundle(json!({"path": "f"})),
        [
            "projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified"
        ]
    );
    assert_eq!(
        bundle(json!({"name": ":a", "labelSelector": {}, "path": "f"})),
        [
            "projected.sources[0].clusterTrustBundle.name: Invalid value: \":a\": not a valid clustertrustbundlename: ClusterTrustBundle without signer name must not have \":\" in its name",
            "projected.sources[0].clusterTrustBundle.labelSelector: Invalid value: {}: labelSelector must be unset if name is specified",
        ]
    );
    let certificate =
        json!({"signerName": "kubernetes.io/s", "keyType": "RSA", "maxExpirationSeconds": 90_000});
    assert_eq!(
        of("projected", json!({"sources": [{"podCertificate": certificate}]})),
        [
            "projected.sources[0].podCertificate.keyType: Unsupported value: \"RSA\": supported values: \"RSA3072\", \"RSA4096\", \"ECDSAP256\", \"ECDSAP384\", \"ECDSAP521\", \"ED25519\"",
            "projected.sources[0].podCertificate.maxExpirationSeconds: Invalid value: 90000: if provided, maxExpirationSeconds must be <= 86400",
            "projected.sources[0].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ]
    );
}

#[test]
fn claims_made_for_a_pod_are_judged_as_claims() {
    let made = |template: Value| of("ephemeral", json!({"volumeClaimTemplate": template}));
    let sound = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    assert_eq!(made(json!({"spec": sound})), [""; 0]);
    assert_eq!(
        made(json!({"metadata": {"name": "n"}, "spec": {"accessModes": ["ReadWriteOnce"]}})),
        [
            "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
            "ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ]
    );
    let both = json!([
        {"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": sound}}},
        {"name": "w", "persistentVolumeClaim": {"claimName": "p-v"}},
    ]);
    assert_eq!(
        said(both),
        [
            "spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"p-v\": must not reference a PVC that gets created for an ephemeral volume"
        ]
    );
}

#[test]
fn a_volume_with_a_fault_is_none_to_its_mounts() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "a", "image": "i:1", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}],
        "volumes": [{"name": "v", "secret": {}}],
    }});
    assert_eq!(
        created("pods", &pod),
        [
            "spec.volumes[0].secret.secretName: Required value",
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ]
    );
}

#[test]
fn sources_of_persistent_volumes_name_secrets_with_their_namespaces() {
    let said = |source: Value| {
        let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
        for (key, value) in source.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        created("persistentvolumes", &json!({"metadata": {"name": "pv"}, "spec": spec}))
    };
    assert_eq!(
        said(json!({"csi": {"driver": "D_", "nodePublishSecretRef": {"name": "n"}}}))[1..],
        [
            "spec.csi.volumeHandle: Required value".to_owned(),
            "spec.csi.nodePublishSecretRef.namespace: Required value".to_owned(),
        ]
    );
    assert_eq!(
        said(json!({"cinder": {"volumeID": "v", "secretRef": {"name": "n"}}})),
        ["spec.cinder.secretRef.namespace: Required value"]
    );
    assert_eq!(
        said(json!({"glusterfs": {"endpoints": "e", "path": "p", "endpointsNamespace": ""}})),
        [
            "spec.glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it must be a valid namespace name"
        ]
    );
}
