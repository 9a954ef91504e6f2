//! What the cluster's DNS takes for an answer, beside Debian's unbound in the same run, where that is installed.
//!
//! Start with [`measure`]. Both are asked for the names of the same Services over the same sockets, each with one question
//! under way; unbound has them as local data, its fastest source. `unbound` is the other server.

mod unbound;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::connection::{Request, Target};
use crate::load::percentile;
use unbound::Unbound;

/// Names that are asked for in turns.
pub const NAMES: usize = 200;
/// Questions under way at once.
const SOCKETS: [usize; 2] = [1, 64];
const TIME: Duration = Duration::from_secs(5);
/// For the server to hear of its names.
const PATIENCE: Duration = Duration::from_secs(60);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What was found.
pub struct Dns {
    pub rows: Vec<Row>,
}

/// One load.
pub struct Row {
    pub what: String,
    pub knarr: Figures,
    pub unbound: Option<Figures>,
}

/// How a load went.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub answers_per_s: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Of the server, in answers for a second of its processor time.
    pub answers_per_cpu_s: f64,
}

/// A name and its address.
struct Name {
    name: String,
    address: Ipv4Addr,
}

/// # Errors
/// When the cluster's DNS does not know its Services, or a question stays without its answer.
pub async fn measure(cluster: &Cluster, target: &Target) -> Result<Dns> {
    let (server, names) = services(target).await?;
    wait(server, &names).await?;
    let unbound = Unbound::start(names.iter().map(|name| (name.name.as_str(), name.address)))?;
    let questions: Vec<Vec<u8>> = names.iter().map(|name| question(&name.name)).collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for sockets in SOCKETS {
        let beside = match &unbound {
            Some(unbound) => Some(
                load(unbound.address(), &questions, sockets, || unbound.cpu_s()).await.context("unbound")?,
            ),
            None => None,
        };
        let knarr = load(server, &questions, sockets, || cluster.cpu_s()).await?;
        rows.push(Row { what: format!("A records of {NAMES} Services ({sockets})"), knarr, unbound: beside });
    }
    Ok(Dns { rows })
}

/// Makes the Services; where the cluster's DNS is, and what it has to know.
async fn services(target: &Target) -> Result<(SocketAddr, Vec<Name>)> {
    const PATH: &str = "/api/v1/namespaces/default/services";
    let mut names = Vec::new();
    for number in 0..NAMES {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("name-{number}")},
            "spec": {"ports": [{"port": 80}]}});
        let made = target.ask(Request::json(Method::POST, PATH, &object)).await?;
        let address = made["spec"]["clusterIP"].as_str().context("a Service has no address")?.parse()?;
        names.push(Name { name: format!("name-{number}.default.svc.cluster.local"), address });
    }
    let dns =
        target.ask(Request::plain(Method::GET, "/api/v1/namespaces/kube-system/services/kube-dns")).await?;
    let address: IpAddr = dns["spec"]["clusterIP"].as_str().context("kube-dns has no address")?.parse()?;
    Ok((SocketAddr::new(address, 53), names))
}

/// A question for the A records of a name, without its number.
fn question(name: &str) -> Result<Vec<u8>> {
    /// One question, recursion desired; after the number.
    const HEAD: [u8; 10] = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    /// A, IN.
    const TAIL: [u8; 5] = [0, 0, 1, 0, 1];
    let mut bytes = vec![0, 0];
    bytes.extend(HEAD);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).context("a label is too long")?);
        bytes.extend(label.as_bytes());
    }
    bytes.extend(TAIL);
    Ok(bytes)
}

/// Asks once; whether there is an answer with an address in it, and that it is the one wanted.
async fn ask(socket: &UdpSocket, question: &mut [u8], number: u16) -> Result<Option<[u8; 4]>> {
    question[..2].copy_from_slice(&number.to_be_bytes());
    let mut answer = [0; 1232];
    let asked = async {
        socket.send(question).await?;
        let length = socket.recv(&mut answer).await?;
        ensure!(answer[..2] == number.to_be_bytes(), "an answer to another question came");
        Ok(length)
    };
    let length = tokio::time::timeout(ANSWER, asked).await.context("a question has no answer")??;
    let (code, answers) = (answer[3] & 0x0f, u16::from_be_bytes([answer[6], answer[7]]));
    // An address stands at the end of its record; what follows the record (EDNS) was not asked for.
    let address = answer[..length].last_chunk().filter(|_| code == 0 && answers == 1);
    Ok(address.copied())
}

async fn socket(server: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Waits until every name has its address.
async fn wait(server: SocketAddr, names: &[Name]) -> Result<()> {
    let (begun, socket) = (Instant::now(), socket(server).await?);
    for name in names {
        let mut question = question(&name.name)?;
        while ask(&socket, &mut question, 1).await? != Some(name.address.octets()) {
            ensure!(begun.elapsed() < PATIENCE, "{} is not known with its address", name.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// Asks over so many sockets for a while.
async fn load(
    server: SocketAddr,
    questions: &[Vec<u8>],
    sockets: usize,
    cpu: impl Fn() -> Result<f64>,
) -> Result<Figures> {
    let mut workers = JoinSet::new();
    let (before, begun) = (cpu()?, Instant::now());
    for first in 0..sockets {
        let (socket, mut questions) = (socket(server).await?, questions.to_vec());
        workers.spawn(async move {
            let (mut took, mut number) = (Vec::new(), first);
            while begun.elapsed() < TIME {
                let index = number % questions.len();
                let sent = Instant::now();
                let answer = ask(&socket, &mut questions[index], number as u16).await?;
                ensure!(answer.is_some(), "a name is not known");
                took.push(sent.elapsed());
                number += 1;
            }
            Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(worker) = workers.join_next().await {
        took.extend(worker??);
    }
    let (elapsed, used) = (begun.elapsed().as_secs_f64(), cpu()? - before);
    let answers = took.len() as f64;
    Ok(Figures {
        answers_per_s: answers / elapsed,
        p50: percentile(&mut took, 50),
        p99: percentile(&mut took, 99),
        answers_per_cpu_s: answers / used.max(f64::EPSILON),
    })
}
