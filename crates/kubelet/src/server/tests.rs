//! The node's API over real TLS and sockets of loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use base::{Shutdown, SystemClock};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use rustls::pki_types::ServerName;
use serving::testing::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::reviews::Identity;
use super::*;
use crate::metrics::running;
use crate::seams::{ContainerHandle, LookupError, PodDirectory};

struct OnePod {
    log: PathBuf,
}

impl PodDirectory for OnePod {
    fn pods(&self) -> Vec<Arc<Pod>> {
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".into());
        vec![Arc::new(pod)]
    }

    fn container(&self, _: &str, pod: &str, name: &str, _: bool) -> Result<ContainerHandle, LookupError> {
        match (pod, name) {
            ("p", "c") => Ok(ContainerHandle { id: "id".into(), running: true, log_path: self.log.clone() }),
            ("p", _) => Err(LookupError::NoContainer { pod: pod.into(), container: name.into() }),
            _ => Err(LookupError::NoPod(pod.into())),
        }
    }

    fn sandbox(&self, _: &str, pod: &str) -> Result<String, LookupError> {
        Err(LookupError::NoSandbox(pod.into()))
    }
}

/// One token, and the rights of a reader of figures.
struct Rights;

#[async_trait::async_trait]
impl Reviews for Rights {
    async fn who(&self, token: &str) -> Result<Option<Identity>, String> {
        match token {
            "figures" => Ok(Some(Identity { user: "reader".into(), ..Identity::default() })),
            "lost" => Err("no API server".into()),
            _ => Ok(None),
        }
    }

    async fn allows(&self, who: &Identity, verb: &str, subresource: &str) -> Result<bool, String> {
        match (who.user.as_str(), verb, subresource) {
            ("reader", "get", "metrics" | "pods" | "healthz") => Ok(true),
            (_, _, "stats") => Err("no API server".into()),
            _ => Ok(who.groups.iter().any(|group| group == "system:masters")),
        }
    }
}

struct Fixture {
    address: SocketAddr,
    authority: Authority,
    shutdown: Shutdown,
    folder: tempfile::TempDir,
    tasks: JoinSet<()>,
}

fn deps(log: PathBuf, shutdown: &Shutdown) -> ServerDeps {
    // Never reached in these tests: nothing here asks the runtime.
    let channel = tonic::transport::Endpoint::from_static("http://localhost").connect_lazy();
    let folder = log.parent().unwrap_or(&log).to_owned();
    let (pods, metrics) = (Arc::new(OnePod { log }), Metrics::default());
    metrics.register_process();
    running::register(&metrics, "n1", pods.clone());
    ServerDeps {
        rates: Default::default(),
        node_name: "n1".into(),
        pods,
        volumes: Arc::new(crate::fakes::FakeVolumes::default()),
        claims: crate::metrics::volumes::Volumes::registered(&metrics),
        system_logs: SystemLogs { folder, files: true, queries: true },
        metrics,
        probe_metrics: Metrics::default(),
        cgroups: PodCgroups::new(cgroup::CgroupMounts::detect().expect("cgroups are mounted"), "/knarr-none"),
        facts: Arc::default(),
        root: PathBuf::from("/"),
        configuration: Configuration { max_pods: 110, ..Configuration::default() },
        runtime: cri::RuntimeServiceClient::new(channel),
        operations: crate::metrics::Metrics::default(),
        clock: Arc::new(SystemClock),
        supervisor: Supervisor::new(shutdown.clone()),
        trusted: Trusted { users: vec!["kube-apiserver-kubelet-client".into()] },
        reviews: Arc::new(Rights),
    }
}

async fn start() -> Fixture {
    let (authority, shutdown) = (Authority::new(), Shutdown::new());
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = authority.issue("node", Some("nodes"));
    let client_ca = authority.pem.as_bytes();
    let tls = tls(Pem { chain: chain.as_bytes(), key: key.as_bytes(), client_ca }).expect("usable");
    let deps = deps(folder.path().join("0.log"), &shutdown);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(address, Arc::new(tls), deps).await.expect("bound");
    let address = server.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run(shutdown.clone()));
    Fixture { address, authority, shutdown, folder, tasks }
}

impl Fixture {
    /// Status and text of a GET, as the client with this certificate.
    async fn get(&mut self, client: Option<(&str, &str)>, path: &str) -> (StatusCode, String) {
        self.get_with(client, None, path).await
    }

