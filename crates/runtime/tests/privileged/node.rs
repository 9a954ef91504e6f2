//! A runtime of a test's own: directories, socket, cgroup and network plugin that nobody else uses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::{Shutdown, Supervisor, SystemClock, TaskKind};
use cri::RuntimeServiceClient;
use cri::v1::image_service_server::ImageService;
use cri::v1::*;
use runtime::rootfs::{Image, Overlay, Rootfs, RootfsError, Usage};
use runtime::{Config, Deps, NetworkConfig, Server, StreamUrls};
use streaming::{Stdio, StreamBackend};
use tonic::{Request, Response, Status};

static NUMBER: AtomicU32 = AtomicU32::new(0);
const PLUGIN: &str = r#"#!/bin/sh
echo "$CNI_COMMAND" >> "${0%/*}/calls"
[ "$CNI_COMMAND" = ADD ] && echo '{"ips":[{"address":"10.88.0.5/24"}]}'
exit 0
"#;

/// A running runtime.
pub struct Node {
    dir: tempfile::TempDir,
    config: Config,
    supervisor: Option<Supervisor>,
    backend: Option<Arc<dyn StreamBackend>>,
    pub runtime: RuntimeServiceClient,
}

impl Node {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let bin = dir.path().join("cni");
        std::fs::create_dir_all(&bin).expect("a folder");
        std::fs::write(bin.join("fake"), PLUGIN).expect("a plugin");
        std::fs::set_permissions(bin.join("fake"), PermissionsExt::from_mode(0o755)).expect("an executable");
        let conf = r#"{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"fake"}]}"#;
        std::fs::write(bin.join("10-test.conflist"), conf).expect("a configuration");
        make_image(&dir.path().join("image"));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let config = Config {
            root_dir: dir.path().join("root"),
            state_dir: dir.path().join("state"),
            socket: dir.path().join("cri.sock"),
            cgroup_parent: format!("/knarr-test-{}-{number}", std::process::id()),
            shim_command: vec![env!("CARGO_BIN_EXE_knarr-shim").to_owned()],
            network: NetworkConfig { conf_dir: bin.clone(), bin_dirs: vec![bin] },
            cdi_dirs: vec![dir.path().join("cdi")],
        };
        let (supervisor, backend, runtime) = serve(&config, dir.path()).await;
        Self { dir, config, supervisor: Some(supervisor), backend: Some(backend), runtime }
    }

    /// As if the server were killed and started again.
    pub async fn restart(&mut self) {
        self.kill_server();
        let (supervisor, backend, runtime) = serve(&self.config, self.dir.path()).await;
        (self.supervisor, self.backend, self.runtime) = (Some(supervisor), Some(backend), runtime);
    }

    pub fn kill_server(&mut self) {
        // Its tasks are aborted where they stand.
        self.backend = None;
        self.supervisor = None;
    }

    pub fn backend(&self) -> &Arc<dyn StreamBackend> {
        self.backend.as_ref().expect("the server runs")
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.logs().join(name)).unwrap_or_default()
    }

    pub fn cni_calls(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("cni/calls")).unwrap_or_default()
    }

    /// A cgroup's file, whichever version the machine has.
    pub fn cgroup_file(&self, v1: (&str, &str), v2: &str, cgroup: &str) -> String {
        let base = Path::new("/sys/fs/cgroup");
        let path = if base.join("cgroup.controllers").exists() {
            base.join(cgroup.trim_start_matches('/')).join(v2)
        } else {
            base.join(v1.0).join(cgroup.trim_start_matches('/')).join(v1.1)
        };
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// Removes everything and checks that nothing is left.
    pub async fn finish(mut self) {
        self.kill_server();
        let supervisor = Supervisor::new(Shutdown::new());
        let server = Server::build(&self.config, deps(&supervisor, self.dir.path())).expect("a runtime");
        server.remove_everything().await.expect("everything can be removed");
        supervisor.shutdown().start();
        supervisor.drain(Duration::from_secs(5)).await;
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts can be read");
        let left: Vec<&str> = mounts.lines().filter(|m| m.contains(&dir)).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        let cgroups = cgroup_dirs(&self.config.cgroup_parent);
        assert!(cgroups.is_empty(), "cgroups are left: {cgroups:?}");
        let shims = processes_in(&self.config.state_dir);
        assert!(shims.is_empty(), "shims are left: {shims:?}");
        let layers = std::fs::read_dir(self.dir.path().join("layers")).map_or(0, Iterator::count);
        assert_eq!(layers, 0, "writable layers are left");
    }

    pub async fn run_sandbox(&mut self, name: &str, adapt: impl FnOnce(&mut PodSandboxConfig)) -> String {
        let config = self.sandbox_config(name, adapt);
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        self.runtime.run_pod_sandbox(request).await.expect("a sandbox").into_inner().pod_sandbox_id
    }

    pub fn sandbox_config(&self, name: &str, adapt: impl FnOnce(&mut PodSandboxConfig)) -> PodSandboxConfig {
        let mut config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            log_directory: self.logs().to_string_lossy().into_owned(),
            dns_config: Some(DnsConfig { servers: vec!["10.96.0.10".to_owned()], ..DnsConfig::default() }),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(own_pids()),
                    ..LinuxSandboxSecurityContext::default()
                }),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        };
        adapt(&mut config);
        config
    }

    /// Makes a container that runs a shell script.
    pub async fn create(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
        adapt: impl FnOnce(&mut ContainerConfig),
    ) -> Result<String, Status> {
        let mut config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: "test".to_owned(), ..ImageSpec::default() }),
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            log_path: format!("{name}.log"),
            ..ContainerConfig::default()
        };
        adapt(&mut config);
        let context = config.linux.get_or_insert_default().security_context.get_or_insert_default();
        context.namespace_options.get_or_insert_with(own_pids);
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: None,
        };
        self.runtime.create_container(request).await.map(|r| r.into_inner().container_id)
    }

    pub async fn start_container(&mut self, id: &str) -> Result<(), Status> {
        self.runtime.start_container(StartContainerRequest { container_id: id.to_owned() }).await.map(drop)
    }

    /// Makes and starts a container that runs a shell script.
    pub async fn run(&mut self, sandbox: &str, name: &str, script: &str) -> String {
        let id = self.create(sandbox, name, script, |_| {}).await.expect("a container");
        self.start_container(&id).await.expect("it starts");
        id
    }

    pub async fn status(&mut self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        self.runtime.container_status(request).await.expect("a status").into_inner().status.expect("a status")
    }

    /// Waits until the container has ended, by the runtime's events.
    pub async fn wait_exit(&mut self, id: &str) -> ContainerStatus {
        let mut events =
            self.runtime.get_container_events(GetEventsRequest {}).await.expect("events").into_inner();
        loop {
            let status = self.status(id).await;
            if status.state == ContainerState::ContainerExited as i32 {
                return status;
            }
            let next = tokio::time::timeout(Duration::from_secs(20), events.message()).await;
            next.expect("an event in time").expect("an event").expect("more events");
        }
    }

    /// Runs a shell script in a container.
    pub async fn exec(&mut self, id: &str, script: &str) -> ExecSyncResponse {
        let cmd = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: 20 };
        self.runtime.exec_sync(request).await.expect("it runs").into_inner()
    }

    pub async fn exec_text(&mut self, id: &str, script: &str) -> String {
        let out = self.exec(id, script).await;
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    pub async fn sandbox_info(&mut self, id: &str) -> (PodSandboxStatus, serde_json::Value) {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer = self.runtime.pod_sandbox_status(request).await.expect("a status").into_inner();
        let info =
            answer.info.get("info").map(|i| serde_json::from_str(i).expect("JSON")).unwrap_or_default();
        (answer.status.expect("a status"), info)
    }
}

