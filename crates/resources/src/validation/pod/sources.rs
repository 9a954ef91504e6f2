//! Sources of volumes outside the cluster: network disks, old in-tree ones among them, and drivers.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::{check, read};

/// The fields that a source must have, in upstream's order.
const NEEDED: [(&str, &[&str]); 17] = [
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("local", &["path"]),
];
const CACHING_MODES: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
const DISK_KINDS: [&str; 3] = ["Dedicated", "Managed", "Shared"];
const ISCSI_MAX: usize = 64;

/// Whose volume it is.
pub(super) enum Owner<'a> {
    /// A volume of a pod, or of a template: that has no name.
    Pod { name: Option<&'a str>, volume: &'a str },
    /// A persistent volume; the name is empty where the volume is no object.
    Cluster { name: &'a str },
}

impl Owner<'_> {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }
}

/// Checks a source of a kind; `volume` is the path of the volume.
pub(super) fn source(
    errors: &mut ErrorList,
    volume: &Path<'_>,
    path: &Path<'_>,
    kind: &str,
    source: &Value,
    owner: &Owner<'_>,
) {
    let needed = NEEDED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, needed)| needed);
    for field in needed {
        let is_absent = read::get(source, field)
            .is_none_or(|v| v.as_str().is_some_and(str::is_empty) || v.as_array().is_some_and(Vec::is_empty));
        if is_absent {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
    match kind {
        "gitRepo" => {
            check::descending_path(errors, &path.child("directory"), read::text(source, "directory"))
        }
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            within(errors, &path.child("partition"), read::int(source, "partition"), 1);
        }
        "nfs" => {
            let directory = read::text(source, "path");
            if !directory.starts_with('/') {
                errors.push(FieldError::invalid(&path.child("path"), directory, "must be an absolute path"));
            }
        }
        "iscsi" => iscsi(errors, volume, path, source, owner),
        "glusterfs" if owner.is_cluster() => endpoints_namespace(errors, path, source),
        "flocker" => flocker(errors, path, source),
        "cinder" => secret(errors, path, source, owner),
        "quobyte" => quobyte(errors, path, source),
        "fc" => fibre_channel(errors, path, source),
        "flexVolume" => options(errors, &path.child("options"), source),
        "azureFile" if owner.is_cluster() && read::raw(source, "secretNamespace") == Some(&"".into()) => {
            errors.push(FieldError::required(&path.child("secretNamespace"), ""));
        }
        "azureDisk" => azure_disk(errors, path, source),
        "storageos" => {
            let name = read::text(source, "volumeName");
            if check::required(errors, &path.child("volumeName"), name) {
                check::faults(errors, &path.child("volumeName"), name, names::dns1123_label(name));
            }
            let namespace = read::text(source, "volumeNamespace");
            if !namespace.is_empty() {
                let at = path.child("volumeNamespace");
                check::faults(errors, &at, namespace, names::dns1123_label(namespace));
            }
            secret(errors, path, source, owner);
        }
        "local" => check::no_backsteps(errors, &path.child("path"), read::text(source, "path")),
        "csi" => csi(errors, path, source, owner),
        _ => {}
    }
}

/// A number up to 255. Upstream's words say from where, though 0 is taken too.
fn within(errors: &mut ErrorList, path: &Path<'_>, number: Option<i64>, least: i64) {
    if let Some(number) = number.filter(|n| !(0..=255).contains(n)) {
        errors.push(FieldError::invalid(path, number, names::range_message(least, 255)));
    }
}

/// The secret of a source, by its name; of a persistent volume, by its namespace too.
fn secret(errors: &mut ErrorList, path: &Path<'_>, source: &Value, owner: &Owner<'_>) {
    let Some(reference) = read::get(source, "secretRef") else { return };
    let at = path.child("secretRef");
    check::required(errors, &at.child("name"), read::text(reference, "name"));
    if owner.is_cluster() {
        check::required(errors, &at.child("namespace"), read::text(reference, "namespace"));
    }
}

