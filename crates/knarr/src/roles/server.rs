//! `knarr server`: the control plane and this machine's first node in one process, and its other nodes beside it.
//!
//! Start with [`run`]: identity, keys, host settings, then the control plane, then the nodes, then waiting
//! for a signal. `control_plane` assembles the control plane, `nodes` starts the nodes of this machine.

mod nodes;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::{Clock, Shutdown, Supervisor, SystemClock, TaskKind};
use client::kubeconfig;
use etcd::Etcd;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serving::ServerTls;
use tokio::signal::unix::{SignalKind, signal};

use super::addresses::Addresses;
use super::control_plane::ControlPlane;
use super::daemon::{self, DRAIN, wait_for_end};
use super::members::MembersNetwork;
use super::parts::Parts;
use super::shared_store::{self, Common};
use super::{addresses, control_plane, node};
use crate::admin;
use crate::arguments::Server;
use crate::cluster::Cluster;
use crate::host;
use crate::layout::Layout;
use crate::pki::{Names, Pki};
use crate::process::ProcessRecord;
use crate::settings::Settings;
use crate::which::layout_of;
use nodes::Nodes;

/// How long nodes may take to become Ready before the server says that they are not.
pub const NODE_PATIENCE: Duration = Duration::from_mins(1);

/// Tells the server that the cluster is to have more nodes than before.
const MORE_NODES: SignalKind = SignalKind::user_defined1();

/// How long until certificates that could not be renewed are tried again.
const RENEWAL_RETRY: Duration = Duration::from_mins(10);

/// What the server says, once, on standard output. The reason why it did not come up is said there too, since its log
/// may lie on a full disk.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// It is up.
    Ready(Ready),
    /// It is not, and why.
    Failed(String),
}

/// A server that is up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The names of the nodes.
    pub nodes: Vec<String>,
    /// A line for each node that is not Ready, though it had its time.
    pub late: Vec<String>,
    /// Where the API is.
    pub server: String,
}

/// Runs until a signal, or until an essential part fails.
///
/// # Errors
/// Says what is missing or what failed.
pub fn run(server: &Server) -> Result<()> {
    let layout = layout_of(&server.which)?;
    let settings = Settings::load(server)?;
    let what = format!("cluster {:?}", layout.name);
    let result =
        daemon::run(&what, &layout.pid_file(), serve(layout.clone(), settings, server.config.clone()));
    if let Err(error) = &result
        && daemon::in_background()
    {
        say(&Word::Failed(format!("{error:#}")))?;
    }
    result
}

async fn serve(layout: Layout, settings: Settings, config: Option<PathBuf>) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(shutdown.clone());
    // Before anybody knows of this process: the signal ends one that does not wait for it.
    let mut more_nodes = signal(MORE_NODES).context("waiting for signals")?;
    host::check_room(&[&layout.data_dir, &layout.run_dir])?;
    let node_name = settings.node_name.clone().map_or_else(host::name, Ok)?;
    let mut cluster = Cluster::load_or_create(&layout, &node_name, settings.nodes)?;
    ProcessRecord::own()?.write(&layout.pid_file())?;
    let etcd = join_store(&layout, &settings, &mut cluster).await?;
    host::prepare()?;
    let mut network = MembersNetwork::of(&cluster, &settings)?;
    let gateway = network.gateway();
    let has_members = cluster.nodes > 1;
    if has_members {
        network.make(host::addresses().first().copied().map(IpAddr::V4)).await?;
    }
    let now = addresses::follow(&supervisor, has_members.then_some(gateway))?;
    let names = names_of(&cluster, gateway);
    let pki = Pki::load_or_create(&layout.pki_dir(), &names, clock.now())?;
    if let (Some(etcd), Some(place)) = (&etcd, &cluster.etcd) {
        let own = Common::of(cluster.network(), &pki);
        shared_store::agree(etcd, &own, &layout.pki_dir(), place).await?;
    }
    let addresses = names.addresses.clone();
    let parts =
        Parts { layout, settings, cluster, pki, etcd, addresses, clock, supervisor: supervisor.clone() };
    let endpoint =
        admin::endpoint(parts.cluster.api_port(), parts.pki.ca_pem.clone(), parts.pki.admin.clone());
    let plane = control_plane::start(&parts, now.clone()).await?;
    kubeconfig::create(&parts.layout.admin_kubeconfig(), &parts.layout.context(), &endpoint)?;
    let tls = node::tls(&parts.pki.kubelet_server, &parts.pki.ca_pem)?;
    let here = Here { tls, addresses: now, gateway };
    let mut nodes = Nodes::start(&parts, &plane, &here, network, config).await?;
    let late = tokio::select! {
        late = nodes.wait_ready(NODE_PATIENCE) => late?,
        () = shutdown.started() => bail!("a part of the server failed while starting; see the log"),
    };
    let ready = Ready { nodes: nodes.names(), late, server: endpoint.server.clone() };
    keep_certificates(&parts, &plane, &here);
    follow_addresses(&parts, &plane, &here);
    tell(ready)?;
    let mut end = std::pin::pin!(wait_for_end(&shutdown));
    loop {
        tokio::select! {
            biased;
            ended = &mut end => break ended?,
            Some(()) = more_nodes.recv() => nodes.add().await,
        }
    }
    plane.hand_over().await;
    shutdown.start();
    supervisor.drain(DRAIN).await;
    plane.close().await;
    Ok(())
}

