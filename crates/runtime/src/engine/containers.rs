//! Making, starting, stopping and removing containers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cgroup::Limits;
use cri::v1::{ContainerConfig, ContainerEventType, ContainerState, LinuxContainerResources, NamespaceMode};

use super::container::{Container, Life};
use super::{Engine, EngineError, Sandbox, new_id};
use crate::cdi;
use crate::records::{ContainerRecord, Record};
use crate::rootfs::{Image, Overlay};
use crate::shim_link::ShimError;
use crate::spec::{self, Inputs, Namespaces, PidNamespace, PodFiles, user::AccountFiles};
use shim::files::write_json;
use shim::protocol::{CONTAINERS_DIR, ContainerSetup, EXIT_FILE, Exit, Op, Reply, SETUP_FILE, Started};

/// How long a killed container may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(30);
/// What other runtimes report for a program that could not be started.
const START_FAILURE_CODE: i32 = 128;

impl Engine {
    /// Makes a container in a ready sandbox; its id. Nothing runs yet.
    pub async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, EngineError> {
        let sandbox = self.sandbox(sandbox_id)?;
        sandbox.known().await;
        if !sandbox.is_ready() {
            return Err(EngineError::State(format!("sandbox container {:?} is not running", sandbox.id)));
        }
        let wanted = config.image.as_ref().map_or("", |i| i.image.as_str());
        let image = self.deps.rootfs.image(wanted).await?;
        let id = new_id();
        let record = ContainerRecord {
            id: id.clone(),
            created_at_ns: self.now_ns(),
            image_id: image.id.clone(),
            image_ref: if image.digest_reference.is_empty() {
                image.id.clone()
            } else {
                image.digest_reference.clone()
            },
            stop_signal: stop_signal(&image.stop_signal)?,
            cgroup: format!(
                "{}/{id}",
                sandbox.cgroup_parent(&self.config.cgroup_parent).trim_end_matches('/')
            ),
            log_path: log_path(&sandbox.config.log_directory, &config.log_path),
            identity: None,
            start_failure: None,
            config,
        };
        let dir = sandbox.dir.join(CONTAINERS_DIR).join(&id);
        let container = Arc::new(Container::new(Arc::clone(&sandbox), dir, record, Life::default()));
        self.reserve_name(&container.unique_name(), &id)?;
        if let Err(error) = self.prepare(&container, &image).await {
            self.release_name(&container.unique_name());
            self.discard(&container).await;
            return Err(error);
        }
        self.registry_mut().containers.insert(id.clone(), Arc::clone(&container));
        self.announce(ContainerEventType::ContainerCreatedEvent, &id, &sandbox);
        Ok(id)
    }

    async fn prepare(&self, container: &Container, image: &Image) -> Result<(), EngineError> {
        fs::create_dir_all(&container.dir)?;
        let overlay = self.deps.rootfs.prepare(&image.id, &container.id).await?;
        let mounted = self.mount_images(container).await?;
        let setup = self.write_spec(container, image, overlay, &mounted)?;
        write_json(&container.dir.join(SETUP_FILE), &setup)?;
        // Last: a directory without a record is not a container.
        container.record().save(&container.dir)?;
        Ok(())
    }

