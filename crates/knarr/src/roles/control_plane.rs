//! The control plane of this process: store, watch cache, API server, bootstrap, controllers, scheduler.
//!
//! Start with [`start`]. Every component reaches the API through [`ControlPlane::client`], under an
//! identity of its own and through the whole request pipeline. There is no other access.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use apiserver::admission::Admission;
use apiserver::aggregator::{Aggregator, FrontProxy};
use apiserver::audit::Audit;
use apiserver::bootstrap::{self, BootstrapConfig};
use apiserver::cache::{Cache, CacheError};
use apiserver::conversion::ByWebhook;
use apiserver::identity::authn::RequestHeaders;
use apiserver::identity::authn::service_account::SigningKey;
use apiserver::request::User;
use apiserver::security::{Security, SecurityConfig};
use apiserver::webhook::{Caller, Services};
use apiserver::{Config, CustomKinds, Deps, KubeletClient, Server, cache_specs};
use async_trait::async_trait;
use base::{Shutdown, Supervisor, TaskKind};
use controllers::kubernetes_service::{ApiService, ApiServiceFeed};
use encryption::{Encrypted, Kms};
use etcd::COMPACTION_INTERVAL;
use kube::Client;
use kubelet::process_pods::Part;
use resources::{Builtin, ResourceSource};
use serving::{Pem, ServerTls};
use store::{Embedded, Store};
use tokio::net::TcpListener;

use super::addresses::Addresses;
use super::api_access::{ApiAccess, Door};
use super::built::Built;
use super::election;
use super::parts::Parts;
use super::shared_store;
use crate::cluster::CLUSTER_DOMAIN;
use crate::pki::{FRONT_PROXY_NAME, Pki};

#[cfg(test)]
mod contested;
mod loops;
mod presence;
#[cfg(test)]
mod shared;

/// As whom the API server introduces itself to itself.
const KUBE_APISERVER: &str = "kube-apiserver";
/// As whom the controllers introduce themselves.
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// A running control plane.
#[derive(Clone)]
pub struct ControlPlane {
    server: Server,
    tls: Arc<ServerTls>,
    /// The API server's identity towards nodes.
    kubelets: Arc<KubeletClient>,
    /// The API server's identity towards servers that it forwards requests to.
    front_proxy: Arc<FrontProxy>,
    aggregator: Aggregator,
    store: Arc<dyn Store>,
    supervisor: Supervisor,
    /// What the cluster's own objects are made of.
    bootstrap: Arc<BootstrapConfig>,
    api_service: ApiServiceFeed,
    /// Of the elections of who leads, where there are any: they end before the server does.
    elections: Supervisor,
}

impl ControlPlane {
    /// A client of this process for a component (`kube-scheduler`), with the given identity.
    pub fn client(&self, component: &str, user: &str, groups: &[&str]) -> Client {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        let user = User { name: user.to_owned(), groups, ..User::default() };
        client::in_process(self.server.in_process(user).named(component))
    }

    /// Shows renewed certificates from now on.
    ///
    /// # Errors
    /// When one cannot be used; the old one stays then.
    pub fn renew(&self, pki: &Pki) -> Result<()> {
        let (serving, own, proxy) = (&pki.api_server, &pki.kubelet_client, &pki.front_proxy_client);
        self.tls.replace_serving(serving.certificate_pem.as_bytes(), serving.key_pem.as_bytes())?;
        self.front_proxy.replace(proxy.certificate_pem.as_bytes(), proxy.key_pem.as_bytes())?;
        let (chain, key) = (own.certificate_pem.as_bytes(), own.key_pem.as_bytes());
        Ok(self.kubelets.replace(pki.ca_pem.as_bytes(), chain, key)?)
    }

    /// What the node of this name reaches the API by, without a socket.
    pub fn access(&self, node: &str) -> ApiAccess {
        ApiAccess {
            node: self.client("kubelet", &format!("system:node:{node}"), &["system:nodes"]),
            network: self.client("kube-proxy", "system:kube-proxy", &[]),
            door: Arc::new(self.clone()),
        }
    }

