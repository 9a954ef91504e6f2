//! Cluster DNS: answers pods' questions about the cluster, and passes on all others.
//!
//! Start with [`Dns`]: it owns the sockets and the order of things; [`tcp`] serves connections. [`zone`] decides what the cluster's own
//! names stand for, from the same watches the node has (DNS-based service discovery, version 1.1.0);
//! [`upstream`] asks the machine's own name servers about the rest. Nothing here writes to the API.

mod handler;
mod tcp;
#[cfg(test)]
mod tests;
mod upstream;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use base::Shutdown;
use hickory_server::Server;
use hickory_server::proto::ProtoError;
use ipnet::IpNet;
use tokio::net::{TcpListener, UdpSocket};

use handler::Handler;
use upstream::Upstream;
pub use zone::{Answer, View, Zone};

/// Where DNS listens.
pub const PORT: u16 = 53;

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
    /// The file that names the machine's own name servers (`resolv.conf(5)`); read again when it changes.
    pub resolv_conf: PathBuf,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{domain:?} is no domain: {source}")]
    Domain { domain: String, source: ProtoError },
    #[error("listening on {address} for DNS: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// A DNS server whose sockets are open.
pub struct Dns {
    udp: Server<Handler>,
    tcp: TcpListener,
    handler: Handler,
    clients: Vec<IpNet>,
}

impl Dns {
    /// Opens the sockets. Answers wait in them until [`Dns::run`].
    ///
    /// # Errors
    /// When the domain cannot be one, or the address is taken or not the machine's.
    pub async fn bind(config: DnsConfig, view: View) -> Result<Self, DnsError> {
        let zone = Zone::new(&config.domain, config.ranges.clone(), view)
            .map_err(|source| DnsError::Domain { domain: config.domain.clone(), source })?;
        let failed = |source| DnsError::Listen { address: config.listen, source };
        let udp = UdpSocket::bind(config.listen).await.map_err(failed)?;
        // Port 0 gives both the same port.
        let address = udp.local_addr().map_err(failed)?;
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let own: IpAddr = config.listen.ip();
        let handler = Handler::new(zone, Upstream::new(config.resolv_conf, own));
        let everybody = ["0.0.0.0/0", "::/0"].map(|range| range.parse().expect("these are ranges"));
        let mut server = Server::with_access(handler.clone(), everybody, config.clients.clone());
        server.register_socket(udp);
        Ok(Self { udp: server, tcp, handler, clients: config.clients })
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
        tokio::select! {
            done = self.udp.block_until_done() => {
                if let Err(error) = done {
                    tracing::error!(%error, "cluster DNS stopped");
                }
            }
            () = tcp::serve(self.tcp, self.handler, self.clients, &shutdown) => {}
        }
        if let Err(error) = self.udp.shutdown_gracefully().await {
            tracing::warn!(%error, "cluster DNS did not stop cleanly");
        }
    }
}
