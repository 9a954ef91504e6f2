//! [`Upstream`]: the servers that questions are passed on to, by the rule of one `forward`.
//!
//! Each server has a caching resolver of its own, and its [`Health`]: one that does not answer is left alone for a while,
//! so that its silence costs one question its time and not all. Servers named by a file are made anew when the file has
//! changed. Questions in flight are limited: one beyond the limit is answered `SERVFAIL` at once, and the client asks
//! again. A server that asks us in turn ([`Loops`]) is never asked.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::{DnsError, NetError};
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, Record, RecordType};
use hickory_server::resolver::TokioResolver;
use hickory_server::resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_server::resolver::system_conf::parse_resolv_conf;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::health::Health;
use super::loops::Loops;
use super::metrics::Metrics;
use super::rules::{Forward, Policy, Target};

/// Questions passed on at one time, by all rules together.
pub(super) const IN_FLIGHT_LIMIT: usize = 1000;
/// How long a server has for its answer, and how often it is asked before it counts as silent.
const TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 2;
/// The largest file of servers that is read, in bytes.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;

/// What all rules share.
#[derive(Clone)]
pub(super) struct Shared {
    /// The server's own address: asking it would never end.
    pub own: IpAddr,
    pub in_flight: Arc<Semaphore>,
    pub loops: Arc<Loops>,
    pub metrics: Metrics,
    /// The file that is meant where a rule names the machine's own.
    pub resolv_conf: Arc<Path>,
}

pub(super) struct Upstream {
    rule: Forward,
    shared: Shared,
    current: Mutex<Option<Made>>,
    turn: AtomicUsize,
}

/// Servers, and the states of the files that they were made from.
struct Made {
    modified: Vec<SystemTime>,
    servers: Arc<[Arc<Server>]>,
    /// Find out which of the servers ask us in turn; given up with the servers.
    _trials: JoinSet<()>,
}

struct Server {
    address: SocketAddr,
    resolver: TokioResolver,
    health: Health,
}

impl Upstream {
    pub fn new(rule: Forward, shared: Shared) -> Self {
        Self { rule, shared, current: Mutex::default(), turn: AtomicUsize::default() }
    }

    pub fn is_for(&self, name: &Name) -> bool {
        self.rule.is_for(name)
    }

