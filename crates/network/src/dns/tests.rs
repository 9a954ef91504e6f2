//! The server's sockets: who is answered, and how many connections it keeps.

use std::io;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use base::{Supervisor, TaskKind};
use hickory_server::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RecordType};
use informer::Cache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;

/// Any name of the cluster's domain that stands for nothing.
fn question() -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_str("gone.default.svc.cluster.local.").expect("a name");
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().expect("encoded")
}

fn code(answer: &[u8]) -> ResponseCode {
    Message::from_vec(answer).expect("a message").metadata.response_code
}

async fn start() -> (SocketAddr, Supervisor) {
    let config = DnsConfig {
        // No connection of a client takes a port of this address.
        listen: (Ipv4Addr::new(127, 0, 1, 1), 0).into(),
        domain: "cluster.local".to_owned(),
        ranges: Vec::new(),
        clients: vec!["127.0.0.0/25".parse().expect("a range")],
        resolv_conf: PathBuf::from("/nonexistent"),
    };
    let view = View { services: Cache::new(), slices: Cache::new() };
    let dns = Dns::bind(config, view).await.expect("bound");
    let (address, supervisor) = (dns.local_addr().expect("an address"), Supervisor::new(Shutdown::new()));
    supervisor.spawn(TaskKind::Essential, "dns", dns.run(supervisor.shutdown().clone()));
    (address, supervisor)
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
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    socket.send_to(&question(), server).await.expect("sent");
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await.expect("answered");
    code(&answer[..length])
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
