//! The server's sockets: who is answered, and how many connections it keeps.

mod rules;

use std::io;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use base::{Supervisor, TaskKind};
use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RecordType};
use informer::Cache;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;

/// Any name of the cluster's domain that stands for nothing.
fn question() -> Vec<u8> {
    question_of("gone", None)
}

/// Asks for the addresses of a Service, with the version of EDNS and the payload that the client takes.
fn question_of(service: &str, edns: Option<(u8, u16)>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_str(&format!("{service}.default.svc.cluster.local.")).expect("a name");
    message.add_query(Query::query(name, RecordType::A));
    message.edns = edns.map(|(version, payload)| {
        let mut edns = Edns::new();
        edns.set_version(version).set_max_payload(payload);
        edns
    });
    message.to_vec().expect("encoded")
}

fn code(answer: &[u8]) -> ResponseCode {
    Message::from_vec(answer).expect("a message").metadata.response_code
}

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("the test writes objects")
}

/// Of the Service `large`: their addresses take 16 bytes each.
const ENDPOINTS: usize = 100;

async fn start() -> (SocketAddr, Supervisor) {
    let (server, supervisor, _) = start_with(None).await;
    (server, supervisor)
}

/// With metrics shown at an address of this machine, if any; the view that answers are made from.
async fn start_with(metrics: Option<SocketAddr>) -> (SocketAddr, Supervisor, View) {
    let config = DnsConfig {
        resolv_conf: RESOLV_CONF.into(),
        // No connection of a client takes a port of this address.
        listen: (Ipv4Addr::new(127, 0, 1, 1), 0).into(),
        domain: "cluster.local".to_owned(),
        ranges: Vec::new(),
        clients: vec!["127.0.0.0/25".parse().expect("a range")],
        metrics,
        corefile: default_corefile("cluster.local"),
    };
    let view = View { services: Cache::new(), slices: Cache::new() };
    view.services.apply(read(json!({
        "metadata": {"name": "large", "namespace": "default"}, "spec": {"clusterIP": "None"}})));
    let endpoints: Vec<_> =
        (1..=ENDPOINTS).map(|n| json!({"addresses": [format!("10.244.0.{n}")]})).collect();
    view.slices.apply(read(json!({
        "metadata": {"name": "large-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "large"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": []})));
    let dns = Dns::bind(config, view.clone(), None).await.expect("bound");
    let (address, supervisor) = (dns.local_addr().expect("an address"), Supervisor::new(Shutdown::new()));
    supervisor.spawn(TaskKind::Essential, "dns", dns.run(supervisor.shutdown().clone()));
    (address, supervisor, view)
}

async fn end(supervisor: Supervisor) {
    supervisor.shutdown().start();
    supervisor.drain(Duration::from_secs(10)).await;
}

/// A connection from 127.0.0.`host`.
async fn connect(host: u8, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).expect("a loopback address");
    socket.connect(server).await.expect("connected")
}

async fn send(connection: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut framed = u16::try_from(message.len()).expect("short").to_be_bytes().to_vec();
    framed.extend(message);
    connection.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(connection.read_u16().await?)];
    connection.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn ask(connection: &mut TcpStream) -> io::Result<ResponseCode> {
    send(connection, &question()).await.map(|answer| code(&answer))
}

async fn ask_udp(server: SocketAddr) -> ResponseCode {
    code(&exchange_udp(server, &question()).await)
}

async fn exchange_udp(server: SocketAddr, question: &[u8]) -> Vec<u8> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    socket.send_to(question, server).await.expect("sent");
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer).await.expect("answered");
    answer.truncate(length);
    answer
}

/// The addresses in an answer, and its number.
fn addresses(answer: &[u8]) -> (u16, Vec<String>) {
    let message = Message::from_vec(answer).expect("a message");
    (message.metadata.id, message.answers.iter().map(|record| record.data.to_string()).collect())
}

#[tokio::test]
async fn an_answer_is_given_again_until_something_changes() {
    let metrics = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let metrics = metrics.expect("a free port");
    let (server, supervisor, view) = start_with(Some(metrics)).await;
    let put = |ip: &str| {
        view.services.apply(read(json!({
            "metadata": {"name": "web", "namespace": "default", "resourceVersion": "0"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip]}})));
    };
    let ask = async |number: u16, name: &str| {
        let mut question = question_of(name, None);
        question[..2].copy_from_slice(&number.to_be_bytes());
        exchange_udp(server, &question).await
    };
    let has = |number: u16, ip: &str| (number, vec![ip.to_owned()]);
    assert_eq!(code(&ask(1, "web").await), ResponseCode::NXDomain);
    assert_eq!(code(&ask(2, "web").await), ResponseCode::NXDomain);
    put("10.96.0.7");
    let first = ask(3, "web").await;
    assert_eq!(addresses(&first), has(3, "10.96.0.7"), "that there was none is not remembered");
    let second = ask(4, "web").await;
    assert_eq!(addresses(&second), has(4, "10.96.0.7"));
    assert_eq!(first[2..], second[2..]);
    let mut shouted = question_of("web", None);
    shouted.iter_mut().for_each(|byte| byte.make_ascii_uppercase());
    let letters = exchange_udp(server, &shouted).await;
    assert!(String::from_utf8_lossy(&letters).contains("WEB"), "a client's letters come back");
    put("10.96.0.8");
    assert_eq!(addresses(&ask(6, "web").await), has(6, "10.96.0.8"));
    view.services.objects().remove(&informer::Key::new("default", "web"));
    assert_eq!(code(&ask(7, "web").await), ResponseCode::NXDomain);
    let mut scraper = TcpStream::connect(metrics).await.expect("connected");
    scraper
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: dns\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut text = String::new();
    scraper.read_to_string(&mut text).await.expect("answered");
    let line = |wanted: &str| text.lines().find(|line| line.starts_with(wanted)).unwrap_or(wanted).to_owned();
    assert!(line("coredns_dns_requests_total{").ends_with(" 7"), "{text}");
    assert!(line("coredns_dns_request_duration_seconds_count{").ends_with(" 7"), "{text}");
    end(supervisor).await;
}

