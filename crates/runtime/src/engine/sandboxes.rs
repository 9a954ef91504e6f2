//! Making and ending sandboxes.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cri::v1::{ContainerEventType, DnsConfig, NamespaceMode, PodSandboxConfig, PodSandboxMetadata};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

use super::{BUILD_NAMESPACE, Engine, EngineError, NO_NETWORK, Sandbox, new_id, sysctl};
use crate::cni::Pod;
use crate::netns;
use crate::records::{Phase, Record, SandboxRecord};
use crate::shim_link::{ShimError, ShimLink};
use shim::files::{write_json, write_whole};
use shim::protocol::{CONTAINERS_DIR, Op, POD_FILE, PodSetup, Reply};

/// As other runtimes make it for each pod.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";

impl Engine {
    /// Makes a sandbox and waits until it is ready; its id.
    ///
    /// # Errors
    /// Nothing of it is left then.
    pub async fn run_sandbox(
        self: &Arc<Self>,
        config: PodSandboxConfig,
        runtime_handler: String,
    ) -> Result<String, EngineError> {
        if !runtime_handler.is_empty() && runtime_handler != "runc" && runtime_handler != "knarr" {
            return Err(EngineError::Invalid(format!("no runtime for {runtime_handler:?} is configured")));
        }
        if config.metadata.as_ref().is_none_or(|m| m.name.is_empty() || m.uid.is_empty()) {
            return Err(EngineError::Invalid("the sandbox config has no metadata".to_owned()));
        }
        sysctl::check(&config)?;
        let id = new_id();
        let record = SandboxRecord {
            id: id.clone(),
            created_at_ns: self.now_ns(),
            runtime_handler,
            phase: Phase::Creating,
            ips: Vec::new(),
            config,
        };
        let sandbox = Arc::new(Sandbox::new(self.config.sandbox_dir(&id), record));
        self.reserve_name(&sandbox.unique_name(), &id)?;
        // A client that hangs up must not leave half a sandbox: the work goes on without it.
        let (engine, work) = (Arc::clone(self), Arc::clone(&sandbox));
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.deps.supervisor.spawn(base::TaskKind::Background, "run-sandbox", async move {
            let made = engine.make_sandbox(&work).await;
            if made.is_err() {
                engine.tear_down(&work).await;
                engine.release_name(&work.unique_name());
                if let Err(error) = remove_tree(&work.dir) {
                    tracing::warn!(sandbox = %work.id, %error, "a failed sandbox leaves files behind");
                }
            }
            // Nobody waits any more: the client finds the sandbox in the list.
            let _ = done.send(made);
        });
        outcome.await.map_err(|_| EngineError::State("the runtime is stopping".to_owned()))??;
        Ok(id)
    }

    async fn make_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<(), EngineError> {
        fs::create_dir_all(sandbox.dir.join(CONTAINERS_DIR))?;
        sandbox.state().record.save(&sandbox.dir)?;
        write_pod_files(sandbox)?;
        write_json(&sandbox.dir.join(POD_FILE), &self.pod_setup(sandbox))?;
        if !sandbox.on_host_network() {
            netns::create(&sandbox.netns()).await?;
        }
        let (ips, pause_pid) = tokio::try_join!(self.connect(sandbox), self.start_shim(sandbox))?;
        sandbox.set_pause(pause_pid);
        sandbox.update(|record| {
            record.ips = ips;
            record.phase = Phase::Running;
        })?;
        self.registry_mut().sandboxes.insert(sandbox.id.clone(), Arc::clone(sandbox));
        if sandbox.link()?.is_closed() {
            // It died before its sandbox could be found: nobody else has noticed.
            self.registry_mut().sandboxes.remove(&sandbox.id);
            return Err(ShimError::Gone.into());
        }
        self.announce(ContainerEventType::ContainerCreatedEvent, &sandbox.id, sandbox);
        self.announce(ContainerEventType::ContainerStartedEvent, &sandbox.id, sandbox);
        Ok(())
    }

    fn pod_setup(&self, sandbox: &Sandbox) -> PodSetup {
        let host_network = sandbox.on_host_network();
        PodSetup {
            netns: (!host_network).then(|| sandbox.netns().to_string_lossy().into_owned()),
            own_ipc: !sandbox.on_host_ipc(),
            // As other runtimes: on the host's network the host's name is used.
            own_uts: !host_network,
            shared_pid: sandbox.namespaces().pid == NamespaceMode::Pod as i32,
            hostname: sandbox.hostname(),
            sysctls: sandbox
                .config
                .linux
                .iter()
                .flat_map(|l| l.sysctls.iter().map(|(k, v)| (k.clone(), v.clone())))
                .collect(),
            shim_cgroup: self.config.shim_cgroup(&sandbox.id),
        }
    }

