//! What works on its own beside the API server: controllers, Ingress, scheduler.
//!
//! Start with [`start`]. Where the store is this process' own they run as long as the process; where other servers share the
//! store, those of the server that leads run, for one term (`crate::roles::election`), and only what keeps this server's
//! own address in the Service `kubernetes` runs on all.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use api::{GroupVersion, Object};
use apiserver::aggregator::{Aggregator, AllKinds};
use apiserver::bootstrap;
use apiserver::security::Security;
use base::{Clock, Metrics, Supervisor, TaskKind};
use controllers::ClusterCidr;
use controllers::api_service::availability::{Asked, CheckDiscovery};
use controllers::certificates::authority::Authority;
use controllers::load_balancer::{Pool, Source};
use controllers::service_account_token::SignToken;
use informer::{Informers, Manager};
use kube::Client;

use super::{CONTROLLER_MANAGER, ControlPlane, presence};
use crate::cluster;
use crate::roles::addresses::Addresses;
use crate::roles::election::{self, Election};
use crate::roles::parts::Parts;
use crate::settings::{Ingress, LoadBalancer};

const SCHEDULER: &str = "kube-scheduler";

/// What the loops are made of, in each term anew.
struct Loops {
    plane: ControlPlane,
    clock: Arc<dyn Clock>,
    root_ca_pem: Arc<str>,
    authority: Arc<Authority>,
    sign_token: SignToken,
    cluster_cidr: ClusterCidr,
    load_balancer: Option<Source>,
    ingress: Ingress,
    scheduler: scheduler::Configuration,
    addresses: Addresses,
}

/// Starts the loops, or takes part in the elections of who runs them.
///
/// # Errors
/// Says what is wrong with the settings, or which loop could not be started.
pub(super) async fn start(
    parts: &Parts,
    plane: &ControlPlane,
    sign_token: SignToken,
    addresses: Addresses,
) -> Result<()> {
    let authority = Authority::from_pem(&parts.pki.ca_pem, &parts.pki.ca_key_pem)
        .context("the cluster's CA cannot sign certificates")?;
    let loops = Arc::new(Loops {
        plane: plane.clone(),
        clock: parts.clock.clone(),
        root_ca_pem: parts.pki.ca_pem.as_str().into(),
        authority: Arc::new(authority),
        sign_token,
        cluster_cidr: parts.cluster.pod_cidr().parse()?,
        load_balancer: load_balancer(parts)?,
        ingress: parts.settings.ingress.clone(),
        scheduler: scheduler_configuration(parts)?,
        addresses,
    });
    let (supervisor, metrics) = (&parts.supervisor, plane.server.metrics());
    if let Some(etcd) = &parts.etcd {
        loops.keep_own_address(supervisor);
        let shutdown = supervisor.shutdown().clone();
        let presence = presence::run(etcd.clone(), plane.api_service.clone(), shutdown);
        supervisor.spawn(TaskKind::Background, "presence of servers", presence);
        loops.elect(&election::identity(&parts.cluster.node_name), supervisor);
        return Ok(());
    }
    // One cache of a kind for all loops.
    let informers = Informers::new(loops.manager_client(), supervisor.clone());
    loops.start_controllers(&informers, supervisor, metrics, true).await?;
    loops.start_scheduler(&informers, supervisor, metrics);
    Ok(())
}

/// Names in the log what has no effect.
fn scheduler_configuration(parts: &Parts) -> Result<scheduler::Configuration> {
    let configuration = parts.settings.scheduler.configuration()?;
    if !configuration.without_effect.is_empty() {
        let keys = configuration.without_effect.join(", ");
        tracing::warn!(keys, "these keys of the KubeSchedulerConfiguration have no effect here");
    }
    Ok(configuration)
}

impl Loops {
    fn manager_client(&self) -> Client {
        self.plane.client(CONTROLLER_MANAGER, "system:kube-controller-manager", &[])
    }

    fn scheduler_client(&self) -> Client {
        self.plane.client(SCHEDULER, "system:kube-scheduler", &[])
    }

    fn manager(&self, informers: &Informers, supervisor: &Supervisor, metrics: &Metrics) -> Manager {
        let server = self.plane.server.clone();
        Manager::new(informer::Context {
            informers: informers.clone(),
            client_of: Arc::new(move |account| {
                let identity = bootstrap::controller_identity(account);
                client::in_process(server.in_process(identity).named(CONTROLLER_MANAGER))
            }),
            clock: self.clock.clone(),
            supervisor: supervisor.clone(),
            metrics: informer::Metrics::registered(metrics),
        })
    }

    /// Controllers and Ingress; the controller of this server's own address only where it runs as long as the others.
    async fn start_controllers(
        &self,
        informers: &Informers,
        supervisor: &Supervisor,
        metrics: &Metrics,
        own_address: bool,
    ) -> Result<()> {
        let mut manager = self.manager(informers, supervisor, metrics);
        let (kinds, aggregator) = (self.plane.server.kinds(), &self.plane.aggregator);
        let authentication = bootstrap::extension_authentication(&self.plane.bootstrap);
        let config = controllers::Config {
            root_ca_pem: self.root_ca_pem.clone(),
            authority: Some(self.authority.clone()),
            sign_token: Some(self.sign_token.clone()),
            cluster_cidr: Some(self.cluster_cidr),
            load_balancer: self.load_balancer.clone(),
            api_service: own_address.then(|| self.plane.api_service.clone()),
            extension_authentication: Some(Arc::new(authentication.typed().context("a ConfigMap")?)),
            check_discovery: Some(check_discovery(aggregator.clone())),
            metrics: metrics.clone(),
            kinds: Arc::new(AllKinds::new(kinds.clone(), aggregator.clone(), supervisor.clone())),
            own_kinds: kinds,
        };
        controllers::start_all(&mut manager, config);
        if let Some(config) = ingress_config(&self.ingress, self.addresses.clone()) {
            ingress::start(config, &mut manager, metrics).await.context("starting Ingress")?;
        }
        Ok(())
    }

