//! What an Ingress costs a request, beside Debian's nginx as a reverse proxy in the same run, where that is installed.
//!
//! Start with [`measure`]. The server behind both is in this process, and so are the clients: what is compared is the
//! proxies' own processor time, and the requests a second that two cores have left for them. `nginx` is the other proxy.

mod nginx;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::connection::{Request, Target};
use crate::load::percentile;
use nginx::Nginx;

const HOST: &str = "bench.example";
const BODY_BYTES: usize = 1024;
const CONNECTIONS: [usize; 2] = [1, 64];
const TIME: Duration = Duration::from_secs(5);
/// Rules beside the one that is used, in so many Ingresses.
pub const RULES: usize = 10_000;
const INGRESSES: usize = 20;
/// For the proxy to hear of its rules.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found.
pub struct Ingress {
    pub rows: Vec<Row>,
}

/// One load.
pub struct Row {
    pub what: String,
    pub knarr: Figures,
    pub nginx: Option<Figures>,
}

/// How a load went.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub requests_per_s: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Of the proxy, in requests for a second of its processor time.
    pub requests_per_cpu_s: f64,
}

/// # Errors
/// When the cluster does not serve an Ingress, or a request fails.
pub async fn measure(cluster: &Cluster, target: &Target) -> Result<Ingress> {
    let mut server = JoinSet::new();
    let listener = TcpListener::bind(("0.0.0.0", 0)).await?;
    let port = listener.local_addr()?.port();
    server.spawn(serve(listener));
    let at = rule(target, port).await?;
    let nginx = Nginx::start(port)?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let beside = match &nginx {
            Some(nginx) => Some(load(nginx.address(), connections, || nginx.cpu_s()).await.context("nginx")?),
            None => None,
        };
        let knarr = load(at, connections, || cluster.cpu_s()).await?;
        let what = format!("GET of {BODY_BYTES} bytes ({connections})");
        rows.push(Row { what, knarr, nginx: beside });
    }
    many_rules(target).await?;
    let connections = CONNECTIONS[1];
    let knarr = load(at, connections, || cluster.cpu_s()).await?;
    rows.push(Row { what: format!("… among {RULES} rules ({connections})"), knarr, nginx: None });
    Ok(Ingress { rows })
}

/// Answers every request with the same bytes.
async fn serve(listener: TcpListener) {
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let body = body.clone();
        connections.spawn(async move {
            let answer = service_fn(|_| {
                let response = Response::new(Full::new(body.clone()));
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that goes is no news.
            let _ = socket.set_nodelay(true);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
    }
}

fn ingress(name: &str, rules: &[Value]) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"ingressClassName": "knarr", "rules": rules}})
}

fn to_service(host: &str, path: &str) -> Value {
    let backend = json!({"service": {"name": "bench", "port": {"number": 80}}});
    json!({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}})
}

const INGRESS_PATH: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";

/// Leads a host to a port of this machine; where it is served.
async fn rule(target: &Target, port: u16) -> Result<SocketAddr> {
    let create = |path: &'static str, object: Value| async move {
        target.ask(Request::json(Method::POST, path, &object)).await
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bench"},
        "spec": {"ports": [{"port": 80}]}});
    create("/api/v1/namespaces/default/services", service).await?;
    create(INGRESS_PATH, ingress("bench", &[to_service(HOST, "/")])).await?;
    let begun = Instant::now();
    let address: IpAddr = loop {
        let ingress = target.ask(Request::plain(Method::GET, format!("{INGRESS_PATH}/bench"))).await?;
        if let Some(ip) = ingress["status"]["loadBalancer"]["ingress"][0]["ip"].as_str() {
            break ip.parse()?;
        }
        ensure!(begun.elapsed() < PATIENCE, "the Ingress has no address; is port 80 taken?");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "bench-server", "labels": {"kubernetes.io/service-name": "bench"}},
        "addressType": "IPv4", "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"port": port}],
    });
    create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await?;
    let at = SocketAddr::new(address, 80);
    wait(at, "/").await?;
    Ok(at)
}

/// Adds rules for the same host and for others.
async fn many_rules(target: &Target) -> Result<()> {
    for part in 0..INGRESSES {
        let numbers = part * RULES / INGRESSES..(part + 1) * RULES / INGRESSES;
        let rules: Vec<Value> = numbers
            .map(|number| match number % 2 {
                0 => to_service(HOST, &format!("/a/path/of/its/own/{number}")),
                _ => to_service(&format!("host-{number}.example"), "/"),
            })
            .collect();
        let object = ingress(&format!("many-{part}"), &rules);
        target.ask(Request::json(Method::POST, INGRESS_PATH, &object)).await?;
    }
    Ok(())
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

async fn connect(at: SocketAddr, connections: &mut JoinSet<()>) -> Result<Sender> {
    let socket = TcpStream::connect(at).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    connections.spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn get(sender: &mut Sender, path: &str) -> Result<bool> {
    let request = hyper::Request::get(path).header("host", HOST).body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let is_fine = response.status().is_success();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(is_fine && body.len() == BODY_BYTES)
}

/// Waits until a path is served.
async fn wait(at: SocketAddr, path: &str) -> Result<()> {
    let begun = Instant::now();
    let mut connections = JoinSet::new();
    while !get(&mut connect(at, &mut connections).await?, path).await? {
        ensure!(begun.elapsed() < PATIENCE, "the rule for {path} is not served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Asks over so many connections for a while.
async fn load(at: SocketAddr, count: usize, cpu: impl Fn() -> Result<f64>) -> Result<Figures> {
    let mut connections = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..count {
        let mut sender = connect(at, &mut connections).await?;
        ensure!(get(&mut sender, "/").await?, "the first request of a connection failed");
        senders.push(sender);
    }
    let (before, begun) = (cpu()?, Instant::now());
    let mut workers = JoinSet::new();
    for mut sender in senders {
        workers.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < TIME {
                let sent = Instant::now();
                ensure!(get(&mut sender, "/some/path?and=query").await?, "a request failed");
                took.push(sent.elapsed());
            }
            Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(worker) = workers.join_next().await {
        took.extend(worker??);
    }
    let (elapsed, used) = (begun.elapsed().as_secs_f64(), cpu()? - before);
    let requests = took.len() as f64;
    Ok(Figures {
        requests_per_s: requests / elapsed,
        p50: percentile(&mut took, 50),
        p99: percentile(&mut took, 99),
        requests_per_cpu_s: requests / used.max(f64::EPSILON),
    })
}