    /// Serves the API on one more address, until shutdown.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn listen(&self, address: SocketAddr) -> Result<()> {
        let serving = self.open(address).await?;
        let shutdown: Shutdown = self.supervisor.shutdown().clone();
        self.supervisor.spawn(TaskKind::Essential, "API server", serving.run(shutdown));
        Ok(())
    }

    /// Has the Service of the API server lead to another address of the machine, and machines that join.
    ///
    /// # Errors
    /// When the Service's objects are not of their kinds, or the API refuses the change.
    pub async fn moved(&self, advertise_ip: IpAddr) -> Result<()> {
        let config = BootstrapConfig { advertise_ip, ..(*self.bootstrap).clone() };
        self.api_service.replace(api_service(&config)?);
        bootstrap::publish_cluster_info(
            &self.client(KUBE_APISERVER, "system:apiserver", &["system:masters"]),
            &config,
        )
        .await?;
        Ok(())
    }

    /// Lets another server lead at once, before this one stops.
    pub async fn hand_over(&self) {
        self.elections.shutdown().start();
        self.elections.drain(election::END + election::RETRY + election::RETRY).await;
    }

    /// Closes the store, with everything acknowledged on disk.
    pub async fn close(&self) {
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store could not be closed cleanly; it recovers at the next start");
        }
    }
}

/// The control plane's parts as a user of upstream looks for them.
pub fn shown(api_port: u16) -> Vec<Part> {
    let part = |name: &'static str, port| Part {
        name,
        labels: [("component", name), ("tier", "control-plane")].into(),
        port,
    };
    vec![
        part("kube-apiserver", Some(("https", api_port))),
        part("kube-controller-manager", None),
        part("kube-scheduler", None),
    ]
}

#[async_trait]
impl Door for ControlPlane {
    async fn open(&self, address: SocketAddr) -> Result<Built> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let (server, tls) = (self.server.clone(), self.tls.clone());
        Ok(Built::new(|shutdown| async move {
            server.run(listener, tls, shutdown).await;
        }))
    }
}

/// Starts the control plane; returns when the API answers and what every cluster has is there.
///
/// # Errors
/// Says which part could not be started.
pub async fn start(parts: &Parts, addresses: Addresses) -> Result<ControlPlane> {
    let (plane, security) = prepare(parts, Vec::new()).await?;
    plane.listen(SocketAddr::from(([0, 0, 0, 0], parts.cluster.api_port()))).await?;
    loops::start(parts, &plane, loops::sign_token(&security), addresses).await?;
    Ok(plane)
}

/// The control plane before anything listens or works on its own. `last` are asked after all other admission plugins.
async fn prepare(parts: &Parts, last: Vec<Arc<dyn Admission>>) -> Result<(ControlPlane, Security)> {
    let (store, keys) = open_store(parts).await?;
    let kubelets = Arc::new(KubeletClient::from_pem(
        parts.pki.ca_pem.as_bytes(),
        parts.pki.kubelet_client.certificate_pem.as_bytes(),
        parts.pki.kubelet_client.key_pem.as_bytes(),
    )?);
    let (chain, key) = (&parts.pki.front_proxy_client.certificate_pem, &parts.pki.front_proxy_client.key_pem);
    let front_proxy = Arc::new(FrontProxy::from_pem(chain.as_bytes(), key.as_bytes())?);
    let towards = Towards { kubelets: kubelets.clone(), front_proxy: front_proxy.clone() };
    let (server, security, aggregator) = build_server(parts, store.clone(), towards, last).await?;
    let tls = Arc::new(apiserver::tls(Pem {
        chain: parts.pki.api_server.certificate_pem.as_bytes(),
        key: parts.pki.api_server.key_pem.as_bytes(),
        client_ca: parts.pki.ca_pem.as_bytes(),
    })?);
    let bootstrap = Arc::new(bootstrap_config(parts));
    let api_service = ApiServiceFeed::new(api_service(&bootstrap)?);
    let supervisor = parts.supervisor.clone();
    let plane = ControlPlane {
        server,
        tls,
        kubelets,
        front_proxy,
        aggregator,
        store,
        supervisor,
        bootstrap,
        api_service,
        elections: Supervisor::new(Shutdown::new()),
    };
    plane.server.metrics().register_process();
    follow_keys(&plane, keys);
    set_up(&plane).await?;
    security.settled().await;
    Ok((plane, security))
}

