//! The three certificates of a node that has joined: a keeper for each.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use base::TaskKind;
use client::{Endpoint, Replaceable};
use kube::Client;
use kubelet::metrics::certificates::{Certificates, Figures};
use rcgen::KeyPair;
use serving::ServerTls;
use tokio::sync::watch;

use super::Ways;
use crate::certificates::keeper::{Keeper, Source};
use crate::certificates::request::issue;
use crate::certificates::wanted::Wanted;
use crate::joined::{Files, Joined};
use crate::pki::Pair;
use crate::pki::facts::Facts;
use crate::roles::node;

/// How long a request may wait for approval before another is made.
const APPROVAL: Duration = Duration::from_mins(15);

/// What the node's HTTPS API is served with until it is replaced: what the node had last, or for a while what nobody
/// vouches for.
///
/// # Errors
/// When a part cannot be used.
pub(super) fn serving(joined: &Joined, node: &str, machine: &[IpAddr]) -> Result<Arc<ServerTls>> {
    let own = || {
        let key = KeyPair::generate().context("making a key")?;
        let certificate_pem = Wanted::serving(node, &node::own_ips(machine)).self_signed(&key)?;
        Ok::<_, anyhow::Error>(Pair { certificate_pem, key_pem: key.serialize_pem() })
    };
    let pair = joined.serving.clone().map_or_else(own, Ok)?;
    node::tls(&pair, &joined.node.ca_pem)
}

/// Keeps the certificates until shutdown.
pub(super) fn keep(folder: &Path, joined: &Joined, config: &node::Config, deps: &node::Deps, ways: &Ways) {
    let figures = Certificates::registered(&deps.metrics, deps.clock.clone());
    let api = ways.node.client();
    let name = config.name.clone();
    let client = |joined: &Endpoint, way: &Replaceable, write| {
        let source = ClientSource {
            api: api.clone(),
            endpoint: joined.clone(),
            way: way.clone(),
            folder: folder.to_owned(),
            write,
        };
        Box::new(source)
    };
    let serving = ServingSource { api: api.clone(), tls: deps.serving.clone(), folder: folder.to_owned() };
    let node = name.clone();
    let wanted_node = move |_: &[IpAddr]| Wanted::node(&node);
    let wanted_serving = move |addresses: &[IpAddr]| Wanted::serving(&name, &node::own_ips(addresses));
    let first = |pem: &str| Facts::read(pem);
    let spawn = |name, wanted, source, figures: Figures, first: Option<Facts>| {
        let addresses: watch::Receiver<Vec<IpAddr>> = config.addresses.clone();
        let keeper = Keeper { name, wanted, addresses, source, figures, clock: deps.clock.clone() };
        let shutdown = deps.supervisor.shutdown().clone();
        deps.supervisor.spawn(TaskKind::Essential, name, keeper.run(first, shutdown));
    };
    spawn(
        "node's certificate",
        Box::new(wanted_node),
        client(&joined.node, &ways.node, |files, endpoint| files.write_node(endpoint)),
        figures.client,
        first(&joined.node.certificate_pem),
    );
    spawn(
        "network agents' certificate",
        Box::new(|_| Wanted::network_agents()),
        client(&joined.network_agents, &ways.network, |files, endpoint| files.write_network_agents(endpoint)),
        Figures::default(),
        first(&joined.network_agents.certificate_pem),
    );
    spawn(
        "serving certificate",
        Box::new(wanted_serving),
        Box::new(serving),
        figures.server,
        joined.serving.as_ref().and_then(|pair| first(&pair.certificate_pem)),
    );
}

/// Of a certificate to call the API with.
struct ClientSource {
    api: Client,
    /// Where the API is, and the identity that was used first.
    endpoint: Endpoint,
    way: Replaceable,
    folder: PathBuf,
    write: fn(&Files<'_>, &Endpoint) -> Result<()>,
}

#[async_trait]
impl Source for ClientSource {
    async fn issue(&self, wanted: &Wanted) -> Result<Pair> {
        issue(&self.api, wanted, APPROVAL).await
    }

    fn put(&self, pair: &Pair) -> Result<()> {
        let endpoint = Endpoint {
            certificate_pem: pair.certificate_pem.clone(),
            key_pem: pair.key_pem.clone(),
            ..self.endpoint.clone()
        };
        let way = client::https(&endpoint)?;
        (self.write)(&Files(&self.folder), &endpoint)?;
        self.way.replace(way);
        Ok(())
    }
}

/// Of the certificate of the node's HTTPS API.
struct ServingSource {
    api: Client,
    tls: Arc<ServerTls>,
    folder: PathBuf,
}

#[async_trait]
impl Source for ServingSource {
    async fn issue(&self, wanted: &Wanted) -> Result<Pair> {
        issue(&self.api, wanted, APPROVAL).await
    }

    fn put(&self, pair: &Pair) -> Result<()> {
        Files(&self.folder).write_serving(pair)?;
        self.tls.replace_serving(pair.certificate_pem.as_bytes(), pair.key_pem.as_bytes())?;
        Ok(())
    }
}