/// What the kubelet asks for unless a pod shares its processes; the CRI's own default is sharing.
fn own_pids() -> NamespaceOption {
    NamespaceOption { pid: NamespaceMode::Container as i32, ..NamespaceOption::default() }
}

impl Drop for Node {
    /// After a failed test: whatever still runs is killed.
    fn drop(&mut self) {
        self.kill_server();
        let mut pids: Vec<i32> = processes_in(&self.config.state_dir);
        for dir in cgroup_dirs(&self.config.cgroup_parent) {
            for cgroup in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let listed = std::fs::read_to_string(cgroup.path().join("cgroup.procs")).unwrap_or_default();
                pids.extend(listed.lines().filter_map(|l| l.parse::<i32>().ok()));
            }
        }
        for pid in pids.into_iter().filter_map(rustix::process::Pid::from_raw) {
            // It may be gone by now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

async fn serve(config: &Config, dir: &Path) -> (Supervisor, Arc<dyn StreamBackend>, RuntimeServiceClient) {
    let supervisor = Supervisor::new(Shutdown::new());
    let server = Server::build(config, deps(&supervisor, dir)).expect("a runtime");
    let backend = server.stream_backend();
    let shutdown = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Essential, "runtime", async move {
        server.run(NoImages, Arc::new(NoStreams), shutdown).await.expect("the runtime serves");
    });
    let (runtime, _) = cri::connect(&config.socket).await.expect("a connection");
    (supervisor, backend, runtime)
}

fn deps(supervisor: &Supervisor, dir: &Path) -> Deps {
    let rootfs = Arc::new(TestRootfs { lower: dir.join("image"), layers: dir.join("layers") });
    Deps { rootfs, clock: Arc::new(SystemClock), supervisor: supervisor.clone() }
}

/// A static busybox, Debian's.
pub const BUSYBOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/busybox-static");

fn make_image(root: &Path) {
    std::fs::create_dir_all(root.join("bin")).expect("a folder");
    std::fs::create_dir_all(root.join("etc")).expect("a folder");
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("scripts/setup test has fetched busybox");
    for name in [
        "sh", "sleep", "cat", "echo", "id", "ls", "ps", "hostname", "mount", "kill", "head", "dd", "nc",
        "grep", "mkdir", "stty", "wc", "tty", "unshare", "true",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
        .expect("a file");
    std::fs::write(root.join("etc/group"), "root:x:0:\nwww:x:34:\nextra:x:50:web\n").expect("a file");
}

fn cgroup_dirs(cgroup: &str) -> Vec<PathBuf> {
    let relative = cgroup.trim_start_matches('/');
    let base = Path::new("/sys/fs/cgroup");
    let tops = std::fs::read_dir(base).expect("cgroups are mounted");
    let mut all: Vec<PathBuf> = tops.filter_map(|e| Some(e.ok()?.path().join(relative))).collect();
    all.push(base.join(relative));
    all.retain(|p| p.exists());
    all
}

/// Processes whose working directory lies in `dir`.
fn processes_in(dir: &Path) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("processes can be listed");
    let cwd = |p: &Path| std::fs::read_link(p.join("cwd")).ok();
    processes
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| cwd(p).is_some_and(|c| c.starts_with(dir)))
        .filter_map(|p| p.file_name()?.to_str()?.parse().ok())
        .collect()
}

