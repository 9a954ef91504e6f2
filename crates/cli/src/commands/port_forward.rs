//! `port-forward`: connections to ports of this machine, carried to ports of a pod by SPDY streams within a WebSocket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use streaming::spdy::{Headers, Opener};
use streaming::tunnel::Tunnel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use super::Command;
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::kubeconfig::os_words;
use crate::output::{err, out};
use crate::remote::pods;
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "port-forward",
    flags: &["address list, pod-running-timeout duration=1m0s"],
    usage: "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
    about: "Forward one or more local ports to a pod",
    run,
}];

const PROTOCOLS: &[&str] = &["SPDY/3.1+portforward.k8s.io"];
/// Longest message about a connection that could not be forwarded, in bytes.
const LONGEST_MESSAGE: u64 = 64 << 10;

fn run(session: &Session) -> Result<(), Failure> {
    let [word, words @ ..] = session.arguments() else { return Err(nothing(session)) };
    if words.is_empty() {
        return Err(nothing(session));
    }
    pods::patience(session)?;
    let object = pods::object(session, std::slice::from_ref(word))?;
    let pod = pods::of_object(session, &object)?;
    let ports = words.iter().map(|word| numbered(word, &object, &pod)).collect::<Result<Vec<_>, _>>()?;
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{}/pods/{}", escaped(text("namespace")), name_part(text("name"))?);
    let client = session.client()?;
    let now = client.json(&Request::get(&path))?;
    let phase = now["status"]["phase"].as_str().unwrap_or_default();
    if phase != "Running" {
        let why = format!("unable to forward port because pod is not running. Current status={phase}");
        return Err(Failure::message(why));
    }
    let ports = ports.iter().map(|port| Port::read(port)).collect::<Result<Vec<_>, _>>()?;
    let addresses = addresses(session.flags.list("address"))?;
    let mut request = Request::get(format!("{path}/portforward"));
    request.accept = "*/*";
    let (socket, _) = client.upgrade(&request, PROTOCOLS)?;
    client.wait(async {
        let (opener, driver) = streaming::spdy::connect(Tunnel::new(socket));
        let listeners = listen(&ports, &addresses).await?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Failure::message(e.to_string()))?;
        tokio::select! {
            // However it ends: the pod is out of reach.
            _ = driver => Err(Failure::message("lost connection to pod")),
            // As upstream, which gives the session up with the first connection that cannot be forwarded.
            () = forward(&opener, listeners) => Err(Failure::message("lost connection to pod")),
            _ = interrupt.recv() => Ok(()),
        }
    })
}

fn nothing(session: &Session) -> Failure {
    session.usage("TYPE/NAME and list of ports are required for port-forward")
}

/// The two sides of `[LOCAL:]REMOTE`.
fn sides(word: &str) -> (&str, &str) {
    let parts: Vec<&str> = word.split(':').collect();
    match parts.as_slice() {
        [local, remote] => (local, remote),
        _ => (parts[0], parts[0]),
    }
}

/// The same with the numbers of the pod's ports, where names or a Service's ports are given.
fn numbered(word: &str, object: &Value, pod: &Value) -> Result<String, Failure> {
    let (local, remote) = sides(word);
    let joined = |local: &str, number: i64| {
        if local == number.to_string() { local.to_owned() } else { format!("{local}:{number}") }
    };
    if object["kind"] == "Service" {
        let number = match remote.parse::<i64>() {
            Ok(number) => number,
            Err(_) => named_port(object, remote)?,
        };
        refuse_udp(object["spec"]["ports"].as_array(), "port", number, remote)?;
        let target = target_port(object, pod, number)?;
        let local = if local == remote { number.to_string() } else { local.to_owned() };
        return Ok(joined(&local, target));
    }
    if remote.is_empty() {
        return Err(Failure::message("remote port cannot be empty"));
    }
    let number = match remote.parse::<i64>() {
        Ok(number) => number,
        Err(_) => container_port(pod, remote)?,
    };
    let ports: Vec<Value> = container_ports(pod).cloned().collect();
    refuse_udp(Some(&ports), "containerPort", number, remote)?;
    Ok(if local == remote { number.to_string() } else { format!("{local}:{number}") })
}

