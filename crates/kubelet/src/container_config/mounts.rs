//! Which files of the node are mounted at which paths of a container.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cri::v1::{Device, ImageSpec, Mount, MountPropagation};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeDevice, VolumeMount};

use crate::environment::Environment;
use crate::hosts;
use crate::seams::{ConfigError, MountedVolume, MountedVolumes};
use crate::volumes::{PodDirs, VolumeError, subpath};

const HOSTS: &str = "/etc/hosts";

/// What the mounts of a container are made of; owned, as the disk work happens on another thread.
pub struct Request {
    pub pod: std::sync::Arc<Pod>,
    pub container: Container,
    pub attempt: u32,
    pub pod_ips: Vec<String>,
    pub volumes: MountedVolumes,
    /// What the runtime calls the images among the volumes, by volume name.
    pub images: BTreeMap<String, String>,
    pub environment: Environment,
    pub host_name: hosts::HostName,
}

/// Prepares sub paths, the hosts file and the termination log, and lists every mount. Blocks.
///
/// # Errors
/// When a volume is missing, a path is not allowed or the disk refuses.
pub fn prepare(dirs: &PodDirs, request: &Request) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    let mut own_hosts = false;
    for (index, mount) in request.container.volume_mounts.iter().flatten().enumerate() {
        own_hosts |= mount.mount_path == HOSTS;
        mounts.push(volume_mount(dirs, request, index, mount)?);
        let logs = log_mounts(dirs, request, mount, mounts.last());
        mounts.extend(logs);
    }
    let host_network = request.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
    if !own_hosts && (host_network || !request.pod_ips.is_empty()) {
        mounts.push(hosts_mount(dirs, request, host_network)?);
    }
    if let Some(path) = request.container.termination_message_path.as_deref().filter(|p| !p.is_empty()) {
        mounts.push(termination_mount(dirs, request, path)?);
    }
    Ok(mounts)
}

/// The devices that a container has of volumes.
///
/// # Errors
/// When a volume is missing.
pub fn devices(container: &Container, volumes: &MountedVolumes) -> Result<Vec<Device>, ConfigError> {
    let one = |device: &VolumeDevice| {
        let volume = volumes.volumes.get(&device.name).ok_or_else(|| {
            let (name, container) = (&device.name, &container.name);
            ConfigError::new(format!("cannot find volume \"{name}\" to map into container \"{container}\""))
        })?;
        Ok(Device {
            container_path: device.device_path.clone(),
            host_path: volume.host_path.to_string_lossy().into_owned(),
            permissions: if volume.read_only { "mr".to_owned() } else { "mrw".to_owned() },
        })
    };
    container.volume_devices.iter().flatten().map(one).collect()
}

fn volume_mount(
    dirs: &PodDirs,
    request: &Request,
    index: usize,
    mount: &VolumeMount,
) -> Result<Mount, ConfigError> {
    let container = &request.container.name;
    let volume = request.volumes.volumes.get(&mount.name).ok_or_else(|| {
        ConfigError::new(format!(
            "cannot find volume \"{}\" to mount into container \"{container}\"",
            mount.name
        ))
    })?;
    let container_path = if mount.mount_path.starts_with('/') {
        mount.mount_path.clone()
    } else {
        format!("/{}", mount.mount_path)
    };
    let sub = sub_path(request, mount)?;
    if let Some(image) = request.images.get(&mount.name) {
        return Ok(Mount {
            container_path,
            readonly: true,
            image: Some(ImageSpec { image: image.clone(), ..ImageSpec::default() }),
            image_sub_path: sub.unwrap_or_default(),
            ..Mount::default()
        });
    }
    let path = match sub {
        Some(sub) => bind_sub_path(dirs, request, index, mount, volume, &sub)?,
        None => volume.host_path.clone(),
    };
    let readonly = mount.read_only == Some(true) || volume.read_only;
    Ok(Mount {
        container_path,
        host_path: path.to_string_lossy().into_owned(),
        readonly,
        recursive_read_only: readonly
            && matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
        propagation: propagation(mount)?.into(),
        ..Mount::default()
    })
}