fn iscsi(errors: &mut ErrorList, volume: &Path<'_>, path: &Path<'_>, source: &Value, owner: &Owner<'_>) {
    let portal = read::text(source, "targetPortal");
    let initiator = read::get(source, "initiatorName").and_then(Value::as_str);
    let too_long = |name: &str| initiator.is_some() && name.len() + 1 + portal.len() > ISCSI_MAX;
    let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    if let Owner::Cluster { name } = owner
        && too_long(name)
    {
        errors.push(FieldError::invalid(&path.child("targetportal"), portal, detail));
    }
    let target = read::text(source, "iqn");
    if check::required(errors, &path.child("iqn"), target) {
        qualified_target(errors, &path.child("iqn"), target, owner);
    }
    within(errors, &path.child("lun"), read::int(source, "lun"), 0);
    let authenticated = read::flag(source, "chapAuthDiscovery") || read::flag(source, "chapAuthSession");
    match read::get(source, "secretRef") {
        None if authenticated => errors.push(FieldError::required(&path.child("secretRef"), "")),
        Some(secret) if owner.is_cluster() => {
            let at = path.child("secretRef");
            check::required(errors, &at.child("name"), read::text(secret, "name"));
        }
        _ => {}
    }
    if let Some(initiator) = initiator {
        qualified_target(errors, &path.child("initiatorname"), initiator, owner);
    }
    if let Owner::Pod { volume: name, .. } = owner
        && too_long(name)
    {
        errors.push(FieldError::invalid(&volume.child("name"), *name, detail));
    }
}

/// A name of one of the three kinds that iSCSI has.
fn qualified_target(errors: &mut ErrorList, path: &Path<'_>, name: &str, owner: &Owner<'_>) {
    let is_of_length = |length: usize| {
        let mut rest = name.chars().skip(4);
        let digits = rest.by_ref().take(length).filter(char::is_ascii_alphanumeric).count();
        digits == length && rest.next().is_none()
    };
    let is_sound = match name.get(..3) {
        Some("iqn") => name.match_indices("iqn.").any(|(at, _)| is_dated_name(&name[at + 4..])),
        Some("eui") => is_of_length(16),
        Some("naa") => is_of_length(32),
        _ if owner.is_cluster() => false,
        _ => {
            let detail = "must be valid format starting with iqn, eui, or naa";
            errors.push(FieldError::invalid(path, name, detail));
            return;
        }
    };
    if !is_sound {
        errors.push(FieldError::invalid(path, name, "must be valid format"));
    }
}

/// `yyyy-mm.authority:name`.
fn is_dated_name(text: &str) -> bool {
    let date =
        |b: &[u8]| b[..4].iter().chain(&b[5..7]).all(u8::is_ascii_digit) && b[4] == b'-' && b[7] == b'.';
    let (Some(start), Some((authority, name))) =
        (text.as_bytes().get(..8), text.get(8..).and_then(|rest| rest.split_once(':')))
    else {
        return false;
    };
    let of_authority = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let of_name = |c: char| !matches!(c, ',' | ';' | '*' | '&' | '$' | '|') && !c.is_ascii_whitespace();
    date(start)
        && !authority.is_empty()
        && authority.chars().all(of_authority)
        && !name.is_empty()
        && name.chars().all(of_name)
}

fn endpoints_namespace(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let Some(namespace) = read::get(source, "endpointsNamespace").and_then(Value::as_str) else { return };
    let at = path.child("endpointsNamespace");
    if namespace.is_empty() {
        let detail = "if the endpointnamespace is set, it must be a valid namespace name";
        errors.push(FieldError::invalid(&at, namespace, detail));
    } else {
        check::faults(errors, &at, namespace, names::dns1123_label(namespace));
    }
}

fn flocker(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let [name, uuid] = ["datasetName", "datasetUUID"].map(|key| read::text(source, key));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => {
            errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required"));
        }
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", detail));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
}