#[tokio::test]
async fn a_client_gets_as_much_by_udp_as_it_takes_and_the_rest_by_tcp() {
    let (server, supervisor) = start().await;
    let large = async |edns| {
        let bytes = exchange_udp(server, &question_of("large", edns)).await;
        let message = Message::from_vec(&bytes).expect("a message");
        let payload = message.edns.as_ref().map(Edns::max_payload);
        (bytes.len(), message.metadata.truncation, message.answers.len(), payload)
    };
    let (length, is_cut, answers, payload) = large(None).await;
    assert!(length <= 512 && is_cut && answers < ENDPOINTS && payload.is_none(), "{length} {answers}");
    let (length, is_cut, answers, payload) = large(Some((0, 1232))).await;
    assert!(length <= 1232 && is_cut && answers > 30 && payload == Some(1232), "{length} {answers}");
    let (_, is_cut, answers, payload) = large(Some((0, 65_000))).await;
    assert!(!is_cut && answers == ENDPOINTS && payload == Some(4096), "{answers}");
    let whole = send(&mut connect(1, server).await, &question_of("large", None)).await.expect("answered");
    let whole = Message::from_vec(&whole).expect("a message");
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, ENDPOINTS));
    let newer = exchange_udp(server, &question_of("large", Some((1, 1232)))).await;
    // BADVERS, whose number BADSIG has as well.
    assert_eq!(u16::from(code(&newer)), 16);
    end(supervisor).await;
}

#[tokio::test]
async fn each_answer_begins_with_another_address() {
    let (server, supervisor) = start().await;
    let mut connection = connect(1, server).await;
    let mut first = Vec::new();
    for _ in 0..3 {
        let answer = send(&mut connection, &question_of("large", None)).await.expect("answered");
        let answer = Message::from_vec(&answer).expect("a message");
        first.push(answer.answers[0].data.to_string());
    }
    assert_eq!(first, ["10.244.0.1", "10.244.0.2", "10.244.0.3"]);
    end(supervisor).await;
}

/// `count` connections of one client that have been answered.
async fn answered(host: u8, count: usize, server: SocketAddr) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = connect(host, server).await;
        assert_eq!(ask(&mut connection).await.expect("answered"), ResponseCode::NXDomain);
        connections.push(connection);
    }
    connections
}

#[tokio::test]
async fn a_clients_connections_beyond_its_limit_are_closed_and_the_others_answered() {
    let (server, supervisor) = start().await;
    let mut open = answered(1, tcp::CLIENT_CONNECTIONS, server).await;
    ask(&mut connect(1, server).await).await.expect_err("one more is closed");
    assert_eq!(ask(&mut open[0]).await.expect("still answered"), ResponseCode::NXDomain);
    assert_eq!(ask(&mut connect(2, server).await).await.expect("another's"), ResponseCode::NXDomain);
    assert_eq!(ask_udp(server).await, ResponseCode::NXDomain);
    // The place is free once the server has seen the end.
    drop(open.pop());
    while ask(&mut connect(1, server).await).await.is_err() {}
    end(supervisor).await;
}

#[tokio::test]
async fn connections_of_all_clients_beyond_the_limit_are_closed_and_the_others_answered() {
    let (server, supervisor) = start().await;
    let mut open = Vec::new();
    for host in 1..=tcp::CONNECTIONS / tcp::CLIENT_CONNECTIONS {
        let host = u8::try_from(host).expect("few");
        open.extend(answered(host, tcp::CLIENT_CONNECTIONS, server).await);
    }
    ask(&mut connect(100, server).await).await.expect_err("one more is closed");
    for connection in &mut open {
        assert_eq!(ask(connection).await.expect("still answered"), ResponseCode::NXDomain);
    }
    assert_eq!(ask_udp(server).await, ResponseCode::NXDomain);
    end(supervisor).await;
}

#[tokio::test]
async fn who_is_no_client_is_not_served_over_tcp() {
    let (server, supervisor) = start().await;
    ask(&mut connect(200, server).await).await.expect_err("closed");
    end(supervisor).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_an_error_and_the_connection_goes_on() {
    let (server, supervisor) = start().await;
    let mut connection = connect(1, server).await;
    // A header that announces a question which does not follow.
    let answer = send(&mut connection, &question()[..12]).await.expect("answered");
    assert_eq!(code(&answer), ResponseCode::FormErr);
    assert_eq!(ask(&mut connection).await.expect("answered"), ResponseCode::NXDomain);
    end(supervisor).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends() {
    let (server, supervisor) = start().await;
    let mut connection = answered(1, 1, server).await.pop().expect("one");
    assert_eq!(connection.read(&mut [0; 1]).await.expect("closed in order"), 0);
    end(supervisor).await;
}
