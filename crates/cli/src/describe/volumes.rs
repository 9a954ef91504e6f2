//! Volumes of pods, and the sources of persistent volumes: a table of kinds, each with its lines.

use serde_json::Value;

use super::fields::Fields as _;
use super::metadata;
use super::text::{Text, put};

/// How a field of a source is printed.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    Flag,
    /// `<none>` where missing.
    OrNone,
    /// `<unset>` where missing.
    OrUnset,
    /// A list in brackets.
    List,
    Joined,
    /// A reference to a Secret, as Go prints a pointer to one.
    Reference,
    /// A map, as Go prints it.
    Map,
}

use Form::{Flag, Joined, List, Map, Number, OrNone, OrUnset, Reference, Text as Plain};

/// Title, path, form.
type Row = (&'static str, &'static str, Form);

struct Source {
    field: &'static str,
    title: &'static str,
    rows: &'static [Row],
    /// Rows of persistent volumes, where they are others.
    persistent: Option<&'static [Row]>,
}

const fn source(field: &'static str, title: &'static str, rows: &'static [Row]) -> Source {
    Source { field, title, rows, persistent: None }
}

/// In upstream's order, which decides where there are two.
const SOURCES: [Source; 29] = [
    source(
        "hostPath",
        "HostPath (bare host directory volume)",
        &[("Path:", "path", Plain), ("HostPathType:", "type", OrNone)],
    ),
    source("emptyDir", "EmptyDir (a temporary directory that shares a pod's lifetime)", &[]),
    source(
        "gcePersistentDisk",
        "GCEPersistentDisk (a Persistent Disk resource in Google Compute Engine)",
        &[
            ("PDName:", "pdName", Plain),
            ("FSType:", "fsType", Plain),
            ("Partition:", "partition", Number),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    source(
        "awsElasticBlockStore",
        "AWSElasticBlockStore (a Persistent Disk resource in AWS)",
        &[
            ("VolumeID:", "volumeID", Plain),
            ("FSType:", "fsType", Plain),
            ("Partition:", "partition", Number),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    source(
        "gitRepo",
        "GitRepo (a volume that is pulled from git when the pod is created)",
        &[("Repository:", "repository", Plain), ("Revision:", "revision", Plain)],
    ),
    source(
        "secret",
        "Secret (a volume populated by a Secret)",
        &[("SecretName:", "secretName", Plain), ("Optional:", "optional", Flag)],
    ),
    source(
        "configMap",
        "ConfigMap (a volume populated by a ConfigMap)",
        &[("Name:", "name", Plain), ("Optional:", "optional", Flag)],
    ),
    source(
        "nfs",
        "NFS (an NFS mount that lasts the lifetime of a pod)",
        &[("Server:", "server", Plain), ("Path:", "path", Plain), ("ReadOnly:", "readOnly", Flag)],
    ),
    source(
        "iscsi",
        "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)",
        &[
            ("TargetPortal:", "targetPortal", Plain),
            ("IQN:", "iqn", Plain),
            ("Lun:", "lun", Number),
            ("ISCSIInterface", "iscsiInterface", Plain),
            ("FSType:", "fsType", Plain),
            ("ReadOnly:", "readOnly", Flag),
            ("Portals:", "portals", List),
            ("DiscoveryCHAPAuth:", "chapAuthDiscovery", Flag),
            ("SessionCHAPAuth:", "chapAuthSession", Flag),
            ("SecretRef:", "secretRef", Reference),
            ("InitiatorName:", "initiatorName", OrNone),
        ],
    ),
    Source {
        field: "glusterfs",
        title: "Glusterfs (a Glusterfs mount on the host that shares a pod's lifetime)",
        rows: &[
            ("EndpointsName:", "endpoints", Plain),
            ("Path:", "path", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ],
        persistent: Some(&[
            ("EndpointsName:", "endpoints", Plain),
            ("EndpointsNamespace:", "endpointsNamespace", OrUnset),
            ("Path:", "path", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ]),
    },
    source(
        "persistentVolumeClaim",
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        &[("ClaimName:", "claimName", Plain), ("ReadOnly:", "readOnly", Flag)],
    ),
    source(
        "ephemeral",
        "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        &[],
    ),
    source(
        "rbd",
        "RBD (a Rados Block Device mount on the host that shares a pod's lifetime)",
        &[
            ("CephMonitors:", "monitors", List),
            ("RBDImage:", "image", Plain),
            ("FSType:", "fsType", Plain),
            ("RBDPool:", "pool", Plain),
            ("RadosUser:", "user", Plain),
            ("Keyring:", "keyring", Plain),
            ("SecretRef:", "secretRef", Reference),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    source(
        "quobyte",
        "Quobyte (a Quobyte mount on the host that shares a pod's lifetime)",
        &[("Registry:", "registry", Plain), ("Volume:", "volume", Plain), ("ReadOnly:", "readOnly", Flag)],
    ),
    source("downwardAPI", "DownwardAPI (a volume populated by information about the pod)", &[]),
    source(
        "azureDisk",
        "AzureDisk (an Azure Data Disk mount on the host and bind mount to the pod)",
        &[
            ("DiskName:", "diskName", Plain),
            ("DiskURI:", "diskURI", Plain),
            ("Kind: ", "kind", Plain),
            ("FSType:", "fsType", Plain),
            ("CachingMode:", "cachingMode", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    source(
        "vsphereVolume",
        "vSphereVolume (a Persistent Disk resource in vSphere)",
        &[
            ("VolumePath:", "volumePath", Plain),
            ("FSType:", "fsType", Plain),
            ("StoragePolicyName:", "storagePolicyName", Plain),
        ],
    ),
    source(
        "cinder",
        "Cinder (a Persistent Disk resource in OpenStack)",
        &[
            ("VolumeID:", "volumeID", Plain),
            ("FSType:", "fsType", Plain),
            ("ReadOnly:", "readOnly", Flag),
            ("SecretRef:", "secretRef", Reference),
        ],
    ),
    source(
        "photonPersistentDisk",
        "PhotonPersistentDisk (a Persistent Disk resource in photon platform)",
        &[("PdID:", "pdID", Plain), ("FSType:", "fsType", Plain)],
    ),
    source(
        "portworxVolume",
        "PortworxVolume (a Portworx Volume resource)",
        &[("VolumeID:", "volumeID", Plain)],
    ),
    Source {
        field: "scaleIO",
        title: "ScaleIO (a persistent volume backed by a block device in ScaleIO)",
        rows: &[
            ("Gateway:", "gateway", Plain),
            ("System:", "system", Plain),
            ("Protection Domain:", "protectionDomain", Plain),
            ("Storage Pool:", "storagePool", Plain),
            ("Storage Mode:", "storageMode", Plain),
            ("VolumeName:", "volumeName", Plain),
            ("FSType:", "fsType", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ],
        persistent: Some(&[
            ("Gateway:", "gateway", Plain),
            ("System:", "system", Plain),
            ("Protection Domain:", "protectionDomain", Plain),
            ("Storage Pool:", "storagePool", Plain),
            ("Storage Mode:", "storageMode", Plain),
            ("VolumeName:", "volumeName", Plain),
            ("SecretName:", "secretRef.name", Plain),
            ("SecretNamespace:", "secretRef.namespace", Plain),
            ("FSType:", "fsType", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ]),
    },
    source(
        "local",
        "LocalVolume (a persistent volume backed by local storage on a node)",
        &[("Path:", "path", Plain)],
    ),
    source(
        "cephfs",
        "CephFS (a CephFS mount on the host that shares a pod's lifetime)",
        &[
            ("Monitors:", "monitors", List),
            ("Path:", "path", Plain),
            ("User:", "user", Plain),
            ("SecretFile:", "secretFile", Plain),
            ("SecretRef:", "secretRef", Reference),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    source(
        "storageos",
        "StorageOS (a StorageOS Persistent Disk resource)",
        &[
            ("VolumeName:", "volumeName", Plain),
            ("VolumeNamespace:", "volumeNamespace", Plain),
            ("FSType:", "fsType", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    source(
        "fc",
        "FC (a Fibre Channel disk)",
        &[
            ("TargetWWNs:", "targetWWNs", Joined),
            ("LUN:", "lun", OrNone),
            ("FSType:", "fsType", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ],
    ),
    Source {
        field: "azureFile",
        title: "AzureFile (an Azure File Service mount on the host and bind mount to the pod)",
        rows: &[
            ("SecretName:", "secretName", Plain),
            ("ShareName:", "shareName", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ],
        persistent: Some(&[
            ("SecretName:", "secretName", Plain),
            ("SecretNamespace:", "secretNamespace", Plain),
            ("ShareName:", "shareName", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ]),
    },
    source(
        "flexVolume",
        "FlexVolume (a generic volume resource that is provisioned/attached using an exec based plugin)",
        &[
            ("Driver:", "driver", Plain),
            ("FSType:", "fsType", Plain),
            ("SecretRef:", "secretRef", Reference),
            ("ReadOnly:", "readOnly", Flag),
            ("Options:", "options", Map),
        ],
    ),
    source(
        "flocker",
        "Flocker (a Flocker volume mounted by the Flocker agent)",
        &[("DatasetName:", "datasetName", Plain), ("DatasetUUID:", "datasetUUID", Plain)],
    ),
    Source {
        field: "csi",
        title: "CSI (a Container Storage Interface (CSI) volume source)",
        rows: &[("Driver:", "driver", Plain), ("FSType:", "fsType", Plain), ("ReadOnly:", "readOnly", Flag)],
        persistent: Some(&[
            ("Driver:", "driver", Plain),
            ("FSType:", "fsType", Plain),
            ("VolumeHandle:", "volumeHandle", Plain),
            ("ReadOnly:", "readOnly", Flag),
        ]),
    },
];

/// The volumes of a pod; `space` stands before the title in templates of pods.
pub fn of_pod(text: &mut Text, spec: &Value, space: &str) {
    let volumes = spec.items("volumes");
    if volumes.is_empty() {
        put!(text, 0, "{space}Volumes:\t<none>");
        return;
    }
    put!(text, 0, "{space}Volumes:");
    let indent = if space.is_empty() { "" } else { " " };
    for volume in volumes {
        put!(text, 1, "{indent}{}:", volume.text("name"));
        if let Some(projected) = volume.at("projected") {
            self::projected(text, projected);
        } else if let Some(image) = volume.at("image") {
            put!(text, 2, "Type:\tImage (a container image or OCI artifact)");
            put!(text, 2, "Reference:\t{}", image.text("reference"));
            put!(text, 2, "PullPolicy:\t{}", image.text("pullPolicy"));
        } else {
            write(text, volume, false);
        }
    }
}

/// The source of a persistent volume.
pub fn of_persistent(text: &mut Text, spec: &Value) {
    write(text, spec, true);
}

fn write(text: &mut Text, holder: &Value, persistent: bool) {
    let found = SOURCES.iter().find_map(|source| holder.at(source.field).map(|value| (source, value)));
    let Some((source, value)) = found else {
        put!(text, 1, "<unknown>");
        return;
    };
    put!(text, 2, "Type:\t{}", source.title);
    let rows = if persistent { source.persistent.unwrap_or(source.rows) } else { source.rows };
    for (title, path, form) in rows {
        put!(text, 2, "{title}\t{}", shown(value, path, *form));
    }
    match source.field {
        "emptyDir" => {
            let limit = value.quantity("sizeLimit");
            let limit = if limit.signum() > 0 { limit.to_string() } else { "<unset>".to_owned() };
            put!(text, 2, "Medium:\t{}", value.text("medium"));
            put!(text, 2, "SizeLimit:\t{limit}");
        }
        "downwardAPI" => {
            put!(text, 2, "Items:");
            for item in value.items("items") {
                if let Some(field) = item.at("fieldRef") {
                    put!(text, 3, "{} -> {}", field.text("fieldPath"), item.text("path"));
                }
                if let Some(field) = item.at("resourceFieldRef") {
                    put!(text, 3, "{} -> {}", field.text("resource"), item.text("path"));
                }
            }
        }
        "csi" => attributes(text, value),
        "ephemeral" => {
            if let Some(template) = value.at("volumeClaimTemplate") {
                claim_template(text, template);
            }
        }
        _ => {}
    }
}

fn shown(value: &Value, path: &str, form: Form) -> String {
    match form {
        Plain => value.text(path).to_owned(),
        Number => value.number(path).to_string(),
        Flag => value.flag(path).to_string(),
        OrNone => given(value, path, "<none>"),
        OrUnset => given(value, path, "<unset>"),
        List => value.bracketed(path),
        Joined => value.texts(path).join(", "),
        Reference => match value.at(path) {
            None => "nil".to_owned(),
            Some(reference) => {
                let namespace = reference.at("namespace").and_then(Value::as_str);
                match namespace {
                    Some(namespace) => {
                        format!("&SecretReference{{Name:{},Namespace:{namespace},}}", reference.text("name"))
                    }
                    None => format!("&LocalObjectReference{{Name:{},}}", reference.text("name")),
                }
            }
        },
        Map => value.at(path).map_or_else(|| "map[]".to_owned(), crate::printing::go_text::plain),
    }
}

fn given(value: &Value, path: &str, missing: &str) -> String {
    match value.at(path) {
        None => missing.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.as_i64().unwrap_or_default().to_string(),
    }
}

fn attributes(text: &mut Text, value: &Value) {
    let lines: Vec<String> = value
        .entries("volumeAttributes")
        .into_iter()
        .map(|(key, value)| {
            metadata::shortened(&format!("{key}={}", value.as_str().unwrap_or_default()), 140)
        })
        .collect();
    if lines.is_empty() {
        put!(text, 2, "VolumeAttributes:\t<none>");
    } else {
        nested(text, "VolumeAttributes", "        \t", &lines);
    }
}

fn projected(text: &mut Text, projected: &Value) {
    put!(text, 2, "Type:\tProjected (a volume that contains injected data from multiple sources)");
    for source in projected.items("sources") {
        if let Some(secret) = source.at("secret") {
            put!(text, 2, "SecretName:\t{}", secret.text("name"));
            put!(text, 2, "Optional:\t{}", secret.flag("optional"));
        } else if source.has("downwardAPI") {
            put!(text, 2, "DownwardAPI:\ttrue");
        } else if let Some(map) = source.at("configMap") {
            put!(text, 2, "ConfigMapName:\t{}", map.text("name"));
            put!(text, 2, "Optional:\t{}", map.flag("optional"));
        } else if let Some(token) = source.at("serviceAccountToken") {
            put!(text, 2, "TokenExpirationSeconds:\t{}", token.number("expirationSeconds"));
        }
    }
}

/// A claim that is made with the pod.
fn claim_template(text: &mut Text, template: &Value) {
    let class = class_of(template);
    put!(text, 2, "StorageClass:\t{class}");
    put!(text, 2, "Volume:\t{}", template.text("spec.volumeName"));
    let labels: Vec<String> = template
        .entries("metadata.labels")
        .into_iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    nested(text, "Labels", "        \t", &labels);
    let annotations: Vec<String> = template
        .entries("metadata.annotations")
        .into_iter()
        .map(|(key, value)| format!("{key}: {}", value.as_str().unwrap_or_default()))
        .collect();
    nested(text, "Annotations", "    \t", &annotations);
    put!(text, 2, "Capacity:\t");
    put!(text, 2, "Access Modes:\t");
    if let Some(mode) = template.at("spec.volumeMode").and_then(Value::as_str) {
        put!(text, 2, "VolumeMode:\t{mode}");
    }
    data_source(text, 2, template);
}

/// Lines behind a title, each with the indentation that stock kubectl writes before all parts of a line here.
fn nested(text: &mut Text, title: &str, indent: &str, lines: &[String]) {
    text.write(2, format_args!("{title}:\t"));
    match lines.split_first() {
        None => text.line(2, "<none>"),
        Some((first, rest)) => {
            text.line(2, first);
            for other in rest {
                text.write(0, indent);
                text.line(2, other);
            }
        }
    }
}

pub fn data_source(text: &mut Text, level: usize, claim: &Value) {
    if let Some(source) = claim.at("spec.dataSource") {
        put!(text, level, "DataSource:");
        if let Some(group) = source.at("apiGroup").and_then(Value::as_str) {
            put!(text, level + 1, "APIGroup:\t{group}");
        }
        put!(text, level + 1, "Kind:\t{}", source.text("kind"));
        put!(text, level + 1, "Name:\t{}", source.text("name"));
    }
}

/// The class of a volume or a claim, by its old annotation first.
pub fn class_of(object: &Value) -> &str {
    let annotations = object.at("metadata.annotations");
    annotations
        .and_then(|annotations| annotations.get("volume.beta.kubernetes.io/storage-class"))
        .and_then(Value::as_str)
        .unwrap_or_else(|| object.text("spec.storageClassName"))
}

/// `RWO,ROX,RWX,RWOP`
pub fn access_modes(object: &Value, path: &str) -> String {
    let modes = object.texts(path);
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let short: Vec<&str> =
        known.iter().filter(|(mode, _)| modes.contains(mode)).map(|(_, short)| *short).collect();
    short.join(",")
}