    async fn connect(&self, sandbox: &Sandbox) -> Result<Vec<String>, EngineError> {
        if sandbox.on_host_network() || sandbox.config.annotations.contains_key(NO_NETWORK) {
            return Ok(Vec::new());
        }
        let metadata = sandbox.metadata();
        let (netns, record) = (sandbox.netns(), sandbox.cni_record());
        let (name, namespace) = pod_name(&metadata);
        let pod = Pod {
            sandbox_id: &sandbox.id,
            name,
            namespace,
            uid: &metadata.uid,
            netns: &netns,
            record: &record,
            capabilities: cni_capabilities(&sandbox.config),
        };
        self.cni
            .add(&pod)
            .await
            .map_err(|source| EngineError::Network { sandbox: sandbox.id.clone(), source })
    }

    async fn disconnect(&self, sandbox: &Sandbox) -> Result<(), EngineError> {
        let metadata = sandbox.metadata();
        let (netns, record) = (sandbox.netns(), sandbox.cni_record());
        if sandbox.config.annotations.contains_key(NO_NETWORK) {
            return Ok(netns::remove(&netns)?);
        }
        let (name, namespace) = pod_name(&metadata);
        let pod = Pod {
            sandbox_id: &sandbox.id,
            name,
            namespace,
            uid: &metadata.uid,
            netns: &netns,
            record: &record,
            capabilities: Value::Null,
        };
        self.cni
            .del(&pod)
            .await
            .map_err(|source| EngineError::Network { sandbox: sandbox.id.clone(), source })?;
        netns::remove(&netns)?;
        Ok(())
    }

    async fn start_shim(&self, sandbox: &Sandbox) -> Result<Option<i32>, EngineError> {
        let link = ShimLink::spawn(
            &self.config.shim_command,
            &sandbox.dir,
            &sandbox.id,
            &self.deps.supervisor,
            &self.notices,
        )?;
        sandbox.set_link(link.clone());
        match link.request(Op::State, &[]).await? {
            (Reply::State(state), _) => Ok(state.pause_pid),
            _ => Err(EngineError::State("the shim gave a wrong answer".to_owned())),
        }
    }

    /// Ends everything in the sandbox and gives its network back. Stopping again is fine.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), EngineError> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            // The CRI wants stopping to be repeatable, even after removal.
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let _one = sandbox.gate.lock().await;
        self.stop(&sandbox).await
    }

    async fn stop(&self, sandbox: &Arc<Sandbox>) -> Result<(), EngineError> {
        if sandbox.state().record.phase == Phase::Stopped {
            return Ok(());
        }
        self.end_processes(sandbox).await;
        self.end_cgroup(&self.config.shim_cgroup(&sandbox.id)).await;
        self.disconnect(sandbox).await?;
        unmount(&sandbox.shm());
        sandbox.update(|record| record.phase = Phase::Stopped)?;
        self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, sandbox);
        Ok(())
    }

    /// Has the shim kill all and end; waits for the containers' ends to be known.
    pub(super) async fn end_processes(&self, sandbox: &Arc<Sandbox>) {
        if let Ok(link) = sandbox.link() {
            match link.request_end(Op::Shutdown).await {
                // What a shim that is gone has left is ended when that is noticed.
                Ok(()) | Err(ShimError::Gone) => {}
                Err(error) => self.give_up_shim(sandbox, &error).await,
            }
        }
        sandbox.set_pause(None);
        for container in self.containers_of(sandbox).into_iter().filter(|c| c.is_running()) {
            container.ended().await;
        }
    }

    /// Ends a shim that does not do what it is asked, and so the pod: what is left of the pod is ended when the shim's
    /// end is noticed.
    pub(super) async fn give_up_shim(&self, sandbox: &Sandbox, error: &ShimError) {
        tracing::warn!(sandbox = %sandbox.id, %error, "a shim is killed");
        self.end_shim(&sandbox.id, &sandbox.dir).await;
    }

    /// Removes a sandbox with its containers, stopping it first where needed.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), EngineError> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let _one = sandbox.gate.lock().await;
        self.stop(&sandbox).await?;
        for container in self.containers_of(&sandbox) {
            self.remove_container(&container.id).await?;
        }
        remove_tree(&sandbox.dir)?;
        self.registry_mut().sandboxes.remove(&sandbox.id);
        self.release_name(&sandbox.unique_name());
        self.announce(ContainerEventType::ContainerDeletedEvent, &sandbox.id, &sandbox);
        Ok(())
    }

    /// Removes the sandboxes of one build, or those that builds of an earlier process left.
    pub async fn remove_builds(&self, build: Option<&str>) {
        let sandboxes: Vec<_> = self.registry().sandboxes.values().cloned().collect();
        for sandbox in &sandboxes {
            let metadata = sandbox.metadata();
            if metadata.namespace != BUILD_NAMESPACE || build.is_some_and(|build| build != metadata.uid) {
                continue;
            }
            if let Err(error) = self.remove_sandbox(&sandbox.id).await {
                tracing::warn!(sandbox = %sandbox.id, %error, "a build's sandbox is left behind");
            }
        }
    }

    /// Undoes whatever there is of a sandbox that never became one.
    pub(super) async fn tear_down(&self, sandbox: &Arc<Sandbox>) {
        if let Err(error) = self.disconnect(sandbox).await {
            tracing::warn!(sandbox = %sandbox.id, %error, "the network of a failed sandbox is not given back");
            if let Err(error) = netns::remove(&sandbox.netns()) {
                tracing::warn!(sandbox = %sandbox.id, %error, "a network namespace is left behind");
            }
        }
        self.end_processes(sandbox).await;
        self.end_cgroup(&self.config.shim_cgroup(&sandbox.id)).await;
        unmount(&sandbox.shm());
    }
}