/// The node's logs, where a pod has a folder of the machine above upstream's places for them.
fn log_mounts(dirs: &PodDirs, request: &Request, mount: &VolumeMount, of: Option<&Mount>) -> Vec<Mount> {
    // A mount beneath one that is shared would come to be on the machine.
    if mount.mount_propagation.as_deref() == Some("Bidirectional") {
        return Vec::new();
    }
    let is_whole = [&mount.sub_path, &mount.sub_path_expr].into_iter().flatten().all(String::is_empty);
    let volumes = request.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let source = volumes.filter(|volume| volume.name == mount.name).find_map(|v| v.host_path.as_ref());
    let (Some(logs), Some(source), Some(of), true) = (dirs.logs(), source, of, is_whole) else {
        return Vec::new();
    };
    let path = Path::new(&source.path);
    if let Err(error) = logs.prepare(path) {
        tracing::warn!(%error, path = source.path, "a pod does not see the node's logs beneath its volume");
        return Vec::new();
    }
    let beneath = |(place, own): (PathBuf, PathBuf)| Mount {
        container_path: Path::new(&of.container_path).join(place).to_string_lossy().into_owned(),
        host_path: own.to_string_lossy().into_owned(),
        readonly: of.readonly,
        ..Mount::default()
    };
    logs.below(path).into_iter().map(beneath).collect()
}

fn propagation(mount: &VolumeMount) -> Result<MountPropagation, ConfigError> {
    match mount.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => Err(ConfigError::new(format!("invalid MountPropagation mode: \"{other}\""))),
    }
}

/// The mount's sub path, its variables replaced; every one of them must be known.
fn sub_path(request: &Request, mount: &VolumeMount) -> Result<Option<String>, ConfigError> {
    let expression = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty());
    let sub = match expression {
        Some(expression) => {
            let missing = std::cell::Cell::new(false);
            let look_up = |name: &str| {
                let value = request.environment.get(name);
                missing.set(missing.get() || value.is_none());
                value
            };
            let expanded = crate::environment::expansion::expand(expression, look_up);
            if missing.get() {
                let text = format!("missing value for \"{expression}\"");
                return Err(ConfigError::new(text));
            }
            expanded
        }
        None => mount.sub_path.clone().unwrap_or_default(),
    };
    if sub.starts_with('/') {
        return Err(ConfigError::new(format!("error SubPath `{sub}` must not be an absolute path")));
    }
    if sub.split('/').any(|part| part == "..") {
        return Err(ConfigError::new(format!("unable to provision SubPath `{sub}`: must not contain '..'")));
    }
    Ok(Some(sub).filter(|s| !s.is_empty()))
}

fn bind_sub_path(
    dirs: &PodDirs,
    request: &Request,
    index: usize,
    mount: &VolumeMount,
    volume: &MountedVolume,
    sub: &str,
) -> Result<std::path::PathBuf, ConfigError> {
    let uid = request.pod.metadata.uid.as_deref().unwrap_or_default();
    let target = dirs.subpath(uid, &mount.name, &request.container.name, index);
    subpath::bind(&volume.host_path, sub, &target).map_err(|error| {
        // The user is not told more: it could tell about the node's files.
        tracing::warn!(volume = mount.name, container = request.container.name, %error, "sub path refused");
        ConfigError::new(format!(
            "failed to prepare subPath for volumeMount \"{}\" of container \"{}\"",
            mount.name, request.container.name
        ))
    })
}

fn hosts_mount(dirs: &PodDirs, request: &Request, host_network: bool) -> Result<Mount, ConfigError> {
    let uid = request.pod.metadata.uid.as_deref().unwrap_or_default();
    let aliases = request.pod.spec.as_ref().and_then(|s| s.host_aliases.as_deref()).unwrap_or_default();
    let text = if host_network {
        let nodes = std::fs::read_to_string(HOSTS)
            .map_err(|e| config_error(&VolumeError::disk("reading", Path::new(HOSTS), e)))?;
        hosts::host_network(&nodes, aliases)
    } else {
        hosts::managed(&request.pod_ips, &request.host_name, aliases)
    };
    let path = dirs.hosts_file(uid);
    write_file(&path, text.as_bytes(), 0o644)?;
    Ok(Mount {
        container_path: HOSTS.to_owned(),
        host_path: path.to_string_lossy().into_owned(),
        selinux_relabel: true,
        ..Mount::default()
    })
}

/// An empty file of this attempt alone, so that no message of an earlier one is read again.
fn termination_mount(dirs: &PodDirs, request: &Request, path: &str) -> Result<Mount, ConfigError> {
    let uid = request.pod.metadata.uid.as_deref().unwrap_or_default();
    let file = dirs.container(uid, &request.container.name).join(format!("{:08x}", request.attempt));
    write_file(&file, b"", 0o666)?;
    Ok(Mount {
        container_path: path.to_owned(),
        host_path: file.to_string_lossy().into_owned(),
        selinux_relabel: true,
        ..Mount::default()
    })
}

/// Writes in place, not by renaming: containers that run already have the file mounted.
fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), ConfigError> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, content))
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .map_err(|e| config_error(&VolumeError::disk("writing", path, e)))
}

fn config_error(error: &VolumeError) -> ConfigError {
    ConfigError::new(error.to_string())
}