fn refuse_udp(ports: Option<&Vec<Value>>, key: &str, number: i64, shown: &str) -> Result<(), Failure> {
    let of = |protocol: &str| {
        ports.into_iter().flatten().any(|port| port[key] == number && port["protocol"] == protocol)
    };
    if of("UDP") && !of("TCP") {
        return Err(Failure::message(format!("UDP protocol is not supported for {shown}")));
    }
    Ok(())
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn named_port(service: &Value, wanted: &str) -> Result<i64, Failure> {
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found = ports.find(|port| port["name"] == wanted).and_then(|port| port["port"].as_i64());
    let missing = || format!("Service '{}' does not have a named port '{wanted}'", name(service));
    found.ok_or_else(|| Failure::message(missing()))
}

fn container_ports(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["containers", "initContainers"].into_iter().flat_map(|list| pod["spec"][list].as_array());
    lists.flatten().flat_map(|container| container["ports"].as_array()).flatten()
}

fn container_port(pod: &Value, wanted: &str) -> Result<i64, Failure> {
    let found = container_ports(pod).find(|port| port["name"] == wanted);
    let missing = || format!("Pod '{}' does not have a named port '{wanted}'", name(pod));
    found.and_then(|port| port["containerPort"].as_i64()).ok_or_else(|| Failure::message(missing()))
}

/// Where a Service's port leads to.
fn target_port(service: &Value, pod: &Value, number: i64) -> Result<i64, Failure> {
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(port) = ports.find(|port| port["port"] == number) else {
        let why = format!("Service {} does not have a service port {number}", name(service));
        return Err(Failure::message(why));
    };
    if service["spec"]["clusterIP"] == "None" {
        return Ok(number);
    }
    match &port["targetPort"] {
        Value::String(wanted) => container_port(pod, wanted),
        other => Ok(other.as_i64().filter(|target| *target != 0).unwrap_or(number)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Port {
    /// 0 for any that is free.
    local: u16,
    remote: u16,
}

impl Port {
    fn read(text: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = text.split(':').collect();
        let (local, remote) = match parts.as_slice() {
            [both] => (*both, *both),
            ["", remote] => ("0", *remote),
            [local, remote] => (*local, *remote),
            _ => return Err(Failure::message(format!("invalid port format '{text}'"))),
        };
        let number = |which: &str, text: &str| {
            text.parse::<u16>().map_err(|e| {
                let why = match e.kind() {
                    std::num::IntErrorKind::PosOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Failure::message(format!(
                    "error parsing {which} port '{text}': strconv.ParseUint: parsing {text:?}: {why}"
                ))
            })
        };
        let (local, remote) = (number("local", local)?, number("remote", remote)?);
        if remote == 0 {
            return Err(Failure::message("remote port must be > 0"));
        }
        Ok(Self { local, remote })
    }
}

/// An address that is listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    ip: IpAddr,
    /// One of several that mean the same: one of these is enough.
    either: bool,
}

fn addresses(words: &[String]) -> Result<Vec<Address>, Failure> {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut addresses: Vec<Address> = Vec::new();
    let localhost = ["localhost".to_owned()];
    for word in if words.is_empty() { &localhost[..] } else { words } {
        let found: Vec<Address> = if word == "localhost" {
            both.map(|ip| Address { ip, either: true }).to_vec()
        } else {
            let ip = word.parse().map_err(|_| Failure::message(format!("{word} is not a valid IP")))?;
            vec![Address { ip, either: false }]
        };
        for address in found {
            if !addresses.iter().any(|known| known.ip == address.ip) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

async fn listen(ports: &[Port], addresses: &[Address]) -> Result<Vec<(TcpListener, Port)>, Failure> {
    let mut listeners = Vec::new();
    for port in ports {
        let mut port = *port;
        let (mut missing, mut bound, mut failed) = (false, 0, Vec::new());
        for address in addresses {
            let at = SocketAddr::new(address.ip, port.local);
            match TcpListener::bind(at).await {
                Ok(listener) => {
                    let at = listener.local_addr().map_err(|e| Failure::message(os_words(&e)))?;
                    port.local = at.port();
                    out(&format!("Forwarding from {at} -> {}\n", port.remote))?;
                    listeners.push((listener, port));
                    bound += 1;
                }
                Err(error) => {
                    let family = if at.is_ipv4() { "tcp4" } else { "tcp6" };
                    let why = os_words(&error);
                    failed
                        .push(format!("unable to create listener: Error listen {family} {at}: bind: {why}"));
                    missing |= !address.either;
                }
            }
        }
        if missing || bound == 0 {
            err(&format!(
                "Unable to listen on port {}: Listeners failed to create with the following errors: [{}]\n",
                port.local,
                failed.join(" ")
            ));
        }
    }
    if listeners.is_empty() {
        let wanted: Vec<String> = ports.iter().map(|p| format!("{{{} {}}}", p.local, p.remote)).collect();
        let why = format!("unable to listen on any of the requested ports: [{}]", wanted.join(" "));
        return Err(Failure::message(why));
    }
    Ok(listeners)
}

/// Carries connections until one cannot be.
async fn forward(opener: &Opener, listeners: Vec<(TcpListener, Port)>) {
    let mut accepting: FuturesUnordered<_> =
        listeners.into_iter().map(|(listener, port)| Box::pin(accept(listener, port))).collect();
    let mut carried = FuturesUnordered::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            Some((accepted, listener, port)) = accepting.next() => {
                match accepted {
                    Ok((socket, _)) => {
                        // Nobody may read standard output any more; the forwarding goes on.
                        let _ = out(&format!("Handling connection for {}\n", port.local));
                        carried.push(carry(opener, socket, port, number));
                        number += 1;
                    }
                    Err(error) => err(&format!("Error accepting connection on port {}: {}\n", port.local, os_words(&error))),
                }
                accepting.push(Box::pin(accept(listener, port)));
            }
            Some(is_carried) = carried.next() => {
                if !is_carried {
                    return;
                }
            }
        }
    }
}

type Accepted = (io::Result<(TcpStream, SocketAddr)>, TcpListener, Port);

async fn accept(listener: TcpListener, port: Port) -> Accepted {
    let accepted = listener.accept().await;
    (accepted, listener, port)
}

/// Carries one connection to its end; `false` where it cannot be.
async fn carry(opener: &Opener, mut socket: TcpStream, port: Port, number: u64) -> bool {
    let Port { local, remote } = port;
    let headers = |kind: &str| {
        let of = |name: &str, value: String| (name.to_owned(), value);
        Headers(vec![
            of("streamtype", kind.to_owned()),
            of("port", remote.to_string()),
            of("requestid", number.to_string()),
        ])
    };
    let opened = async {
        let mut errors = opener.open(headers("error")).await?;
        // Nothing is sent on this one.
        errors.shutdown().await?;
        Ok::<_, io::Error>((errors, opener.open(headers("data")).await?))
    };
    let (errors, mut data) = match opened.await {
        Ok(streams) => streams,
        Err(error) => {
            err(&format!("error creating stream for port {local} -> {remote}: {error}\n"));
            return true;
        }
    };
    let mut message = String::new();
    let mut errors = errors.take(LONGEST_MESSAGE);
    let reading = async {
        let _ended = errors.read_to_string(&mut message).await;
        // A connection that was forwarded ends by its data.
        if message.is_empty() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        _ = tokio::io::copy_bidirectional(&mut socket, &mut data) => {}
        () = reading => {}
    }
    if message.is_empty() {
        // What was said may come just behind the end of the data.
        let rest = errors.read_to_string(&mut message);
        let _ended = tokio::time::timeout(std::time::Duration::from_millis(100), rest).await;
    }
    if message.is_empty() {
        return true;
    }
    err(&format!("an error occurred forwarding {local} -> {remote}: {message}\n"));
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_read_as_pairs() {
        let read = |text: &str| Port::read(text).map(|p| (p.local, p.remote)).map_err(|f| f.plain());
        assert_eq!(read("80"), Ok((80, 80)));
        assert_eq!(read("8080:80"), Ok((8080, 80)));
        assert_eq!(read(":80"), Ok((0, 80)));
        assert_eq!(read("80:0"), Err("remote port must be > 0".to_owned()));
        assert_eq!(
            read("70000"),
            Err("error parsing local port '70000': strconv.ParseUint: parsing \"70000\": value out of range"
                .to_owned())
        );
        assert_eq!(read("1:2:3"), Err("invalid port format '1:2:3'".to_owned()));
    }

    #[test]
    fn names_and_ports_of_services_become_those_of_the_pod() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
            {"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]}]}});
        let service = json!({"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [
            {"name": "web", "port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 81}]}});
        let of = |word: &str, object: &Value| numbered(word, object, &pod).map_err(|f| f.plain());
        assert_eq!(of("http", &pod).as_deref(), Ok("8080"));
        assert_eq!(of("1:http", &pod).as_deref(), Ok("1:8080"));
        assert_eq!(of("x", &pod), Err("Pod 'p' does not have a named port 'x'".to_owned()));
        assert_eq!(of("53", &pod), Err("UDP protocol is not supported for 53".to_owned()));
        assert_eq!(of("web", &service).as_deref(), Ok("80:8080"));
        assert_eq!(of("80", &service).as_deref(), Ok("80:8080"));
        assert_eq!(of("81", &service).as_deref(), Ok("81"));
        assert_eq!(of("9:81", &service).as_deref(), Ok("9:81"));
        assert_eq!(of("82", &service), Err("Service s does not have a service port 82".to_owned()));
    }

    #[test]
    fn localhost_is_both_families() {
        let ips = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            addresses(&words).map(|all| all.iter().map(|a| a.ip.to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(ips(&[]).expect("known"), "127.0.0.1 ::1");
        assert_eq!(ips(&["0.0.0.0", "localhost"]).expect("known"), "0.0.0.0 127.0.0.1 ::1");
        assert!(ips(&["example.com"]).is_err());
    }
}