    fn write_spec(
        &self,
        container: &Container,
        image: &Image,
        overlay: Overlay,
        mounted_images: &[PathBuf],
    ) -> Result<ContainerSetup, EngineError> {
        let (sandbox, config) = (&container.sandbox, &container.config);
        let namespaces = self.namespaces(sandbox, config)?;
        let kill_cgroup_on_exit = namespaces.pid != PidNamespace::Own;
        let record = container.record().clone();
        let file = |name: &str| Some(sandbox.dir.join(name));
        let mut spec = spec::container(&Inputs {
            config,
            image,
            accounts: &AccountFiles::read(&overlay.lower)?,
            hierarchy: &self.hierarchy,
            capabilities: &self.capabilities,
            cgroup: &record.cgroup,
            hostname: &sandbox.hostname(),
            namespaces,
            pod_files: PodFiles {
                resolv_conf: file("resolv.conf"),
                hostname: file("hostname"),
                hosts: file("hosts"),
                shm: (!sandbox.on_host_ipc()).then(|| sandbox.shm()),
            },
            mounted_images,
            image_volumes: image_volumes(&self.config.volumes_dir(&container.id), container, image)?,
        })?;
        let devices: Vec<String> = config.cdi_devices.iter().map(|device| device.name.clone()).collect();
        cdi::inject(&mut spec, &devices, &self.config.cdi_dirs)?;
        write_json(&container.dir.join("config.json"), &spec)?;
        container.record().identity = spec::identity(&spec);
        let resources = config.linux.as_ref().and_then(|l| l.resources.as_ref());
        Ok(ContainerSetup {
            overlay,
            log_path: (!record.log_path.is_empty()).then_some(record.log_path),
            tty: config.tty,
            stdin: config.stdin,
            stdin_once: config.stdin_once,
            cgroup: record.cgroup,
            oom_score_adj: resources.and_then(|r| i32::try_from(r.oom_score_adj).ok()),
            kill_cgroup_on_exit,
        })
    }

    fn namespaces(&self, sandbox: &Sandbox, config: &ContainerConfig) -> Result<Namespaces, EngineError> {
        let pause = sandbox.state().pause_pid.ok_or_else(|| {
            EngineError::State(format!("sandbox container {:?} is not running", sandbox.id))
        })?;
        let of_pause = |kind: &str| format!("/proc/{pause}/ns/{kind}");
        let options = spec::security_context(config).namespace_options.unwrap_or_default();
        let pid = match NamespaceMode::try_from(options.pid) {
            Ok(NamespaceMode::Pod) if sandbox.namespaces().pid == NamespaceMode::Pod as i32 => {
                PidNamespace::Join(of_pause("pid"))
            }
            Ok(NamespaceMode::Node) => PidNamespace::Host,
            Ok(NamespaceMode::Target) => {
                let target = self.container(&options.target_id)?;
                let started = target.life().started.filter(|_| target.is_running());
                let started = started.ok_or_else(|| {
                    EngineError::State(format!("target container {:?} is not running", target.id))
                })?;
                PidNamespace::Join(format!("/proc/{}/ns/pid", started.pid))
            }
            _ => PidNamespace::Own,
        };
        let host_network = sandbox.on_host_network();
        Ok(Namespaces {
            net: (!host_network).then(|| sandbox.netns().to_string_lossy().into_owned()),
            ipc: (!sandbox.on_host_ipc()).then(|| of_pause("ipc")),
            uts: (!host_network).then(|| of_pause("uts")),
            pid,
        })
    }

    /// Starts a container that was made.
    ///
    /// # Errors
    /// [`EngineError::Payload`] when its program can't be run; the container counts as exited then.
    pub async fn start_container(&self, id: &str) -> Result<(), EngineError> {
        let container = self.container(id)?;
        container.sandbox.known().await;
        let _one = container.gate.lock().await;
        let state = container.life().state();
        if state != ContainerState::ContainerCreated {
            return Err(EngineError::State(format!("container is in {} state", state.as_str_name())));
        }
        if !container.sandbox.is_ready() {
            return Err(EngineError::State(format!(
                "sandbox container {:?} is not running",
                container.sandbox.id
            )));
        }
        let link = container.sandbox.link()?;
        match link.request(Op::Start { container: container.id.clone() }, &[]).await {
            Ok((Reply::Started(started), _)) => {
                container.set_started(started);
                self.announce(ContainerEventType::ContainerStartedEvent, &container.id, &container.sandbox);
                Ok(())
            }
            Ok(_) => Err(EngineError::State("the shim gave a wrong answer".to_owned())),
            Err(error) => {
                if matches!(error, ShimError::Gone | ShimError::Stuck) {
                    // It may have been forked before that.
                    self.end_shim(&container.sandbox.id, &container.sandbox.dir).await;
                    self.end_unwatched(&container, false).await;
                }
                let error = EngineError::from_start(error);
                container.update(|record| record.start_failure = Some(error.to_string()))?;
                let exit = Exit { code: START_FAILURE_CODE, oom_killed: false, at_ns: self.now_ns() };
                write_json(&container.dir.join(EXIT_FILE), &exit)?;
                self.container_ended(&container, None, exit);
                Err(error)
            }
        }
    }

