//! The runtime as a binary runs it: an archive goes in by the import socket, a pod runs from it, its streams
//! are served.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, Supervisor, SystemClock, TaskKind};
use cri::v1::*;
use runtime::image::Options;
use runtime::socket::client::import_file;
use runtime::{Config, NetworkConfig, Node, NodeConfig};
use sha2::{Digest, Sha256};
use streaming::StreamingConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn an_imported_image_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = dir.path().join("image.tar");
    write_archive(&archive);
    let config = config(dir.path());
    let supervisor = Supervisor::new(Shutdown::new());
    let node = build(&config, &supervisor).await;
    let (shutdown, ended) = (Shutdown::new(), Shutdown::new());
    let (stop, done) = (shutdown.clone(), ended.clone());
    supervisor.spawn(TaskKind::Background, "node", async move {
        node.run(stop).await.expect("it serves");
        done.start();
    });
    let (mut runtime, mut images) = cri::connect(&config.runtime.socket).await.expect("a connection");
    // An answered call means that everything is served.
    runtime.version(VersionRequest::default()).await.expect("a version");
    let imported = import_file(&config.import_socket, &archive).await.expect("an import");
    assert_eq!(imported.len(), 1);
    let spec = ImageSpec { image: "busybox".to_owned(), ..ImageSpec::default() };
    let request = ImageStatusRequest { image: Some(spec.clone()), verbose: false };
    assert!(images.image_status(request).await.expect("a status").into_inner().image.is_some());
    let options = NamespaceOption { network: NamespaceMode::Node as i32, ..NamespaceOption::default() };
    let sandbox = PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: "p".to_owned(),
            uid: "u".to_owned(),
            ..Default::default()
        }),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(options),
                ..LinuxSandboxSecurityContext::default()
            }),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    };
    let request = RunPodSandboxRequest { config: Some(sandbox), runtime_handler: String::new() };
    let pod_sandbox_id =
        runtime.run_pod_sandbox(request).await.expect("a sandbox").into_inner().pod_sandbox_id;
    let container = ContainerConfig {
        metadata: Some(ContainerMetadata { name: "c".to_owned(), attempt: 0 }),
        image: Some(spec),
        ..ContainerConfig::default()
    };
    let request = CreateContainerRequest { pod_sandbox_id, config: Some(container), sandbox_config: None };
    let container_id =
        runtime.create_container(request).await.expect("a container").into_inner().container_id;
    let request = StartContainerRequest { container_id: container_id.clone() };
    runtime.start_container(request).await.expect("it starts");
    let cmd = vec!["/bin/busybox".to_owned(), "id".to_owned(), "-u".to_owned()];
    let request = ExecSyncRequest { container_id: container_id.clone(), cmd: cmd.clone(), timeout: 10 };
    assert_eq!(runtime.exec_sync(request).await.expect("it runs").into_inner().stdout, b"33\n");
    let request = ExecRequest { container_id, cmd, stdout: true, ..ExecRequest::default() };
    let url = runtime.exec(request).await.expect("an address").into_inner().url;
    assert_eq!(status_line(&url).await, "HTTP/1.1 101 Switching Protocols");
    // A client that listens must not keep the server from ending.
    let _events = runtime.get_container_events(GetEventsRequest {}).await.expect("events");
    shutdown.start();
    ended.started().await;
    drop((runtime, images));
    supervisor.shutdown().start();
    supervisor.drain(Duration::from_secs(5)).await;
    // Containers outlive the server; the next one removes them.
    let supervisor = Supervisor::new(Shutdown::new());
    let node = build(&config, &supervisor).await;
    node.remove_pods().await.expect("everything can be removed");
    supervisor.shutdown().start();
    supervisor.drain(Duration::from_secs(5)).await;
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts can be read");
    assert!(!mounts.contains(&*dir.path().to_string_lossy()), "mounts are left");
}

async fn build(config: &NodeConfig, supervisor: &Supervisor) -> Node {
    Node::build(config.clone(), Arc::new(SystemClock), supervisor.clone()).await.expect("a node's runtime")
}

fn config(dir: &Path) -> NodeConfig {
    NodeConfig {
        runtime: Config {
            root_dir: dir.join("root"),
            state_dir: dir.join("state"),
            socket: dir.join("cri.sock"),
            cgroup_parent: format!("/knarr-whole-{}", std::process::id()),
            shim_command: vec![env!("CARGO_BIN_EXE_knarr-shim").to_owned()],
            network: NetworkConfig { conf_dir: dir.join("cni"), bin_dirs: Vec::new() },
            cdi_dirs: Vec::new(),
        },
        images: Options::new(dir.join("images")),
        streaming: StreamingConfig::default(),
        import_socket: dir.join("import.sock"),
    }
}

/// Asks for an upgrade to WebSocket; what the server says to that.
async fn status_line(url: &str) -> String {
    let rest = url.strip_prefix("http://").expect("an http address");
    let (host, path) = rest.split_once('/').expect("a path");
    let port = host.rsplit(':').next().and_then(|p| p.parse::<u16>().ok()).expect("a port");
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("a connection");
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = vec![0u8; 32];
    stream.read_exact(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// An archive as `docker save` writes it, of an image with busybox that runs as user `web`.
fn write_archive(path: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    let busybox = std::fs::read(crate::node::BUSYBOX).expect("scripts/setup test has fetched busybox");
    add(&mut layer, "bin/busybox", &busybox, 0o755);
    add(&mut layer, "etc/passwd", b"root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n", 0o644);
    let layer = layer.into_inner().expect("a layer");
    let diff_id: String = Sha256::digest(&layer).iter().map(|b| format!("{b:02x}")).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "sleep", "1000"], "User": "web", "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    });
    let manifest =
        serde_json::json!([{"Config": "c.json", "RepoTags": ["busybox:latest"], "Layers": ["l.tar"]}]);
    let mut archive = tar::Builder::new(std::fs::File::create(path).expect("a file"));
    add(&mut archive, "c.json", config.to_string().as_bytes(), 0o644);
    add(&mut archive, "l.tar", &layer, 0o644);
    add(&mut archive, "manifest.json", manifest.to_string().as_bytes(), 0o644);
    archive.finish().expect("an archive");
}

fn add<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, path, content).expect("an entry");
}
