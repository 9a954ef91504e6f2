//! The machine's own name servers, asked about everything outside the cluster.
//!
//! Owns a caching resolver made from `resolv.conf` and makes a new one when the file has changed. Questions
//! in flight are limited: a question beyond the limit is answered `SERVFAIL` at once and the client asks
//! again.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::{DnsError, NetError};
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, Record, RecordType};
use hickory_server::resolver::TokioResolver;
use hickory_server::resolver::config::{ResolveHosts, ResolverConfig};
use hickory_server::resolver::system_conf::parse_resolv_conf;
use tokio::sync::Semaphore;

/// Questions passed on at one time.
const IN_FLIGHT_LIMIT: usize = 1000;
/// How long one name server has for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// The largest `resolv.conf` that is read, in bytes.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;

pub(super) struct Upstream {
    resolv_conf: PathBuf,
    /// The server's own address: asking it would never end.
    own: IpAddr,
    current: Mutex<Option<Made>>,
    in_flight: Semaphore,
}

/// A resolver and the state of the file it was made from.
struct Made {
    modified: SystemTime,
    resolver: Arc<TokioResolver>,
}

impl Upstream {
    pub fn new(resolv_conf: PathBuf, own: IpAddr) -> Self {
        Self { resolv_conf, own, current: Mutex::default(), in_flight: Semaphore::new(IN_FLIGHT_LIMIT) }
    }

    /// The name servers' answer; the error is the code to answer with.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, ResponseCode> {
        let Ok(_permit) = self.in_flight.try_acquire() else { return Err(ResponseCode::ServFail) };
        let resolver = self.resolver().map_err(|error| {
            tracing::debug!(%error, file = %self.resolv_conf.display(), "no name servers to pass a question on to");
            ResponseCode::ServFail
        })?;
        let mut absolute = name.clone();
        absolute.set_fqdn(true);
        match resolver.lookup(absolute, kind).await {
            Ok(found) => Ok(found.answers().to_vec()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NoError => Ok(Vec::new()),
                code => Err(code),
            },
            Err(error) => {
                tracing::debug!(%error, %name, "the machine's name servers gave no answer");
                Err(ResponseCode::ServFail)
            }
        }
    }

    fn resolver(&self) -> Result<Arc<TokioResolver>, NetError> {
        let metadata = std::fs::metadata(&self.resolv_conf)?;
        let modified = metadata.modified()?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = current.as_ref().filter(|made| made.modified == modified) {
            return Ok(Arc::clone(&made.resolver));
        }
        if metadata.len() > FILE_LIMIT_BYTES {
            return Err(NetError::from("resolv.conf is too long"));
        }
        let resolver = Arc::new(self.make(&std::fs::read(&self.resolv_conf)?)?);
        *current = Some(Made { modified, resolver: Arc::clone(&resolver) });
        Ok(resolver)
    }

    fn make(&self, resolv_conf: &[u8]) -> Result<TokioResolver, NetError> {
        let (config, _) = parse_resolv_conf(resolv_conf)?;
        let servers: Vec<_> =
            config.name_servers().iter().filter(|server| server.ip != self.own).cloned().collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = ATTEMPTS;
        options.use_hosts_file = ResolveHosts::Never;
        builder.build()
    }
}
