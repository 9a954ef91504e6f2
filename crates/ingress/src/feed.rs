//! [`Feed`]: has the proxy serve what the objects of the API say, as they change.
//!
//! Changes are gathered while a round is under way; a round looks at the hosts, Services and Secrets that have changed
//! and at nothing else.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Shutdown;
use informer::{Cached, Key};
use k8s_openapi::api::networking::v1::Ingress;
use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::claims::Claims;
use crate::pools::Pools;
use crate::ports::{self, Ports};
use crate::proxy::Proxy;
use crate::router::{Pattern, Split};
use crate::tls::{self, Certificates};
use crate::told::{Reach, Told};
use crate::translate::{self, Source};
use crate::view::{View, service_of, view};

/// What is to be looked at again.
#[derive(Default)]
struct Dirty {
    news: Mutex<News>,
    wake: Notify,
}

#[derive(Default)]
struct News {
    ingresses: BTreeSet<Key>,
    hosts: BTreeSet<Pattern>,
    services: BTreeSet<Key>,
    secrets: BTreeSet<Key>,
}

impl News {
    fn add_ingress(&mut self, ingress: &Cached<Ingress>) {
        self.ingresses.insert(ingress.key.clone());
        self.hosts.extend(view(ingress).hosts());
    }
}

impl Dirty {
    fn add(&self, add: impl FnOnce(&mut News)) {
        add(&mut self.news());
        self.wake.notify_one();
    }