/// The pod that a sandbox's network belongs to; a build has none that anybody could wait for.
fn pod_name(metadata: &PodSandboxMetadata) -> (&str, &str) {
    match metadata.namespace.as_str() {
        BUILD_NAMESPACE => ("", ""),
        namespace => (metadata.name.as_str(), namespace),
    }
}

fn cni_capabilities(config: &PodSandboxConfig) -> Value {
    let ports: Vec<Value> = config
        .port_mappings
        .iter()
        .filter(|p| p.host_port > 0)
        .map(|p| {
            let protocol = match p.protocol {
                1 => "udp",
                2 => "sctp",
                _ => "tcp",
            };
            json!({"hostPort": p.host_port, "containerPort": p.container_port, "protocol": protocol, "hostIP": p.host_ip})
        })
        .collect();
    json!({"portMappings": ports})
}

fn write_pod_files(sandbox: &Sandbox) -> io::Result<()> {
    let hostname = sandbox.hostname();
    write_whole(&sandbox.dir.join("hostname"), format!("{hostname}\n").as_bytes())?;
    let hosts = if sandbox.on_host_network() {
        fs::read("/etc/hosts").unwrap_or_default()
    } else {
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n")
            .into_bytes()
    };
    write_whole(&sandbox.dir.join("hosts"), &hosts)?;
    let resolv_conf = match &sandbox.config.dns_config {
        Some(dns) => resolv_conf(dns).into_bytes(),
        None => fs::read("/etc/resolv.conf").unwrap_or_default(),
    };
    write_whole(&sandbox.dir.join("resolv.conf"), &resolv_conf)?;
    if !sandbox.on_host_ipc() {
        let shm = sandbox.shm();
        fs::create_dir_all(&shm)?;
        let flags = MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("shm", &shm, "tmpfs", flags, SHM_OPTIONS)?;
    }
    Ok(())
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

fn unmount(path: &Path) {
    match rustix::mount::unmount(path, UnmountFlags::DETACH) {
        // Not there, or not mounted.
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot unmount"),
    }
}

/// Removes a sandbox's directory, and first whatever a process killed at the wrong moment left mounted in it.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let inside =
        |line: &str| line.split(' ').nth(1).map(std::path::PathBuf::from).filter(|p| p.starts_with(dir));
    let mut points: Vec<_> = mounts.lines().filter_map(inside).collect();
    points.sort();
    for point in points.iter().rev() {
        unmount(point);
    }
    match base::remove_tree(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_has_what_the_client_wants() {
        let dns = DnsConfig {
            servers: vec!["10.0.0.10".to_owned()],
            searches: vec!["a.svc".to_owned(), "svc".to_owned()],
            options: vec!["ndots:5".to_owned()],
        };
        assert_eq!(resolv_conf(&dns), "search a.svc svc\nnameserver 10.0.0.10\noptions ndots:5\n");
        assert_eq!(resolv_conf(&DnsConfig::default()), "");
    }
}