/// Asks the key management services how they are, which the server's own health tells.
fn follow_keys(plane: &ControlPlane, keys: Vec<Arc<Kms>>) {
    if keys.is_empty() {
        return;
    }
    for kms in keys.clone() {
        let shutdown = plane.supervisor.shutdown().clone();
        plane.supervisor.spawn(TaskKind::Background, "kms", async move {
            tokio::select! {
                () = kms.follow() => {}
                () = shutdown.started() => {}
            }
        });
    }
    plane.server.add_check("kms-providers", move || {
        let faults: Vec<String> = keys.iter().filter_map(|kms| kms.health().err()).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    });
}

/// Where the cluster's objects are kept, encrypted where that is set, and the services that keep keys for it.
async fn open_store(parts: &Parts) -> Result<(Arc<dyn Store>, Vec<Arc<Kms>>)> {
    let encryption = parts.settings.api_server.encryption()?;
    let keys = encryption.key_services();
    let store = open_backend(parts).await?;
    // Without a configuration nothing that is encrypted is taken for something else.
    Ok((Arc::new(Encrypted::new(store, encryption).reading(shared_store::readable)), keys))
}

/// Nothing else here knows which backend it is.
async fn open_backend(parts: &Parts) -> Result<Arc<dyn Store>> {
    let history_bytes = parts.settings.store.history_bytes()?;
    if let Some(etcd) = &parts.etcd {
        if history_bytes.is_some() {
            bail!("--history-mib is about the embedded store: etcd keeps the changes of five minutes");
        }
        parts.cluster.note_store(&parts.layout, parts.cluster.etcd.clone())?;
        let compactor = etcd.clone().compactor(COMPACTION_INTERVAL, parts.supervisor.shutdown().clone());
        parts.supervisor.spawn(TaskKind::Background, "etcd-compactor", compactor);
        return Ok(Arc::new(etcd.clone()));
    }
    let file = parts.layout.store_file();
    parts.cluster.check_store(&parts.layout)?;
    let mut config =
        store::embedded::Config { clock: parts.clock.clone(), ..store::embedded::Config::new(&file) };
    config.history_budget_bytes = history_bytes.unwrap_or(config.history_budget_bytes);
    let store = tokio::task::spawn_blocking(move || Embedded::open(config))
        .await
        .context("opening the store")?
        .map_err(|error| store_error(parts, error))?;
    if !parts.cluster.has_store {
        parts.cluster.note_store(&parts.layout, None)?;
    }
    Ok(Arc::new(store))
}

/// Says what can be done about a store that cannot be used.
fn store_error(parts: &Parts, error: store::Error) -> anyhow::Error {
    if let Some(etcd) = &parts.cluster.etcd {
        return anyhow::Error::new(error).context(etcd.place());
    }
    let (flags, file) = (parts.layout.flags(), parts.layout.store_file());
    let advice = match &error {
        store::Error::Corrupted { .. } => {
            format!("`knarr store check {flags}` lists the damage, `knarr store repair {flags}` mends it")
        }
        store::Error::DiskFull(_) => format!("writing {}", file.display()),
        _ => format!("opening {}", file.display()),
    };
    anyhow::Error::new(error).context(advice)
}

/// The API server's identities towards other servers.
struct Towards {
    kubelets: Arc<KubeletClient>,
    front_proxy: Arc<FrontProxy>,
}