    fn take(&self) -> News {
        std::mem::take(&mut self.news())
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a feed works with.
pub(crate) struct FeedDeps {
    pub view: View,
    pub proxy: Proxy,
    pub certificates: Arc<Certificates>,
    pub ports: Ports,
    pub told: Told,
    /// The machine's addresses as they are now, best first.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
}

/// See the module's documentation.
pub(crate) struct Feed {
    deps: FeedDeps,
    dirty: Arc<Dirty>,
    pools: Pools,
    claims: Claims<Arc<CertifiedKey>>,
    /// Certificates by Secret, with the version they were read at.
    read: HashMap<Key, (u64, Option<Arc<CertifiedKey>>)>,
}

impl Feed {
    /// Follows the objects from now on; the proxy is told once [`Feed::run`] runs.
    pub fn new(deps: FeedDeps) -> Self {
        let dirty: Arc<Dirty> = Arc::default();
        subscribe(&deps.view, &dirty);
        let pools = Pools::new(deps.proxy.clone(), deps.view.clone());
        Self { deps, dirty, pools, claims: Claims::default(), read: HashMap::new() }
    }

    /// Works until `shutdown` starts.
    pub async fn run(mut self, shutdown: Shutdown) {
        let work = async {
            self.deps.view.wait_synced().await;
            loop {
                let news = self.dirty.take();
                self.apply(news).await;
                self.open().await;
                let next = self.deps.ports.next_attempt();
                tokio::select! {
                    () = self.dirty.wake.notified() => {}
                    Ok(()) = self.deps.addresses.changed() => {}
                    () = until(next) => {}
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.started() => {}
        }
    }

    /// Opens ports or closes them, and tells the controller where Ingresses are reached.
    async fn open(&mut self) {
        let machine = self.deps.addresses.borrow_and_update().clone();
        let mut wanted = BTreeSet::new();
        if self.deps.view.has_any() {
            wanted.extend(machine.iter().copied().chain([Ipv4Addr::LOCALHOST.into()]));
            // Nobody else on the machine has addresses of IPv6 with these ports.
            wanted.extend(ports::has_v6().then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        }
        self.deps.ports.want(&wanted).await;
        let open = &self.deps.ports;
        // The address of the machine's nodes, which Services of type LoadBalancer get as well.
        let best = machine.into_iter().find(IpAddr::is_ipv4);
        let addresses = best.filter(|best| open.serves(*best)).into_iter().collect();
        self.deps.told.replace(Reach { addresses, troubles: open.troubles() });
    }

    async fn apply(&mut self, news: News) {
        for service in &news.services {
            self.pools.update(service);
        }
        for host in &news.hosts {
            self.route(host);
            // A host may have thousands of rules.
            tokio::task::yield_now().await;
        }
        if !news.ingresses.is_empty() {
            self.route_default();
        }
        let mut claimants = news.ingresses;
        for secret in &news.secrets {
            let of_secret = self.deps.view.of_secret(secret);
            if of_secret.is_empty() {
                self.read.remove(secret);
            }
            claimants.extend(of_secret);
        }
        let concerned: BTreeSet<Pattern> = claimants.iter().flat_map(|ingress| self.claim(ingress)).collect();
        for host in concerned {
            if let Err(error) = self.deps.certificates.replace(&host, self.claims.winner(&host)) {
                tracing::error!(?host, %error, "the certificate of a host is not replaced");
            }
        }
        self.pools.sweep();
    }

    fn route(&mut self, host: &Pattern) {
        let view = &self.deps.view;
        let named = view.by_host.get(&host.to_string());
        let mut sources: Vec<Source> = named.iter().filter(|one| view.is_ours(one)).map(Source::of).collect();
        translate::by_age(&mut sources);
        let site = translate::site(host, &sources).map(|site| site.map(|backend| self.pools.get(backend)));
        self.deps.proxy.router().replace(host, site);
    }

    fn route_default(&mut self) {
        let view = &self.deps.view;
        let own = view.own_classes();
        let ours = own.iter().flat_map(|class| view.with_default.get(class));
        let mut sources: Vec<Source> = ours.map(|ingress| Source::of(&ingress)).collect();
        translate::by_age(&mut sources);
        let default = translate::default(&sources).map(|backend| Split::whole(self.pools.get(backend)));
        self.deps.proxy.router().replace_default(default);
    }

    /// Has an Ingress claim the hosts that it has certificates for; returns the hosts that are concerned.
    fn claim(&mut self, key: &Key) -> BTreeSet<Pattern> {
        let ingress = self.deps.view.ingresses.find(key).filter(|ingress| self.deps.view.is_ours(ingress));
        let Some(ingress) = ingress else { return self.claims.replace(key, None, Vec::new()) };
        let mut claims = Vec::new();
        for tls in view(&ingress).spec.tls.iter().flatten() {
            let Some(secret) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else { continue };
            let Some(certificate) = self.certificate(&Key::new(&key.namespace, secret)) else { continue };
            let named = tls.hosts.iter().flatten().filter(|host| !host.is_empty());
            let mut hosts: Vec<Pattern> = named.map(|host| Pattern::parse(host)).collect();
            if hosts.is_empty() {
                hosts = tls::hosts(&certificate);
            }
            claims.extend(hosts.into_iter().map(|host| (host, Arc::clone(&certificate))));
        }
        self.claims.replace(key, ingress.created, claims)
    }

    /// The certificate of a Secret, read once for each version of the Secret.
    fn certificate(&mut self, secret: &Key) -> Option<Arc<CertifiedKey>> {
        let version = self.deps.view.secrets.find(secret).map(|held| held.version)?;
        if let Some((read_at, certificate)) = self.read.get(secret)
            && *read_at == version
        {
            return certificate.clone();
        }
        let certificate = self.deps.view.certificate(secret);
        if let Err(error) = &certificate {
            tracing::warn!(%secret, %error, "a Secret cannot be used for TLS");
        }
        let certificate = certificate.ok();
        self.read.insert(secret.clone(), (version, certificate.clone()));
        certificate
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn subscribe(view: &View, dirty: &Arc<Dirty>) {
    let changed = Arc::clone(dirty);
    view.ingresses.subscribe(move |delta| {
        changed.add(|news| {
            delta.old().into_iter().chain([delta.object()]).for_each(|one| news.add_ingress(one))
        });
    });
    let (changed, by_class) = (Arc::clone(dirty), view.by_class.clone());
    view.classes.subscribe(move |delta| {
        let of_class = by_class.get(delta.object().name());
        changed.add(|news| of_class.iter().for_each(|one| news.add_ingress(one)));
    });
    let changed = Arc::clone(dirty);
    view.services.subscribe(move |delta| {
        let service = delta.object().key.clone();
        changed.add(|news| news.services.extend([service]));
    });
    let changed = Arc::clone(dirty);
    view.slices.subscribe(move |delta| {
        // A slice may be given to another Service.
        let states = delta.old().into_iter().chain([delta.object()]);
        changed.add(|news| news.services.extend(states.filter_map(service_of)));
    });
    let changed = Arc::clone(dirty);
    view.secrets.subscribe(move |delta| {
        let secret = delta.object().key.clone();
        changed.add(|news| news.secrets.extend([secret]));
    });
}

#[cfg(test)]
mod tests;
