//! The mounts of a container.

use std::path::{Path, PathBuf};

use cri::v1::{Mount, MountPropagation};
use serde_json::{Value, json};

use super::{Inputs, SpecError};
use cgroup::CgroupMounts;

/// The file systems every container has, the pod's files, and what the client asks for; a client's mount
/// takes the place of one of ours.
pub(super) fn all(inputs: &Inputs<'_>, privileged: bool) -> Result<Vec<Value>, SpecError> {
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    let access = if privileged { "rw" } else { "ro" };
    list.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]));
    cgroup_mounts(inputs, access, &mut list);
    let files = &inputs.pod_files;
    match &files.shm {
        Some(shm) => list.push(bind("/dev/shm", shm, &["rbind", "rprivate", "nosuid", "noexec", "nodev"])),
        None => list.push(bind("/dev/shm", Path::new("/dev/shm"), &["rbind", "rprivate"])),
    }
    let context = super::security_context(inputs.config);
    let file_access = if context.readonly_rootfs { "ro" } else { "rw" };
    for (path, file) in [
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hostname", &files.hostname),
        ("/etc/hosts", &files.hosts),
    ] {
        if let Some(file) = file {
            list.push(bind(path, file, &["rbind", "rprivate", file_access]));
        }
    }
    for (path, dir) in &inputs.image_volumes {
        list.push(bind(path, dir, &["rbind", "rprivate", "rw"]));
    }
    let mut images = inputs.mounted_images.iter();
    let wanted = inputs.config.mounts.iter().map(|wanted| match &wanted.image {
        None => client_mount(wanted),
        Some(_) => image_mount(wanted, images.next()),
    });
    let mut wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    list.retain(|ours| !wanted.iter().any(|theirs| same_place(ours, theirs)));
    list.append(&mut wanted);
    // Parents before what is inside them; the sort keeps the order of equals.
    list.sort_by_key(|m| m["destination"].as_str().map_or(0, |d| Path::new(d).components().count()));
    Ok(list)
}

fn same_place(a: &Value, b: &Value) -> bool {
    let path = |m: &Value| {
        m["destination"].as_str().map(|d| Path::new(d).components().collect::<std::path::PathBuf>())
    };
    path(a) == path(b)
}

/// v1: a bind mount for each controller, because the OCI library's own cgroup mount is writable there.
fn cgroup_mounts(inputs: &Inputs<'_>, access: &str, list: &mut Vec<Value>) {
    let options = ["nosuid", "noexec", "nodev", access];
    match inputs.hierarchy {
        CgroupMounts::V2(_) => list.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)),
        CgroupMounts::V1 { controllers, .. } => {
            list.push(mount(
                "/sys/fs/cgroup",
                "tmpfs",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "mode=755", "size=64k"],
            ));
            for (controller, point) in controllers {
                let own = point.join(inputs.cgroup.trim_start_matches('/'));
                list.push(bind(
                    &format!("/sys/fs/cgroup/{controller}"),
                    &own,
                    &["bind", "private", "nosuid", "noexec", "nodev", access],
                ));
            }
        }
    }
}

/// The files of an image: to be read and not to be run, as the API has it.
fn image_mount(wanted: &Mount, mounted: Option<&PathBuf>) -> Result<Value, SpecError> {
    let invalid =
        |why: &str| SpecError::Invalid(format!("the image mount {:?} {why}", wanted.container_path));
    if !wanted.container_path.starts_with('/') {
        return Err(invalid("has no absolute path"));
    }
    if !wanted.host_path.is_empty() {
        return Err(invalid("has a path of the host too"));
    }
    let mounted = mounted.ok_or_else(|| invalid("is not mounted"))?;
    Ok(bind(&wanted.container_path, mounted, &["rbind", "rprivate", "ro", "noexec", "nosuid", "nodev"]))
}

fn client_mount(wanted: &Mount) -> Result<Value, SpecError> {
    if !wanted.uid_mappings.is_empty() || !wanted.gid_mappings.is_empty() {
        return Err(SpecError::NotImplemented("id-mapped mounts"));
    }
    if !wanted.container_path.starts_with('/') {
        return Err(SpecError::Invalid(format!(
            "the mount path {:?} is not absolute",
            wanted.container_path
        )));
    }
    refuse_half_read_only(wanted)?;
    let host = Path::new(&wanted.host_path);
    // What the client names must be there, except a folder nobody has made yet.
    if !host.exists() {
        std::fs::create_dir_all(host)
            .map_err(|source| SpecError::Io { path: wanted.host_path.clone(), source })?;
    }
    let host =
        host.canonicalize().map_err(|source| SpecError::Io { path: wanted.host_path.clone(), source })?;
    let propagation = match MountPropagation::try_from(wanted.propagation) {
        Ok(MountPropagation::PropagationBidirectional) => "rshared",
        Ok(MountPropagation::PropagationHostToContainer) => "rslave",
        Ok(MountPropagation::PropagationPrivate) | Err(_) => "rprivate",
    };
    let access = match (wanted.readonly, wanted.recursive_read_only) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    Ok(bind(&wanted.container_path, &host, &["rbind", propagation, access]))
}

/// A mount that is to be read-only with all below it must say that it is read-only, and must stay apart from the host:
/// what would be mounted below it later would be writable.
fn refuse_half_read_only(wanted: &Mount) -> Result<(), SpecError> {
    if !wanted.recursive_read_only {
        return Ok(());
    }
    let path = &wanted.container_path;
    if !wanted.readonly {
        return Err(SpecError::Invalid(format!(
            "recursive read-only mount {path:?} conflicts with a read-write mount"
        )));
    }
    if wanted.propagation != MountPropagation::PropagationPrivate as i32 {
        return Err(SpecError::Invalid(format!(
            "recursive read-only mount {path:?} needs private mount propagation"
        )));
    }
    Ok(())
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

fn bind(destination: &str, source: &Path, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}