fn quobyte(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let registry = read::text(source, "registry");
    let detail = "must be a host:port pair or multiple pairs separated by commas";
    let at = path.child("registry");
    if registry.is_empty() {
        errors.push(FieldError::required(&at, detail));
    } else if read::text(source, "tenant").len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&path.child("tenant"), detail));
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.push(FieldError::invalid(&at, registry, detail));
        }
    }
    check::required(errors, &path.child("volume"), read::text(source, "volume"));
}

/// `host:port`; a host with colons is in brackets.
fn is_host_and_port(pair: &str) -> bool {
    let Some((host, _)) = pair.rsplit_once(':') else { return false };
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').is_some_and(|inner| !inner.contains(['[', ']'])),
        None => !host.contains([':', '[', ']']),
    }
}

fn fibre_channel(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let [names, ids] = ["targetWWNs", "wwids"].map(|key| read::list(source, key));
    let at = path.child("targetWWNs");
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => {
            errors.push(FieldError::required(&at, "must specify either targetWWNs or wwids, but not both"));
        }
        (false, false) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.push(FieldError::invalid(&at, names.to_vec(), detail));
        }
        _ => {}
    }
    if !names.is_empty() {
        match read::int(source, "lun") {
            None => {
                let detail = "lun is required if targetWWNs is specified";
                errors.push(FieldError::required(&path.child("lun"), detail));
            }
            lun => within(errors, &path.child("lun"), lun, 0),
        }
    }
}

/// Options that a user gives are not in the project's own namespaces.
fn options(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    for (key, _) in read::pairs(source, "options") {
        let namespace = key.split_once('/').map_or(key, |(namespace, _)| namespace).to_lowercase();
        let is_reserved = ["kubernetes.io", "k8s.io"]
            .iter()
            .any(|own| namespace == *own || namespace.ends_with(&format!(".{own}")));
        if is_reserved {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&path.key(key), key, detail));
        }
    }
}

fn azure_disk(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let [caching, kind, uri] = ["cachingMode", "kind", "diskURI"].map(|key| read::text(source, key));
    check::if_given_one_of(errors, &path.child("cachingMode"), caching, &CACHING_MODES);
    check::if_given_one_of(errors, &path.child("kind"), kind, &DISK_KINDS);
    let (start, form) = match kind {
        "" => return,
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !uri.starts_with(start) {
        errors.push(FieldError::not_supported(&path.child("diskURI"), uri, &[form]));
    }
}

fn csi(errors: &mut ErrorList, path: &Path<'_>, source: &Value, owner: &Owner<'_>) {
    const MAX_DRIVER: usize = 63;
    let driver = read::text(source, "driver");
    let at = path.child("driver");
    check::required(errors, &at, driver);
    if driver.len() > MAX_DRIVER {
        errors.push(FieldError::too_long(&at, MAX_DRIVER));
    }
    check::faults(errors, &at, driver, names::dns1123_subdomain(&driver.to_lowercase()));
    if owner.is_cluster() {
        check::required(errors, &path.child("volumeHandle"), read::text(source, "volumeHandle"));
        for key in [
            "controllerPublishSecretRef",
            "controllerExpandSecretRef",
            "nodePublishSecretRef",
            "nodeExpandSecretRef",
        ] {
            if let Some(reference) = read::get(source, key) {
                full_reference(errors, &path.child(key), reference);
            }
        }
    } else if let Some(reference) = read::get(source, "nodePublishSecretRef") {
        let name = read::text(reference, "name");
        let at = path.child("nodePublishSecretRef");
        if check::required(errors, &at.child("name"), name) {
            // Upstream's path leaves out whose name it is.
            check::faults(errors, &path.child("name"), name, names::dns1123_subdomain(name));
        }
    }
}

fn full_reference(errors: &mut ErrorList, path: &Path<'_>, reference: &Value) {
    let [name, namespace] = ["name", "namespace"].map(|key| read::text(reference, key));
    if check::required(errors, &path.child("name"), name) {
        check::faults(errors, &path.child("name"), name, names::dns1123_subdomain(name));
    }
    if check::required(errors, &path.child("namespace"), namespace) {
        check::faults(errors, &path.child("namespace"), namespace, names::dns1123_label(namespace));
    }
}