    fn start_scheduler(&self, informers: &Informers, supervisor: &Supervisor, metrics: &Metrics) {
        scheduler::Scheduler::build(
            &self.scheduler,
            self.scheduler_client(),
            informers,
            self.clock.clone(),
            supervisor,
            scheduler::Metrics::registered(metrics),
        )
        .start(supervisor);
    }

    /// Keeps this server among the endpoints of the Service `kubernetes`, whoever leads.
    fn keep_own_address(&self, supervisor: &Supervisor) {
        let informers = Informers::new(self.manager_client(), supervisor.clone());
        // Its queues are named as those of the leader's controllers, whose figures are shown.
        let mut manager = self.manager(&informers, supervisor, &Metrics::default());
        controllers::keep_api_service(&mut manager, self.plane.api_service.clone());
    }

    /// Takes part in both elections, as upstream's two components do.
    fn elect(self: &Arc<Self>, identity: &str, supervisor: &Supervisor) {
        let election = |name, client| Election {
            client,
            name,
            identity: identity.to_owned(),
            clock: self.clock.clone(),
            supervisor: supervisor.clone(),
            handover: self.plane.elections.shutdown().clone(),
        };
        let elections = &self.plane.elections;
        let (manager, loops) = (election(CONTROLLER_MANAGER, self.manager_client()), self.clone());
        let lead = move |term: Supervisor| {
            let loops = loops.clone();
            async move {
                let metrics = loops.metrics_of(&term);
                let informers = Informers::new(loops.manager_client(), term.clone());
                loops.start_controllers(&informers, &term, &metrics, false).await
            }
        };
        elections.spawn(TaskKind::Essential, "leader election of controllers", manager.run(lead));
        let (scheduler, loops) = (election(SCHEDULER, self.scheduler_client()), self.clone());
        let lead = move |term: Supervisor| {
            let loops = loops.clone();
            async move {
                let metrics = loops.metrics_of(&term);
                let informers = Informers::new(loops.manager_client(), term.clone());
                loops.start_scheduler(&informers, &term, &metrics);
                Ok(())
            }
        };
        elections.spawn(TaskKind::Essential, "leader election of the scheduler", scheduler.run(lead));
    }

    /// Figures that are shown as long as the term lasts.
    fn metrics_of(&self, term: &Supervisor) -> Metrics {
        let metrics = self.plane.server.metrics().part();
        let (held, shutdown) = (metrics.clone(), term.shutdown().clone());
        term.spawn(TaskKind::Background, "figures of the term", async move {
            shutdown.started().await;
            drop(held);
        });
        metrics
    }
}

/// Asks servers that the API server forwards requests to whether they serve.
fn check_discovery(aggregator: Aggregator) -> CheckDiscovery {
    Arc::new(move |asked: Asked| {
        let aggregator = aggregator.clone();
        Box::pin(async move {
            let gv = GroupVersion::new(&asked.group, &asked.version);
            aggregator.check((&asked.namespace, &asked.name, asked.port), &gv).await
        })
    })
}

/// Where load balancers have their addresses from: the nodes, but for ports that clusters themselves need, or a pool.
///
/// # Errors
/// When the pool is wrong, or somebody else is to give the addresses.
fn load_balancer(parts: &Parts) -> Result<Option<Source>> {
    let (settings, ranges) = (&parts.settings, [parts.cluster.pod_cidr(), parts.cluster.service_cidr()]);
    match (settings.load_balancer, settings.load_balancer_pool.as_slice()) {
        (LoadBalancer::None, []) => Ok(None),
        (LoadBalancer::None, _) => {
            bail!("a pool of load balancers' addresses is set, and `loadBalancer: none` too: only one can be")
        }
        (LoadBalancer::Nodes, []) => Ok(Some(Source::Nodes(cluster::ports().collect()))),
        (LoadBalancer::Nodes, texts) => {
            let pool = Pool::parse(texts)?;
            for range in ranges {
                if pool.overlaps(range.parse()?) {
                    bail!(
                        "the pool of load balancers' addresses holds some of the cluster's own range {range}"
                    );
                }
            }
            Ok(Some(Source::Pool(pool)))
        }
    }
}

fn ingress_config(settings: &Ingress, addresses: Addresses) -> Option<ingress::Config> {
    let (http_port, https_port) = (settings.http_port, settings.https_port);
    settings.enabled.then(|| ingress::Config { http_port, https_port, addresses })
}

/// Signs the tokens of accounts that lie in Secrets.
pub(super) fn sign_token(security: &Security) -> SignToken {
    let tokens = security.tokens.clone();
    Arc::new(move |account, secret| {
        let account = Object::from_typed(account).map_err(|error| error.to_string())?;
        tokens.issue_for_secret(&account, secret).map_err(|error| error.message)
    })
}
