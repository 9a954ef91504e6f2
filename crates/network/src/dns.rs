//! Cluster DNS: answers pods' questions about the cluster, and passes on all others.
//!
//! Start with [`Dns`]: it owns the sockets and the order of things; [`udp`] serves messages, from what is
//! [`remembered`] where it can, [`tcp`] serves connections. [`zone`] decides what the cluster's own
//! names stand for, from the same watches the node has (DNS-based service discovery, version 1.1.0). What else is known,
//! and whom questions are passed on to, say the [`rules`] of a ConfigMap, a Corefile ([`corefile`]); [`setup`] has them in
//! force, [`upstream`] asks other servers. Nothing here writes to the API.

mod corefile;
mod handler;
mod health;
mod loops;
mod metrics;
mod remembered;
mod rules;
mod setup;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod upstream;
mod zone;

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use base::Shutdown;
use hickory_server::proto::ProtoError;
use informer::Cache;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use handler::Handler;
use metrics::Metrics;
use rules::Rules;
use setup::InForce;
pub use setup::{CONFIG_MAP, Complain, KEY, NAMESPACE};
use upstream::Shared;
pub use zone::{Answer, View, Zone};

/// Where DNS listens.
pub const PORT: u16 = 53;
/// The machine's own name servers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The settings of the server: which names it answers, and for which clients.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// The address to listen on, UDP and TCP.
    pub listen: SocketAddr,
    /// The cluster's domain, for example `cluster.local`.
    pub domain: String,
    /// The ranges whose reverse names are the cluster's own: Services and pods.
    pub ranges: Vec<IpNet>,
    /// The clients that may ask; all others are refused, so that hosts near by cannot use the machine as a relay.
    pub clients: Vec<IpNet>,
    /// The address to show metrics on, if any.
    pub metrics: Option<SocketAddr>,
    /// The rules until there are others, a Corefile.
    pub corefile: String,
    /// The file that is meant where the rules name [`RESOLV_CONF`].
    pub resolv_conf: PathBuf,
}

/// Where rules come from, and who is told of those that are not understood.
pub struct RulesFrom {
    /// Has the ConfigMap [`CONFIG_MAP`] of [`NAMESPACE`], if it exists.
    pub maps: Cache<ConfigMap>,
    pub complain: Complain,
}

/// What a new cluster's ConfigMap has.
pub fn default_corefile(domain: &str) -> String {
    rules::DEFAULT.replace("DOMAIN", domain)
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{domain:?} is no domain: {source}")]
    Domain { domain: String, source: ProtoError },
    #[error("the first rules are not understood: {0}")]
    Rules(corefile::Wrong),
    #[error("listening on {address} for DNS: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// A DNS server whose sockets are open.
pub struct Dns {
    udp: UdpSocket,
    tcp: TcpListener,
    handler: Handler,
    clients: Vec<IpNet>,
    metrics: Option<TcpListener>,
    rules: InForce,
    from: Option<RulesFrom>,
}

impl Dns {
    /// Opens the sockets. Answers wait in them until [`Dns::run`].
    ///
    /// # Errors
    /// When the domain cannot be one, or the address is taken or not the machine's.
    pub async fn bind(config: DnsConfig, view: View, from: Option<RulesFrom>) -> Result<Self, DnsError> {
        let zone = Zone::new(&config.domain, config.ranges.clone(), view)
            .map_err(|source| DnsError::Domain { domain: config.domain.clone(), source })?;
        let first = Rules::read(&config.corefile, zone.domain()).map_err(DnsError::Rules)?;
        let shared = Shared {
            own: config.listen.ip(),
            in_flight: Arc::new(Semaphore::new(upstream::IN_FLIGHT_LIMIT)),
            loops: Arc::default(),
            metrics: Metrics::default(),
            resolv_conf: config.resolv_conf.into(),
        };
        let rules = InForce::new(zone.domain().clone(), first, shared);
        let failed = |source| DnsError::Listen { address: config.listen, source };
        let udp = UdpSocket::bind(config.listen).map_err(failed)?;
        // Port 0 gives both the same port.
        let address = udp.local_addr().map_err(failed)?;
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let failed = |source| DnsError::Listen { address, source };
                Some(TcpListener::bind(address).await.map_err(failed)?)
            }
        };
        let handler = Handler::new(zone, rules.clone());
        Ok(Self { udp, tcp, handler, clients: config.clients, metrics, rules, from })
    }

    /// The address of both sockets.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Answers until `shutdown` starts.
    pub async fn run(mut self, shutdown: Shutdown) {
        let shown = self.rules.shared().metrics.clone();
        let listener = self.metrics.take();
        let show = async {
            match listener {
                Some(listener) => shown.serve(listener, &shutdown).await,
                None => std::future::pending().await,
            }
        };
        let from = self.from.take();
        let follow = async {
            match from {
                Some(from) => self.rules.follow(from.maps, from.complain).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = show => {}
            () = follow => {}
            () = udp::serve(self.udp, self.handler.clone(), self.clients.clone(), &shutdown) => {}
            () = tcp::serve(self.tcp, self.handler, self.clients, &shutdown) => {}
        }
    }
}