    /// The container has ended.
    pub(super) fn container_ended(&self, container: &Container, started: Option<Started>, exit: Exit) {
        if container.set_exit(started, exit) {
            self.announce(ContainerEventType::ContainerStoppedEvent, &container.id, &container.sandbox);
        }
    }

    /// Asks a container to end, and kills it after `timeout`. Stopping what doesn't run is fine.
    pub async fn stop_container(&self, id: &str, timeout: Duration) -> Result<(), EngineError> {
        let container = match self.container(id) {
            Ok(container) => container,
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if !container.is_running() {
            return Ok(());
        }
        let signal = container.record().stop_signal;
        if !timeout.is_zero() {
            let ended = async {
                let op = Op::Signal { container: container.id.clone(), signal, everything: false };
                unless_gone(container.sandbox.link()?.request(op, &[]).await.map(drop))?;
                container.ended().await;
                Ok::<(), ShimError>(())
            };
            match tokio::time::timeout(timeout, ended).await {
                Ok(Ok(())) => return Ok(()),
                // A signal that cannot be sent is no reason to let the container run on.
                Ok(Err(error)) => {
                    tracing::warn!(container = %container.id, %error, "a container cannot be asked to end: it is killed");
                }
                Err(_) => {}
            }
        }
        self.kill(&container).await
    }

    async fn kill(&self, container: &Container) -> Result<(), EngineError> {
        let op = Op::Signal { container: container.id.clone(), signal: libc::SIGKILL, everything: true };
        match unless_gone(container.sandbox.link()?.request_end(op).await) {
            Ok(()) => {}
            Err(error @ (ShimError::Stuck | ShimError::Io(_))) => {
                self.give_up_shim(&container.sandbox, &error).await;
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::timeout(KILL_PATIENCE, container.ended()).await.map(drop).map_err(|_| {
            EngineError::Timeout(format!(
                "an error occurs during waiting for container {:?} to be killed",
                container.id
            ))
        })
    }

    /// Removes a container, killing it first where needed.
    pub async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        let container = match self.container(id) {
            Ok(container) => container,
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let _one = container.gate.lock().await;
        if container.is_running() {
            self.kill(&container).await?;
        }
        if let Ok(link) = container.sandbox.link() {
            // Unknown to the shim if it never started; a shim that has ended needs no message.
            let _ = link.request_end(Op::Forget { container: container.id.clone() }).await;
        }
        self.discard(&container).await;
        self.registry_mut().containers.remove(&container.id);
        self.release_name(&container.unique_name());
        self.announce(ContainerEventType::ContainerDeletedEvent, &container.id, &container.sandbox);
        Ok(())
    }

    /// Removes the files of a container that doesn't run.
    pub(super) async fn discard(&self, container: &Container) {
        self.unmount_images(container).await;
        let cgroup = container.record().cgroup.clone();
        if let Err(error) = self.hierarchy.remove(&cgroup) {
            tracing::warn!(container = %container.id, %error, "a cgroup is left behind");
        }
        if let Err(error) = self.deps.rootfs.remove(&container.id).await {
            tracing::warn!(container = %container.id, %error, "a writable layer is left behind");
        }
        for dir in [&container.dir, &self.config.volumes_dir(&container.id)] {
            if let Err(error) = super::sandboxes::remove_tree(dir) {
                tracing::warn!(container = %container.id, %error, "files are left behind");
            }
        }
    }

    /// Changes the limits of a container.
    pub async fn update_resources(
        &self,
        id: &str,
        wanted: &LinuxContainerResources,
    ) -> Result<(), EngineError> {
        let container = self.container(id)?;
        let _one = container.gate.lock().await;
        container.update(|record| {
            let linux = record.config.linux.get_or_insert_default();
            merge_resources(linux.resources.get_or_insert_default(), wanted);
        })?;
        if container.is_running() {
            let cgroup = container.record().cgroup.clone();
            self.hierarchy.set_limits(&cgroup, &limits_of(wanted))?;
        }
        Ok(())
    }

    /// Goes on in a new log file after a rotation.
    pub async fn reopen_log(&self, id: &str) -> Result<(), EngineError> {
        let container = self.container(id)?;
        if !container.is_running() {
            return Err(EngineError::State("container is not running".to_owned()));
        }
        container.sandbox.link()?.request(Op::ReopenLog { container: container.id.clone() }, &[]).await?;
        Ok(())
    }
}

fn log_path(directory: &str, path: &str) -> String {
    if directory.is_empty() || path.is_empty() {
        return String::new();
    }
    PathBuf::from(directory).join(path).to_string_lossy().into_owned()
}

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3` or `SIGRTMAX-1`; SIGTERM for nothing.
pub(crate) fn stop_signal(name: &str) -> Result<i32, EngineError> {
    use std::str::FromStr;
    if name.is_empty() {
        return Ok(libc::SIGTERM);
    }
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |from: &str, sign: char| plain.strip_prefix(from)?.strip_prefix(sign)?.parse::<i32>().ok();
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let real_time = match plain {
        "RTMIN" => Some(first),
        "RTMAX" => Some(last),
        _ => offset("RTMIN", '+')
            .map(|by| first.saturating_add(by))
            .or_else(|| offset("RTMAX", '-').map(|by| last.saturating_sub(by)))
            .filter(|number| *number >= first),
    };
    let named = || nix::sys::signal::Signal::from_str(&format!("SIG{plain}")).ok().map(|s| s as i32);
    let number = name.parse().ok().or(real_time).or_else(named);
    number
        .filter(|number| (1..=last).contains(number))
        .ok_or_else(|| EngineError::Invalid(format!("failed to parse stop signal {name:?}")))
}

/// A directory for each path the image declares and the client doesn't mount.
fn image_volumes(
    base: &Path,
    container: &Container,
    image: &Image,
) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut made = Vec::new();
    for (index, path) in image.volumes.iter().enumerate() {
        if !path.starts_with('/') || container.config.mounts.iter().any(|m| m.container_path == *path) {
            continue;
        }
        let dir = base.join(index.to_string());
        fs::create_dir_all(&dir)?;
        made.push((path.clone(), dir));
    }
    Ok(made)
}

/// The code that notices a lost shim ends its containers.
fn unless_gone(result: Result<(), ShimError>) -> Result<(), ShimError> {
    match result {
        Err(ShimError::Gone) => Ok(()),
        other => other,
    }
}

fn limits_of(wanted: &LinuxContainerResources) -> Limits {
    Limits {
        cpu_shares: wanted.cpu_shares,
        cpu_period_us: wanted.cpu_period,
        cpu_quota_us: wanted.cpu_quota,
        memory_bytes: wanted.memory_limit_in_bytes,
        cpuset_cpus: wanted.cpuset_cpus.clone(),
        cpuset_mems: wanted.cpuset_mems.clone(),
    }
}

fn merge_resources(now: &mut LinuxContainerResources, wanted: &LinuxContainerResources) {
    let set = |to: &mut i64, from: i64| {
        if from != 0 {
            *to = from;
        }
    };
    set(&mut now.cpu_period, wanted.cpu_period);
    set(&mut now.cpu_quota, wanted.cpu_quota);
    set(&mut now.cpu_shares, wanted.cpu_shares);
    set(&mut now.memory_limit_in_bytes, wanted.memory_limit_in_bytes);
    set(&mut now.memory_swap_limit_in_bytes, wanted.memory_swap_limit_in_bytes);
    set(&mut now.oom_score_adj, wanted.oom_score_adj);
    for (to, from) in
        [(&mut now.cpuset_cpus, &wanted.cpuset_cpus), (&mut now.cpuset_mems, &wanted.cpuset_mems)]
    {
        if !from.is_empty() {
            to.clone_from(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_have_names_and_numbers() {
        let names = [("", 15), ("SIGQUIT", 3), ("quit", 3), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)];
        for (name, number) in names {
            assert_eq!(stop_signal(name).ok(), Some(number), "{name}");
        }
        for name in ["SIGNOTHING", "0", "-1", "65", "SIGRTMIN+31", "SIGRTMIN+2147483647", "RTMAX-31"] {
            assert!(stop_signal(name).is_err(), "{name}");
        }
    }
}
