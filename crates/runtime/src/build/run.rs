//! `RUN`: a command in a container of the node's own, in a sandbox without a pod.

use std::collections::HashMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base::TaskKind;
use cri::v1::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Mount, NamespaceMode, NamespaceOption,
    PodSandboxConfig, PodSandboxMetadata, SecurityProfile,
};
use dockerfile::Network;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Split};
use tokio::net::unix::pipe;

use super::outcome::{Events, Failure};
use crate::engine::{BUILD_NAMESPACE, Engine, NO_NETWORK};
use crate::image::caches::Held;

/// The shim cuts lines at 16 KiB.
const BUFFER_BYTES: usize = 32 << 10;
/// What a container writes stands behind a time: no line of its is this one.
const LAST_LINE: &[u8] = b"end";
const LAST_LINE_WRITTEN: &[u8] = b"end\n";
const MASKED_PATHS: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The sandboxes of one build, made when they are needed.
pub struct Runner {
    engine: Arc<Engine>,
    build: String,
    sandboxes: Mutex<HashMap<&'static str, String>>,
    /// Held while a sandbox is made.
    making: Arc<tokio::sync::Mutex<()>>,
    /// The caches of the command that runs.
    caches: Mutex<Vec<Held>>,
}

/// One command.
pub struct Command {
    /// The reference of the stage.
    pub image: String,
    pub argv: Vec<String>,
    pub mounts: Vec<Mount>,
    pub network: Network,
    pub step: u32,
}

impl Runner {
    pub fn new(engine: Arc<Engine>, build: String) -> Self {
        Self { engine, build, sandboxes: Mutex::default(), making: Arc::default(), caches: Mutex::default() }
    }

