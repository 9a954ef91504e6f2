//! [`Ports`]: the ports of the machine's addresses, open only while there is an Ingress to serve.
//!
//! Each address is listened on by itself: others of the machine have the same ports for something else, such as the
//! API's Service address.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::backoff::Policy;
use base::{Shutdown, Supervisor, TaskKind};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use crate::proxy::Proxy;

/// How long after an attempt to open a port that is taken the next one is made.
const BACKOFF: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// The ports for HTTP and HTTPS, of some addresses.
pub(crate) struct Ports {
    proxy: Proxy,
    supervisor: Supervisor,
    http: u16,
    https: u16,
    ports: BTreeMap<SocketAddr, Port>,
}

#[derive(Default)]
struct Port {
    /// Ends what serves the port.
    open: Option<Shutdown>,
    /// Why it could not be opened, and when that is tried again.
    trouble: Option<(String, Instant)>,
    failures: u32,
}

impl Ports {
    pub fn new(proxy: Proxy, supervisor: Supervisor, http: u16, https: u16) -> Self {
        Self { proxy, supervisor, http, https, ports: BTreeMap::new() }
    }

    /// Opens the ports of these addresses that are not open, each when its time has come, and closes all others.
    pub async fn want(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.ports.retain(|at, port| {
            let is_wanted = addresses.contains(&at.ip());
            if let Some(open) = port.open.take_if(|_| !is_wanted) {
                tracing::info!(%at, "no Ingress is served here any more");
                open.start();
            }
            is_wanted
        });
        for (ip, number) in addresses.iter().flat_map(|ip| [(ip, self.http), (ip, self.https)]) {
            let at = SocketAddr::new(*ip, number);
            let port = self.ports.entry(at).or_default();
            let is_time = port.trouble.as_ref().is_none_or(|(_, at)| *at <= Instant::now());
            if port.open.is_none() && is_time {
                let is_secure = number == self.https;
                open(port, at, is_secure, &self.proxy, &self.supervisor).await;
            }
        }
    }

    /// When [`Self::want`] is to be called again.
    pub fn next_attempt(&self) -> Option<Instant> {
        self.ports.values().filter_map(|port| port.trouble.as_ref()).map(|(_, at)| *at).min()
    }

    /// Whether an address is served on any port.
    pub fn serves(&self, address: IpAddr) -> bool {
        self.ports.iter().any(|(at, port)| at.ip() == address && port.open.is_some())
    }

    /// What keeps ports closed.
    pub fn troubles(&self) -> Vec<String> {
        self.ports.values().filter_map(|port| port.trouble.as_ref()).map(|(why, _)| why.clone()).collect()
    }
}

async fn open(port: &mut Port, at: SocketAddr, is_secure: bool, proxy: &Proxy, supervisor: &Supervisor) {
    match listen(at) {
        Ok(listener) => {
            tracing::info!(%at, "Ingresses are served");
            let shutdown = supervisor.shutdown().child();
            let serving = proxy.clone().serve(listener, at.port(), is_secure, shutdown.clone());
            supervisor.spawn(TaskKind::Background, "ingress port", serving);
            *port = Port { open: Some(shutdown), ..Port::default() };
        }
        Err(error) => {
            if port.trouble.is_none() {
                tracing::warn!(%at, %error, "the port cannot be opened for Ingresses; it is tried again");
            }
            port.failures = port.failures.saturating_add(1);
            let wait = BACKOFF.delay(port.failures);
            port.trouble = Some((format!("{at} cannot be opened: {error}"), Instant::now() + wait));
        }
    }
}

/// How many connections may wait to be accepted, as `TcpListener::bind` has it.
const BACKLOG: u32 = 1024;

/// An address of IPv6 is for clients of IPv6 alone, those of IPv4 are listened on by themselves.
fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseaddr(true)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Whether the kernel has IPv6.
pub(crate) fn has_v6() -> bool {
    TcpSocket::new_v6().is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use jiff::Timestamp;

    use super::*;
    use crate::limits::Limits;
    use crate::metrics::Metrics;
    use crate::proxy::ProxyDeps;
    use crate::tls::Certificates;

    #[tokio::test(start_paused = true)]
    async fn ports_are_open_while_they_are_wanted_and_one_that_is_taken_is_tried_again() {
        let supervisor = Supervisor::new(Shutdown::new());
        let certificates = Certificates::new(Timestamp::UNIX_EPOCH).expect("a certificate");
        let proxy = Proxy::new(ProxyDeps {
            certificates: certificates.into(),
            limits: Limits::default(),
            metrics: Metrics::default(),
            https_port: 443,
            supervisor: supervisor.clone(),
        });
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let free = || async { TcpListener::bind((here, 0)).await.expect("a free port") };
        let (taken, other) = (free().await, free().await);
        let number = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let (http, https) = (number(&taken), number(&other));
        drop(other);
        let mut ports = Ports::new(proxy.expect("a proxy"), supervisor, http, https);
        let (wanted, none) = (BTreeSet::from([here]), BTreeSet::new());
        ports.want(&none).await;
        assert!(!ports.serves(here) && ports.next_attempt().is_none());
        ports.want(&wanted).await;
        assert!(ports.serves(here), "the other port is free");
        let why = format!("127.0.0.1:{http} cannot be opened: Address already in use (os error 98)");
        assert_eq!(ports.troubles(), std::slice::from_ref(&why));
        let next = ports.next_attempt().expect("it is tried again");
        drop(taken);
        ports.want(&wanted).await;
        assert_eq!(ports.troubles(), [why], "not before its time");
        tokio::time::advance(next - Instant::now()).await;
        ports.want(&wanted).await;
        assert_eq!((ports.troubles(), ports.next_attempt()), (Vec::new(), None));
        TcpListener::bind((here, http)).await.expect_err("it is in use");
        ports.want(&none).await;
        while TcpListener::bind((here, http)).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