    /// The same with a token.
    async fn get_with(
        &mut self,
        client: Option<(&str, &str)>,
        token: Option<&str>,
        path: &str,
    ) -> (StatusCode, String) {
        let shown = client.map(|(user, group)| self.authority.issue(user, Some(group)));
        let config = self.authority.client(shown.as_ref());
        let socket = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        self.tasks.spawn(async move { drop(connection.await) });
        let mut request = Request::get(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).expect("fine");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn end(mut self) {
        self.shutdown.start();
        self.tasks.shutdown().await;
    }
}

const API_SERVER: Option<(&str, &str)> = Some(("kube-apiserver-kubelet-client", "x"));

#[tokio::test]
async fn only_known_clients_are_answered() {
    let mut node = start().await;
    assert_eq!(node.get(None, "/pods").await, (StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()));
    let stranger = Some(("system:node:n2", "system:nodes"));
    let (status, text) = node.get(stranger, "/pods").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(
        text,
        "Forbidden (user=system:node:n2, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
    );
    assert_eq!(node.get(stranger, "/healthz").await.0, StatusCode::FORBIDDEN);
    assert_eq!(node.get(API_SERVER, "/healthz").await, (StatusCode::OK, "ok".to_owned()));
    let (status, text) = node.get(Some(("admin", "system:masters")), "/pods").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"kind\":\"PodList\"") && text.contains("\"name\":\"p\""));
    let metrics = node.get(API_SERVER, "/metrics").await.1;
    assert!(metrics.contains("kubelet_node_name{node=\"n1\"} 1"));
    let (status, resources) = node.get(API_SERVER, "/metrics/resource").await;
    assert_eq!(status, StatusCode::OK);
    for line in
        ["resource_scrape_error 1.0", "node_cpu_usage_seconds_total ", "node_memory_working_set_bytes "]
    {
        assert!(resources.lines().any(|shown| shown.starts_with(line)), "{line} is not in\n{resources}");
    }
    assert_eq!(node.get(API_SERVER, "/metrics/probes").await.0, StatusCode::OK);
    // Nothing without the runtime, which cannot be reached here.
    assert_eq!(node.get(API_SERVER, "/metrics/cadvisor").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, configuration) = node.get(API_SERVER, "/configz").await;
    assert_eq!(status, StatusCode::OK);
    let configuration: serde_json::Value = serde_json::from_str(&configuration).expect("JSON");
    assert_eq!(configuration["kubeletconfig"]["maxPods"], 110);
    base::metrics::strict::read(&metrics, base::metrics::Format::Prometheus).expect("a sound exposition");
    assert!(metrics.contains("\nprocess_resident_memory_bytes "));
    assert_eq!(node.get(API_SERVER, "/configs").await.0, StatusCode::NOT_FOUND);
    node.end().await;
}

#[tokio::test]
async fn tokens_are_reviewed_by_the_api_server() {
    let mut node = start().await;
    for path in ["/metrics", "/pods", "/healthz"] {
        assert_eq!(node.get_with(None, Some("figures"), path).await.0, StatusCode::OK, "{path}");
    }
    let refused = node.get_with(None, Some("figures"), "/configz").await;
    let text = "Forbidden (user=reader, verb=get, resource=nodes, subresource(s)=[configz proxy])\n";
    assert_eq!(refused, (StatusCode::FORBIDDEN, text.to_owned()));
    let (status, text) = node.get_with(None, Some("figures"), "/stats/summary").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text, "Authorization error (user=reader, verb=get, resource=nodes, subresource=stats)");
    for token in ["", "other", "lost"] {
        let answer = node.get_with(None, Some(token), "/metrics").await;
        assert_eq!(answer, (StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()), "{token}");
    }
    // A certificate goes before a token.
    let stranger = Some(("system:node:n2", "system:nodes"));
    let (status, text) = node.get_with(stranger, Some("figures"), "/metrics").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.starts_with("Forbidden (user=system:node:n2, "), "{text}");
    node.end().await;
}