/// The API server with who may come in, what they may do and what may pass.
async fn build_server(
    parts: &Parts,
    store: Arc<dyn Store>,
    towards: Towards,
    last: Vec<Arc<dyn Admission>>,
) -> Result<(Server, Security, Aggregator)> {
    let cache = Cache::start(store.clone(), &parts.supervisor, cache_specs(&Builtin.table()))
        .await
        .map_err(|error| match error {
            CacheError::Store(error) => store_error(parts, error),
            other => anyhow::Error::new(other),
        })
        .context("loading the watch cache")?;
    let kinds = CustomKinds::start(&cache, &parts.supervisor).await.context("loading the custom kinds")?;
    let key = SigningKey::from_pem(&parts.pki.service_account_key_pem)?;
    let services = Arc::new(Services::new(cache.clone()));
    let caller = Caller::new(services.clone(), &parts.supervisor);
    let aggregator = Aggregator::start(&cache, services, towards.front_proxy, &parts.supervisor)?;
    let proxy_ca = parts.pki.front_proxy_ca_pem.as_bytes();
    let request_headers = RequestHeaders::new(proxy_ca, vec![FRONT_PROXY_NAME.to_owned()])?;
    let converter = Arc::new(ByWebhook::new(caller.clone()));
    let security = Security::start(
        parts.settings.api_server.security(SecurityConfig::new(key))?,
        &cache,
        kinds.clone(),
        converter.clone(),
        caller,
        parts.clock.clone(),
        &parts.supervisor,
    )
    .await?;
    let deps = Deps {
        clock: parts.clock.clone(),
        supervisor: parts.supervisor.clone(),
        store,
        cache,
        resources: kinds,
        authenticator: security.authenticator.clone(),
        authorizer: security.authorizer.clone(),
        admission: security.admission.iter().cloned().chain(last).collect(),
        reservers: security.reservers.clone(),
        converter,
        tokens: Some(security.tokens.clone()),
        rules: Some(security.rules.clone()),
        kubelet: Some(towards.kubelets),
        request_headers: Some(Arc::new(request_headers)),
        aggregator: Some(aggregator.clone()),
    };
    let mut config = Config { commit: env!("KNARR_COMMIT"), ..Config::default() };
    if let Some(settings) = parts.settings.api_server.audit()? {
        config.audit = Some(Audit::open(settings, parts.clock.clone(), &parts.supervisor).await?);
    }
    Ok((Server::build(config, deps), security, aggregator))
}

/// What is done once [`set_up`] has ended, under the names that upstream's health checks have for it: the caches were
/// filled, and admission, custom kinds and other API servers made ready, when the server was built.
const STEPS: [&str; 17] = [
    "poststarthook/start-kube-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-status-available-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
];

/// Makes what every cluster has: namespaces, roles, priorities, the `kubernetes` Service.
async fn set_up(plane: &ControlPlane) -> Result<()> {
    let steps = plane.server.begin(&STEPS);
    let client = plane.client(KUBE_APISERVER, "system:apiserver", &["system:masters"]);
    let done = bootstrap::run(&client, &plane.bootstrap).await.context("setting up the cluster")?;
    tracing::info!(created = done.created, updated = done.updated, "the cluster's own objects are there");
    steps.done();
    Ok(())
}

fn bootstrap_config(parts: &Parts) -> BootstrapConfig {
    let service_ip = IpAddr::from(parts.cluster.api_service_ip());
    // A machine without a network has those that every machine has: endpoints may not lie on the loopback.
    let reachable = parts.addresses.iter().find(|ip| !ip.is_loopback() && **ip != service_ip);
    BootstrapConfig {
        cluster_name: parts.layout.name.clone(),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        pod_cidr: parts.cluster.pod_cidr(),
        service_cidr: parts.cluster.service_cidr(),
        service_ip,
        dns_ip: parts.cluster.dns_ip().into(),
        corefile: network::dns::default_corefile(CLUSTER_DOMAIN),
        advertise_ip: reachable.copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        secure_port: parts.cluster.api_port(),
        client_ca_pem: parts.pki.ca_pem.clone(),
        front_proxy_ca_pem: parts.pki.front_proxy_ca_pem.clone(),
        front_proxy_name: FRONT_PROXY_NAME.to_owned(),
    }
}

/// The Service of the API server and its endpoints, as the controllers know them.
fn api_service(config: &BootstrapConfig) -> Result<ApiService> {
    let [service, endpoints, slice] = bootstrap::api_service(config);
    let typed = || {
        Ok::<_, serde_json::Error>(ApiService {
            service: service.typed()?,
            endpoints: endpoints.typed()?,
            slice: slice.typed()?,
        })
    };
    typed().context("the Service of the API server")
}