    /// The servers' answer; the error is the code to answer with.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, ResponseCode> {
        let Ok(_permit) = self.shared.in_flight.try_acquire() else {
            self.shared.metrics.refused();
            return Err(ResponseCode::ServFail);
        };
        let servers = self.servers().map_err(|error| {
            tracing::debug!(%error, "no name servers to pass a question on to");
            ResponseCode::ServFail
        })?;
        let mut absolute = name.clone();
        absolute.set_fqdn(true);
        let mut code = ResponseCode::ServFail;
        let mut asked = false;
        for at in self.order(servers.len()) {
            let server = &servers[at];
            let Some(turn) = server.health.admit(Instant::now()) else { continue };
            asked = true;
            let begun = Instant::now();
            let answer = server.resolver.lookup(absolute.clone(), kind).await;
            let (said, result) = match answer {
                Ok(found) => (ResponseCode::NoError, Some(Ok(found.answers().to_vec()))),
                Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                    ResponseCode::NoError => (ResponseCode::NoError, Some(Ok(Vec::new()))),
                    ResponseCode::NXDomain => (ResponseCode::NXDomain, Some(Err(ResponseCode::NXDomain))),
                    other => (other, None),
                },
                Err(NetError::Dns(DnsError::ResponseCode(other))) => (other, None),
                Err(error) => {
                    if turn.failed(Instant::now()) {
                        tracing::warn!(%error, server = %server.address, "a name server does not answer; it is left alone for a while");
                    }
                    continue;
                }
            };
            turn.answered();
            self.shared.metrics.passed_on(server.address, said, begun.elapsed());
            match result {
                Some(result) => return result,
                // Another one may know.
                None => code = said,
            }
        }
        if !asked {
            self.shared.metrics.broken();
        }
        Err(code)
    }

    /// In which order so many servers are asked.
    fn order(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = match self.rule.policy {
            Policy::Sequential => 0,
            Policy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed),
            Policy::Random => usize::try_from(base::random::below(count as u64)).unwrap_or(0),
        };
        (0..count).map(move |at| (first + at) % count)
    }

    fn servers(&self) -> Result<Arc<[Arc<Server>]>, NetError> {
        let modified = self.files().map(|file| std::fs::metadata(file)?.modified());
        let modified = modified.collect::<Result<Vec<_>, _>>()?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = current.as_ref().filter(|made| made.modified == modified) {
            return Ok(made.servers.clone());
        }
        let servers: Arc<[Arc<Server>]> = self.make()?.into();
        let mut trials = JoinSet::new();
        for server in servers.iter().cloned() {
            let loops = self.shared.loops.clone();
            trials.spawn(async move {
                if loops.leads_here(&server.resolver).await {
                    tracing::error!(
                        server = %server.address,
                        "the name server passes questions on to cluster DNS, which would never end: it is not asked"
                    );
                    server.health.end();
                }
            });
        }
        *current = Some(Made { modified, servers: servers.clone(), _trials: trials });
        Ok(servers)
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        self.rule.to.iter().filter_map(|target| match target {
            Target::File(path) => Some(self.meant(path)),
            Target::Server(_) => None,
        })
    }

    fn meant<'a>(&'a self, path: &'a Path) -> &'a Path {
        if path == Path::new(super::RESOLV_CONF) { &self.shared.resolv_conf } else { path }
    }

    fn make(&self) -> Result<Vec<Arc<Server>>, NetError> {
        let mut addresses = Vec::new();
        for target in &self.rule.to {
            match target {
                Target::Server(address) => addresses.push(*address),
                Target::File(path) => {
                    let path = self.meant(path);
                    if std::fs::metadata(path)?.len() > FILE_LIMIT_BYTES {
                        return Err(NetError::from("the file of name servers is too long"));
                    }
                    let (config, _) = parse_resolv_conf(std::fs::read(path)?)?;
                    addresses
                        .extend(config.name_servers().iter().map(|server| SocketAddr::from((server.ip, 53))));
                }
            }
        }
        let own = |address: &SocketAddr| address.ip() == self.shared.own && address.port() == super::PORT;
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| !own(address) && seen.insert(*address));
        addresses.into_iter().map(|address| self.server(address).map(Arc::new)).collect()
    }

    fn server(&self, address: SocketAddr) -> Result<Server, NetError> {
        let mut server = match self.rule.force_tcp {
            true => NameServerConfig::tcp(address.ip()),
            false => NameServerConfig::udp_and_tcp(address.ip()),
        };
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = ATTEMPTS;
        options.use_hosts_file = ResolveHosts::Never;
        match self.rule.cache {
            None => options.cache_size = 0,
            Some((positive, negative)) => {
                options.positive_max_ttl = Some(positive);
                options.negative_max_ttl = Some(negative);
            }
        }
        Ok(Server { address, resolver: builder.build()?, health: Health::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn another_file_may_stand_in_for_the_machines_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, server: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("nameserver {server}\n")).expect("written");
            path
        };
        let (stands_in, other) = (file("own", "192.0.2.1"), file("other", "192.0.2.2"));
        let rule = Forward {
            from: Name::root(),
            except: Vec::new(),
            to: vec![Target::File(crate::dns::RESOLV_CONF.into()), Target::File(other)],
            policy: Policy::Sequential,
            force_tcp: false,
            cache: None,
        };
        let shared = Shared {
            own: Ipv4Addr::LOCALHOST.into(),
            in_flight: Arc::new(Semaphore::new(1)),
            loops: Arc::default(),
            metrics: Metrics::default(),
            resolv_conf: stands_in.into(),
        };
        let made = Upstream::new(rule, shared).make().expect("made");
        let addresses: Vec<String> = made.iter().map(|server| server.address.to_string()).collect();
        assert_eq!(addresses, ["192.0.2.1:53", "192.0.2.2:53"]);
    }
}