struct TestRootfs {
    lower: PathBuf,
    layers: PathBuf,
}

#[async_trait]
impl Rootfs for TestRootfs {
    async fn image(&self, reference: &str) -> Result<Image, RootfsError> {
        if reference != "test" {
            return Err(RootfsError::ImageNotFound(reference.to_owned()));
        }
        Ok(Image { id: "sha256:test".to_owned(), env: vec!["PATH=/bin".to_owned()], ..Image::default() })
    }

    async fn prepare(&self, _: &str, container_id: &str) -> Result<Overlay, RootfsError> {
        let base = self.layers.join(container_id);
        let (upper, work) = (base.join("upper"), base.join("work"));
        for dir in [&upper, &work] {
            std::fs::create_dir_all(dir)
                .map_err(|source| RootfsError::Io { context: "a layer".to_owned(), source })?;
        }
        Ok(Overlay { lower: vec![self.lower.clone()], upper, work })
    }

    async fn remove(&self, container_id: &str) -> Result<(), RootfsError> {
        // There may be none.
        let _ = std::fs::remove_dir_all(self.layers.join(container_id));
        Ok(())
    }

    async fn usage(&self, _: &str) -> Result<Usage, RootfsError> {
        Ok(Usage::default())
    }

    async fn containers(&self) -> Result<Vec<String>, RootfsError> {
        let Ok(entries) = std::fs::read_dir(&self.layers) else { return Ok(Vec::new()) };
        Ok(entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect())
    }
}

struct NoStreams;

impl StreamUrls for NoStreams {
    fn exec(&self, _: &str, _: &[String], _: Stdio) -> Result<String, Status> {
        Err(Status::unimplemented("no streams here"))
    }
    fn attach(&self, _: &str, _: Stdio) -> Result<String, Status> {
        Err(Status::unimplemented("no streams here"))
    }
    fn port_forward(&self, _: &str, _: &[u16]) -> Result<String, Status> {
        Err(Status::unimplemented("no streams here"))
    }
}

struct NoImages;

#[tonic::async_trait]
impl ImageService for NoImages {
    async fn list_images(
        &self,
        _: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        Ok(Response::new(ListImagesResponse::default()))
    }
    async fn image_status(
        &self,
        _: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        Ok(Response::new(ImageStatusResponse::default()))
    }
    async fn pull_image(&self, _: Request<PullImageRequest>) -> Result<Response<PullImageResponse>, Status> {
        Err(Status::not_found("no images here"))
    }
    async fn remove_image(
        &self,
        _: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        Ok(Response::new(RemoveImageResponse::default()))
    }
    async fn image_fs_info(
        &self,
        _: Request<ImageFsInfoRequest>,
    ) -> Result<Response<ImageFsInfoResponse>, Status> {
        Ok(Response::new(ImageFsInfoResponse::default()))
    }
}

/// Labels for tests that select by them.
pub fn labels(pairs: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
    let sorted: BTreeMap<&str, &str> = pairs.iter().copied().collect();
    sorted.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