#[tokio::test]
async fn logs_are_served_and_mistakes_named() {
    let mut node = start().await;
    let lines: String =
        (0..3).map(|i| format!("2026-11-21T10:00:0{i}.000000000Z stdout F line {i}\n")).collect();
    std::fs::write(node.folder.path().join("0.log"), lines).expect("written");
    let (status, text) = node.get(API_SERVER, "/containerLogs/ns/p/c?tailLines=2").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "line 1\nline 2\n"));
    assert_eq!(
        node.get(API_SERVER, "/containerLogs/ns/p/c?tailLines=-2").await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let (status, text) = node.get(API_SERVER, "/containerLogs/ns/p/other").await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::NOT_FOUND, "container \"other\" is not valid for pod \"p\"")
    );
    assert_eq!(node.get(API_SERVER, "/containerLogs/ns/gone/c").await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.get(API_SERVER, "/containerLogs/%2e%2e/p/c").await.0, StatusCode::BAD_REQUEST);
    node.end().await;
}

#[tokio::test]
async fn the_machines_logs_are_shown() {
    let mut node = start().await;
    std::fs::create_dir(node.folder.path().join("apt")).expect("made");
    std::fs::write(node.folder.path().join("apt/history.log"), "installed\n").expect("written");
    let (status, page) = node.get(API_SERVER, "/logs/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("<a href=\"apt/\">apt/</a>"), "{page}");
    assert_eq!(node.get(API_SERVER, "/logs/apt").await.0, StatusCode::MOVED_PERMANENTLY);
    let text = "installed\n".to_owned();
    assert_eq!(node.get(API_SERVER, "/logs/apt/history.log").await, (StatusCode::OK, text.clone()));
    assert_eq!(node.get(API_SERVER, "/logs/?query=/apt/history.log").await, (StatusCode::OK, text));
    assert_eq!(node.get(API_SERVER, "/logs/none").await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.get(API_SERVER, "/logs/?query=a;b").await.0, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(node.get(API_SERVER, "/logs/?query=a&tailLines=x").await.0, StatusCode::BAD_REQUEST);
    let refused = node.get(API_SERVER, "/logs/apt/history.log?query=a").await;
    assert_eq!(refused, (StatusCode::NOT_ACCEPTABLE, "path not allowed in query mode".to_owned()));
    assert_eq!(node.get(Some(("system:node:n2", "system:nodes")), "/logs/").await.0, StatusCode::FORBIDDEN);
    // The runtime cannot be reached here.
    assert_eq!(node.get(API_SERVER, "/runningpods/").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    node.end().await;
}

/// A stream server in the manner of a runtime's: takes the upgrade and echoes.
async fn echo(listener: TcpListener) {
    let (mut socket, _) = listener.accept().await.expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a byte"));
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("post /exec/token http/1.1") && head.contains("upgrade: spdy/3.1"), "{head}");
    assert!(!head.contains("authorization"));
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
                  X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    socket.write_all(answer.as_bytes()).await.expect("written");
    let (mut read, mut write) = socket.split();
    tokio::io::copy(&mut read, &mut write).await.expect("echoed");
}

#[tokio::test]
async fn streams_are_passed_through_in_both_directions() {
    let shutdown = Shutdown::new();
    let deps = Arc::new(deps(PathBuf::new(), &shutdown));
    // Streams belong to the supervisor, which outlives every connection.
    let _supervisor = deps.supervisor.clone();
    let runtime = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let url = format!("http://{}/exec/token", runtime.local_addr().expect("an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(runtime));
    let (near, far) = tokio::io::duplex(4096);
    tasks.spawn(async move {
        let service = hyper::service::service_fn(move |request| {
            let (deps, url) = (deps.clone(), url.clone());
            async move { Ok::<_, std::convert::Infallible>(streaming::forward(&deps, Ok(url), request).await) }
        });
        let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        server.with_upgrades().await.expect("served");
    });
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("HTTP");
    tasks.spawn(async move { drop(connection.with_upgrades().await) });
    let request = Request::post("/exec/ns/p/c?command=sh")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("authorization", "Bearer secret")
        .body(Empty::<Bytes>::new())
        .expect("fine");
    let response: Response<_> = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["x-stream-protocol-version"], "v4.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"));
    stream.write_all(b"hello").await.expect("written");
    let mut back = [0u8; 5];
    stream.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"hello");
    // The end of one side reaches the other.
    stream.shutdown().await.expect("closed");
    assert_eq!(stream.read(&mut back).await.expect("the end"), 0);
    shutdown.start();
    tasks.shutdown().await;
}
