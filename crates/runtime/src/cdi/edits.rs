//! Applies what files say of devices to a container's specification.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::{Value, json};

use super::registry::{DeviceNode, Edits, Hook, Mount};

/// When a hook can run (OCI runtime specification).
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Applies all edits, in their order. The last one of several mounts at a place, nodes of a path and variables of a name
/// counts.
///
/// # Errors
/// Which edit cannot be made, and why.
pub fn apply(spec: &mut Value, all: &[&Edits]) -> Result<(), String> {
    for edits in all {
        if !edits.net_devices.is_empty() {
            return Err("network devices are not moved into containers by this runtime".to_owned());
        }
        if edits.intel_rdt.is_some() {
            return Err("Intel RDT is not set up by this runtime".to_owned());
        }
        for entry in &edits.env {
            set_variable(list(spec, "/process", "env"), entry)?;
        }
        for node in &edits.device_nodes {
            add_node(spec, node)?;
        }
        for mount in &edits.mounts {
            add_mount(list(spec, "", "mounts"), mount)?;
        }
        for hook in &edits.hooks {
            add_hook(spec, hook)?;
        }
        for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
            let gids = list(spec, "/process/user", "additionalGids");
            if !gids.iter().any(|known| known == gid) {
                gids.push((*gid).into());
            }
        }
    }
    // Parents before what is inside them; the sort keeps the order of equals.
    let depth =
        |mount: &Value| mount["destination"].as_str().map_or(0, |d| Path::new(d).components().count());
    list(spec, "", "mounts").sort_by_key(depth);
    Ok(())
}

/// The list `key` of the object at `at`, made when there is none.
fn list<'a>(spec: &'a mut Value, at: &str, key: &str) -> &'a mut Vec<Value> {
    let object =
        spec.pointer_mut(at).expect("a specification of ours has a process, a user and a Linux part");
    if !object[key].is_array() {
        object[key] = json!([]);
    }
    object[key].as_array_mut().expect("it is an array")
}

fn set_variable(env: &mut Vec<Value>, entry: &str) -> Result<(), String> {
    let Some((name, _)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(format!("invalid environment variable {entry:?}"));
    };
    if entry.contains('\0') {
        return Err(format!("invalid environment variable {name:?}"));
    }
    let is_same = |known: &Value| {
        known.as_str().and_then(|known| known.split_once('=')).is_some_and(|(n, _)| n == name)
    };
    match env.iter_mut().find(|known| is_same(known)) {
        Some(known) => *known = entry.into(),
        None => env.push(entry.into()),
    }
    Ok(())
}

fn add_node(spec: &mut Value, node: &DeviceNode) -> Result<(), String> {
    // What the OCI library makes.
    if !Path::new(&node.path).starts_with("/dev") || node.path.contains("/../") {
        return Err(format!("device node {:?} is not in /dev", node.path));
    }
    if !node.permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'm')) {
        return Err(format!("device {:?}: invalid permissions {:?}", node.path, node.permissions));
    }
    let (kind, major, minor) = numbers(node)?;
    let process_uid = spec["process"]["user"]["uid"].as_u64().filter(|uid| *uid > 0);
    let process_gid = spec["process"]["user"]["gid"].as_u64().filter(|gid| *gid > 0);
    let nodes = list(spec, "/linux", "devices");
    nodes.retain(|known| known["path"] != node.path.as_str());
    let mut device = json!({
        "path": node.path, "type": kind, "major": major, "minor": minor,
        "fileMode": node.file_mode.unwrap_or(0o666),
    });
    if let Some(uid) = node.uid.map(u64::from).or(process_uid) {
        device["uid"] = uid.into();
    }
    if let Some(gid) = node.gid.map(u64::from).or(process_gid) {
        device["gid"] = gid.into();
    }
    nodes.push(device);
    if kind != "p" {
        let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
        let rule = json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access});
        list(spec, "/linux/resources", "devices").push(rule);
    }
    Ok(())
}

/// A node's type and numbers, as the file says or as the host has it.
fn numbers(node: &DeviceNode) -> Result<(&str, i64, i64), String> {
    if !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
        return Err(format!("device {:?}: invalid type {:?}", node.path, node.kind));
    }
    if !node.kind.is_empty() && (node.major != 0 || node.kind == "p") {
        return Ok((&node.kind, node.major, node.minor));
    }
    let host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let fail = |why: String| format!("failed to stat CDI host device {host:?}: {why}");
    let meta = std::fs::metadata(host).map_err(|error| fail(error.to_string()))?;
    let found = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        kind if kind.is_fifo() => "p",
        _ => return Err(fail("not a device node".to_owned())),
    };
    let wanted = if node.kind == "u" { "c" } else { &node.kind };
    if !wanted.is_empty() && wanted != found {
        return Err(format!(
            "CDI device ({:?}, {host:?}), host type mismatch ({wanted}, {found})",
            node.path
        ));
    }
    let number = |own: i64, hosts: u32| if own == 0 { i64::from(hosts) } else { own };
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Ok((found, number(node.major, major), number(node.minor, minor)))
}

fn add_mount(mounts: &mut Vec<Value>, mount: &Mount) -> Result<(), String> {
    if mount.host_path.is_empty() {
        return Err("invalid mount, empty host path".to_owned());
    }
    if !mount.container_path.starts_with('/') {
        return Err(format!("invalid mount, container path {:?} is not absolute", mount.container_path));
    }
    let mut options = mount.options.clone();
    let is_bind = matches!(mount.kind.as_str(), "" | "bind" | "none");
    if is_bind && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("rbind".to_owned());
    }
    let kind = if is_bind { "bind" } else { &mount.kind };
    mounts.retain(|known| known["destination"] != mount.container_path.as_str());
    mounts.push(json!({
        "destination": mount.container_path, "type": kind, "source": mount.host_path, "options": options,
    }));
    Ok(())
}

fn add_hook(spec: &mut Value, hook: &Hook) -> Result<(), String> {
    if !HOOKS.contains(&hook.hook_name.as_str()) {
        return Err(format!("invalid hook {:?}", hook.hook_name));
    }
    if !hook.path.starts_with('/') {
        return Err(format!("invalid hook {:?}, path {:?} is not absolute", hook.hook_name, hook.path));
    }
    if let Some(entry) = hook.env.iter().find(|entry| !entry.contains('=')) {
        return Err(format!("invalid hook {:?}, environment variable {entry:?}", hook.hook_name));
    }
    let mut written = json!({"path": hook.path, "args": hook.args, "env": hook.env});
    if let Some(timeout) = hook.timeout {
        written["timeout"] = timeout.into();
    }
    if !spec["hooks"].is_object() {
        spec["hooks"] = json!({});
    }
    list(spec, "/hooks", &hook.hook_name).push(written);
    Ok(())
}
