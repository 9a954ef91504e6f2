//! The `process` of a specification: program, arguments, environment, identity.

use cri::v1::{ContainerConfig, LinuxContainerSecurityContext, SupplementalGroupsPolicy};
use serde_json::{Value, json};

use super::capabilities::Granted;
use super::user::{Identity, Wanted};
use super::{Inputs, SpecError};
use crate::rootfs::Image;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn init_process(
    inputs: &Inputs<'_>,
    context: &LinuxContainerSecurityContext,
    granted: &Granted,
) -> Result<Value, SpecError> {
    let config = inputs.config;
    let args = command(config, inputs.image);
    if args.is_empty() {
        return Err(SpecError::NoCommand);
    }
    let identity = identity(inputs, context)?;
    let mut process = json!({
        "terminal": config.tty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.additional_gids},
        "args": args,
        "env": environment(config, inputs.image, inputs.hostname, inputs.accounts.home(identity.uid)),
        "cwd": working_dir(config, inputs.image)?,
        "capabilities": {
            "bounding": granted.held,
            "effective": granted.held,
            "permitted": granted.held,
            "inheritable": granted.ambient,
            "ambient": granted.ambient,
        },
    });
    // Absent rather than false: false makes the OCI library load seccomp filters too late.
    if context.no_new_privs {
        process["noNewPrivileges"] = true.into();
    }
    Ok(process)
}

/// What loading a seccomp filter and then dropping capabilities takes.
const TO_CONFINE: [&str; 2] = ["CAP_SETPCAP", "CAP_SYS_ADMIN"];

/// The `process` of a further program in the container of `spec`.
///
/// Where a seccomp filter is to be loaded it holds more than it keeps: the shim drops that again before the
/// program runs.
pub fn exec_process(spec: &Value, command: &[String], tty: bool) -> Value {
    let mut process = spec["process"].clone();
    process["args"] = json!(command);
    process["terminal"] = tty.into();
    if tty
        && let Some(env) = process["env"].as_array_mut()
        && !env.iter().any(|e| e.as_str().is_some_and(|e| e.starts_with("TERM=")))
    {
        env.push("TERM=xterm".into());
    }
    if !spec["linux"]["seccomp"].is_null() && process["noNewPrivileges"].is_null() {
        for set in ["bounding", "effective", "permitted"] {
            let Some(held) = process["capabilities"][set].as_array_mut() else { continue };
            for name in TO_CONFINE {
                if !held.iter().any(|h| h == name) {
                    held.push(name.into());
                }
            }
        }
    }
    process
}

/// Kubernetes' rule: a command replaces the image's entrypoint and, with it, the image's arguments.
fn command(config: &ContainerConfig, image: &Image) -> Vec<String> {
    match (config.command.is_empty(), config.args.is_empty()) {
        (true, true) => [image.entrypoint.as_slice(), &image.cmd].concat(),
        (true, false) => [image.entrypoint.as_slice(), &config.args].concat(),
        (false, _) => [config.command.as_slice(), &config.args].concat(),
    }
}

/// Later entries win: defaults, the image's, the client's. `HOME` is the account's where nobody sets it.
fn environment(config: &ContainerConfig, image: &Image, hostname: &str, home: &str) -> Vec<String> {
    let mut env: Vec<String> = Vec::with_capacity(config.envs.len() + image.env.len() + 3);
    let mut set = |entry: String| {
        let Some((key, _)) = entry.split_once('=') else { return };
        // Such entries can't reach a program.
        if key.is_empty() || entry.contains('\0') {
            return;
        }
        let prefix_len = key.len() + 1;
        match env.iter_mut().find(|e| e.as_bytes().get(..prefix_len) == Some(&entry.as_bytes()[..prefix_len]))
        {
            Some(existing) => *existing = entry,
            None => env.push(entry),
        }
    };
    set(DEFAULT_PATH.to_owned());
    set(format!("HOSTNAME={hostname}"));
    if config.tty {
        set("TERM=xterm".to_owned());
    }
    image.env.iter().cloned().for_each(&mut set);
    config.envs.iter().map(|e| format!("{}={}", e.key, e.value)).for_each(&mut set);
    match env.iter_mut().find(|entry| entry.starts_with("HOME=")) {
        Some(empty) if empty == "HOME=" => empty.push_str(home),
        Some(_) => {}
        None => env.push(format!("HOME={home}")),
    }
    env
}

fn working_dir(config: &ContainerConfig, image: &Image) -> Result<String, SpecError> {
    let wanted = if config.working_dir.is_empty() { &image.working_dir } else { &config.working_dir };
    match wanted.as_str() {
        "" => Ok("/".to_owned()),
        path if path.starts_with('/') => Ok(path.to_owned()),
        path => Err(SpecError::Invalid(format!("the working directory {path:?} is not absolute"))),
    }
}

fn identity(inputs: &Inputs<'_>, context: &LinuxContainerSecurityContext) -> Result<Identity, SpecError> {
    let number = |what: &str, value: i64| {
        u32::try_from(value).map_err(|_| SpecError::Invalid(format!("{what} {value} is out of range")))
    };
    let user = match &context.run_as_user {
        Some(uid) => number("user id", uid.value)?.to_string(),
        None if !context.run_as_username.is_empty() => context.run_as_username.clone(),
        None => inputs.image.user.clone(),
    };
    if context.run_as_group.is_some() && context.run_as_user.is_none() && context.run_as_username.is_empty() {
        return Err(SpecError::Invalid("user group is specified without user".to_owned()));
    }
    let group = context.run_as_group.as_ref().map(|g| number("group id", g.value)).transpose()?;
    let strict = context.supplemental_groups_policy == SupplementalGroupsPolicy::Strict as i32;
    Ok(inputs.accounts.resolve(&Wanted {
        user: &user,
        group,
        supplemental: &context.supplemental_groups,
        strict,
    })?)
}