    /// The sandbox of a network and its directory, which is removed with it.
    pub async fn sandbox(&self, network: Network) -> Result<(String, PathBuf), Failure> {
        let kind = match network {
            Network::Default => "default",
            Network::None => "none",
            Network::Host => "host",
        };
        let known = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned();
        let id = match known {
            Some(id) => id,
            None => {
                let id = self.make(self.config(network, kind)).await?;
                self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, id.clone());
                id
            }
        };
        let dir = self.engine.sandbox(&id).map_err(Failure::of)?.dir.clone();
        Ok((id, dir))
    }

    /// Makes a sandbox. The work goes on where the build is cut off: [`Runner::finish`] waits for its end.
    async fn make(&self, config: PodSandboxConfig) -> Result<String, Failure> {
        let making = Arc::clone(&self.making).lock_owned().await;
        let engine = Arc::clone(&self.engine);
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.engine.supervisor().spawn(TaskKind::Background, "build-sandbox", async move {
            let made = engine.run_sandbox(config, String::new()).await;
            drop(making);
            // Nobody waits any more where the build was cut off.
            let _ = done.send(made);
        });
        let made = outcome.await.map_err(|_| Failure::new("the node is stopping"))?;
        made.map_err(Failure::of)
    }

    /// Keeps caches until the command's container is gone.
    pub fn hold(&self, caches: Vec<Held>) {
        *self.caches.lock().unwrap_or_else(PoisonError::into_inner) = caches;
    }

    fn config(&self, network: Network, kind: &str) -> PodSandboxConfig {
        let namespaces = NamespaceOption {
            network: if network == Network::Host { NamespaceMode::Node } else { NamespaceMode::Pod }.into(),
            pid: NamespaceMode::Container.into(),
            ..NamespaceOption::default()
        };
        let security = LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces),
            seccomp: Some(SecurityProfile::default()),
            ..LinuxSandboxSecurityContext::default()
        };
        let none = (network == Network::None).then(|| (NO_NETWORK.to_owned(), "true".to_owned()));
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: format!("build-{kind}"),
                uid: self.build.clone(),
                namespace: BUILD_NAMESPACE.to_owned(),
                attempt: 0,
            }),
            hostname: "build".to_owned(),
            // Logs are named from the root.
            log_directory: "/".to_owned(),
            annotations: none.into_iter().collect(),
            linux: Some(LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() }),
            ..PodSandboxConfig::default()
        }
    }

    /// Runs a command to its end; its exit code and its container, which the caller removes.
    pub async fn run(&self, command: Command, events: &Events) -> Result<(i32, String), Failure> {
        let (sandbox, dir) = self.sandbox(command.network).await?;
        let log = dir.join(format!("build-{}.log", command.step));
        nix::unistd::mkfifo(&log, nix::sys::stat::Mode::from_bits_truncate(0o600)).map_err(Failure::of)?;
        // Open for writing, too: no end of file before the shim has opened it and between its lines.
        let reader = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&log)
            .map_err(Failure::of)?;
        let reader = pipe::Receiver::from_file_unchecked(reader).map_err(Failure::of)?;
        let config = container(&command, &log);
        let id = self.engine.create_container(&sandbox, config).await.map_err(Failure::of)?;
        if let Err(error) = self.engine.start_container(&id).await {
            self.remove(&id).await;
            return Err(Failure::of(error));
        }
        let container = self.engine.container(&id).map_err(Failure::of)?;
        let mut lines = BufReader::with_capacity(BUFFER_BYTES, reader).split(b'\n');
        let ended = container.ended();
        tokio::pin!(ended);
        let exit = loop {
            tokio::select! {
                biased;
                line = read_line(&mut lines) => events.log(command.step, &text_of(&line.map_err(Failure::of)?)).await,
                exit = &mut ended => break exit,
            }
        };
        // The shim writes all before it tells of the end: what follows in the pipe is our own last line.
        let mut writer = pipe::OpenOptions::new().open_sender(&log).map_err(Failure::of)?;
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                line = read_line(&mut lines) => match line.map_err(Failure::of)? {
                    line if line == LAST_LINE => break,
                    line => events.log(command.step, &text_of(&line)).await,
                },
                written = writer.write_all(LAST_LINE_WRITTEN), if !told => {
                    written.map_err(Failure::of)?;
                    told = true;
                }
            }
        }
        Ok((exit.code, id))
    }

    /// Removes a container with what it wrote, and gives its caches back.
    pub async fn remove(&self, container: &str) {
        if let Err(error) = self.engine.remove_container(container).await {
            tracing::warn!(container, %error, "a build's container is left behind");
            return;
        }
        self.hold(Vec::new());
    }

    /// Ends and removes everything.
    pub async fn finish(&self) {
        let _made = self.making.lock().await;
        self.engine.remove_builds(Some(&self.build)).await;
        self.hold(Vec::new());
    }
}

fn container(command: &Command, log: &std::path::Path) -> ContainerConfig {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    let security = LinuxContainerSecurityContext {
        namespace_options: Some(NamespaceOption {
            pid: NamespaceMode::Container.into(),
            network: if command.network == Network::Host { NamespaceMode::Node } else { NamespaceMode::Pod }
                .into(),
            ..NamespaceOption::default()
        }),
        seccomp: Some(SecurityProfile::default()),
        masked_paths: owned(&MASKED_PATHS),
        readonly_paths: owned(&READ_ONLY_PATHS),
        ..LinuxContainerSecurityContext::default()
    };
    let name = format!("step-{}", command.step);
    ContainerConfig {
        metadata: Some(ContainerMetadata { name, attempt: 0 }),
        image: Some(ImageSpec { image: command.image.clone(), ..ImageSpec::default() }),
        command: command.argv.clone(),
        mounts: command.mounts.clone(),
        log_path: log.to_string_lossy().into_owned(),
        linux: Some(LinuxContainerConfig {
            security_context: Some(security),
            ..LinuxContainerConfig::default()
        }),
        ..ContainerConfig::default()
    }
}

/// One line of the log. Cancellation safe.
async fn read_line(lines: &mut Split<BufReader<pipe::Receiver>>) -> std::io::Result<Vec<u8>> {
    Ok(lines.next_segment().await?.unwrap_or_default())
}

/// The text of a log line, `TIME STREAM TAG TEXT`.
fn text_of(line: &[u8]) -> String {
    String::from_utf8_lossy(line).splitn(4, ' ').nth(3).unwrap_or_default().to_owned()
}