/// Connects to the etcd that keeps the cluster's objects, and takes over what other servers have made of the cluster.
async fn join_store(layout: &Layout, settings: &Settings, cluster: &mut Cluster) -> Result<Option<Etcd>> {
    cluster.etcd = cluster.store(settings.store.choice()?, layout)?;
    let Some(place) = &cluster.etcd else { return Ok(None) };
    let etcd = shared_store::connect(place).await?;
    if let Some(common) = shared_store::common(&etcd, place, cluster.has_store).await? {
        cluster.shared_network = Some(common.network);
    }
    Ok(Some(etcd))
}

/// What the server and the nodes of this machine share.
struct Here {
    /// The certificate of the first node's HTTPS API.
    tls: Arc<ServerTls>,
    addresses: Addresses,
    /// The machine's address in the network of its members.
    gateway: Ipv4Addr,
}

fn tell(ready: Ready) -> Result<()> {
    for line in &ready.late {
        tracing::warn!("{line}");
    }
    tracing::info!(nodes = ready.nodes.join(","), server = ready.server, "up");
    say(&Word::Ready(ready))
}

/// Writes to standard output; nobody may be listening.
fn say(word: &Word) -> Result<()> {
    let line = serde_json::to_string(word)?;
    let _ = writeln!(std::io::stdout(), "{line}");
    Ok(())
}

/// The names and addresses certificates are made for.
fn names_of(cluster: &Cluster, gateway: Ipv4Addr) -> Names {
    let mut addresses: Vec<IpAddr> = host::addresses().into_iter().map(IpAddr::V4).collect();
    addresses.push(IpAddr::from([127, 0, 0, 1]));
    addresses.push(cluster.api_service_ip().into());
    // Also before there are members, which may be added while the server runs.
    addresses.push(gateway.into());
    Names { node_name: cluster.node_name.clone(), addresses }
}

/// Has the API's own Service lead to where the server is reached, while the server runs.
fn follow_addresses(parts: &Parts, plane: &ControlPlane, here: &Here) {
    let (plane, mut addresses, gateway) = (plane.clone(), here.addresses.clone(), IpAddr::V4(here.gateway));
    let shutdown = parts.supervisor.shutdown().clone();
    parts.supervisor.spawn(TaskKind::Background, "the API's Service", async move {
        // They may have changed since the server looked.
        addresses.mark_changed();
        let follow = async {
            while addresses.changed().await.is_ok() {
                let best = addresses.borrow_and_update().first().copied();
                let Some(best) = best else { continue };
                // Endpoints may not lie on the loopback.
                let best = if best.is_loopback() { gateway } else { best };
                if let Err(error) = plane.moved(best).await {
                    tracing::error!(error = %format!("{error:#}"), "the API's Service does not follow the machine's address");
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = shutdown.started() => {}
        }
    });
}

/// Makes certificates anew before they end, and for new addresses of the machine, while the server runs.
fn keep_certificates(parts: &Parts, plane: &ControlPlane, here: &Here) {
    let (layout, clock, cluster) = (parts.layout.clone(), parts.clock.clone(), parts.cluster.clone());
    let (plane, nodes, mut addresses) = (plane.clone(), here.tls.clone(), here.addresses.clone());
    let gateway = here.gateway;
    let mut due = parts.pki.due();
    let shutdown = parts.supervisor.shutdown().clone();
    parts.supervisor.spawn(TaskKind::Background, "certificates", async move {
        loop {
            // What is due is one more second away: until then a third of the life is left.
            let left = due.map(|due| due.duration_since(clock.now()) + SignedDuration::from_secs(1));
            let wait = left.map_or(RENEWAL_RETRY, |left| left.max(SignedDuration::ZERO).unsigned_abs());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = addresses.changed() => {}
                () = shutdown.started() => return,
            }
            due = match Pki::load_or_create(&layout.pki_dir(), &names_of(&cluster, gateway), clock.now()) {
                Ok(pki) => {
                    if let Err(error) = renew(&layout, &cluster, &plane, &nodes, &pki) {
                        tracing::error!(error = %format!("{error:#}"), "a renewed certificate cannot be used");
                    }
                    pki.due()
                }
                Err(error) => {
                    tracing::error!(error = %format!("{error:#}"), "certificates could not be renewed");
                    None
                }
            };
        }
    });
}

/// Has everything on this machine use the certificates.
fn renew(
    layout: &Layout,
    cluster: &Cluster,
    plane: &ControlPlane,
    nodes: &ServerTls,
    pki: &Pki,
) -> Result<()> {
    plane.renew(pki)?;
    let (chain, key) = (&pki.kubelet_server.certificate_pem, &pki.kubelet_server.key_pem);
    nodes.replace_serving(chain.as_bytes(), key.as_bytes())?;
    let endpoint = admin::endpoint(cluster.api_port(), pki.ca_pem.clone(), pki.admin.clone());
    Ok(kubeconfig::create(&layout.admin_kubeconfig(), &layout.context(), &endpoint)?)
}
