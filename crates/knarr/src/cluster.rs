//! A cluster's lasting identity on this machine: its slot (which decides ports and address ranges, so that
//! several clusters can run side by side) and the name of its node.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::arguments::{Choice, EtcdSettings};
use crate::claims::{self, SLOTS};
use crate::durable::write_durably;
use crate::layout::{Layout, MAX_NODES};

/// What the names of Services end with, in clusters made here.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// What the names of the bridges (and nftables tables) of all clusters begin with.
pub const BRIDGES: &str = "knarr";

/// What a cluster keeps from start to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    pub slot: u8,
    pub node_name: String,
    /// How many nodes run on this machine: the largest number that was asked for, or 0 if that was the last.
    #[serde(default = "one")]
    pub nodes: u8,
    /// Whether a store was made: from then on a missing one is a loss, not a beginning.
    #[serde(default = "yes")]
    pub has_store: bool,
    /// The etcd that keeps the objects; `None`: the file in the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdSettings>,
    /// The addresses of a cluster that other servers have made; `None`: those of the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_network: Option<ClusterNetwork>,
}

/// The addresses that all nodes of a cluster agree on, on whatever machine they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterNetwork {
    /// The range pods of all nodes get addresses from.
    pub pod_cidr: String,
    /// The range of Services' cluster addresses.
    pub service_cidr: String,
    /// The `kubernetes` Service's address.
    pub api_service_ip: Ipv4Addr,
    /// The `kube-dns` Service's address.
    pub dns_ip: Ipv4Addr,
    /// What the names of Services end with.
    pub domain: String,
}

/// What a node calls its links on this machine.
#[derive(Debug, Clone)]
pub struct Links {
    pub bridge: String,
    /// Of the hosts' ends of pods' interfaces.
    pub veth_prefix: String,
    /// By what the kernel's routes are known that lead to other machines' pods (`rtm_protocol`).
    pub route_protocol: u8,
}

fn one() -> u8 {
    1
}

/// Clusters that were written without saying so have one.
fn yes() -> bool {
    true
}

impl Cluster {
    pub fn api_port(&self) -> u16 {
        6443 + u16::from(self.slot)
    }

    /// The port of the nodes' HTTPS APIs; clusters share the machine, its nodes have addresses of their own.
    pub fn kubelet_port(&self) -> u16 {
        10250 + 20 * u16::from(self.slot)
    }

    /// The bridge of the members, and what the names of their links begin with.
    pub fn members_bridge(&self) -> String {
        format!("{}odes", self.bridge_prefix())
    }

    /// The members' addresses where the settings name no others.
    pub fn members_range(&self) -> String {
        format!("192.168.{}.0/24", 49 + 9 * self.slot)
    }

    /// The name of the node at `index`: the machine's own, or one like `NAME-m02`.
    pub fn node_name(&self, index: u8) -> String {
        if index == 0 { self.node_name.clone() } else { format!("{}-m{:02}", self.node_name, index + 1) }
    }

    /// What the node at `index` calls its links: every name carries the slot.
    pub fn links(&self, index: u8) -> Links {
        Links {
            bridge: format!("{}{index}", self.bridge_prefix()),
            veth_prefix: format!("{}{index}", self.veth_prefix()),
            route_protocol: self.route_protocol(),
        }
    }

    /// By what the kernel's routes are known that lead to other machines' pods: numbers that nobody has registered.
    pub fn route_protocol(&self) -> u8 {
        107 + self.slot
    }

    /// The addresses that all nodes of the cluster agree on.
    pub fn network(&self) -> ClusterNetwork {
        let own = || ClusterNetwork {
            pod_cidr: format!("10.{}.0.0/16", 244 + self.slot),
            service_cidr: format!("10.{}.0.0/16", 96 + self.slot),
            api_service_ip: Ipv4Addr::new(10, 96 + self.slot, 0, 1),
            dns_ip: Ipv4Addr::new(10, 96 + self.slot, 0, 10),
            domain: CLUSTER_DOMAIN.to_owned(),
        };
        self.shared_network.clone().unwrap_or_else(own)
    }

    /// What the names of the cluster's bridges (and nftables tables) begin with.
    pub fn bridge_prefix(&self) -> String {
        format!("{BRIDGES}{}n", self.slot)
    }

    /// What the names of the hosts' ends of pods' interfaces begin with.
    pub fn veth_prefix(&self) -> String {
        format!("kn{}v", self.slot)
    }

    /// The range pods of all nodes get addresses from.
    pub fn pod_cidr(&self) -> String {
        self.network().pod_cidr
    }

    /// The range of Services' cluster addresses.
    pub fn service_cidr(&self) -> String {
        self.network().service_cidr
    }

    /// The `kubernetes` Service's address.
    pub fn api_service_ip(&self) -> Ipv4Addr {
        self.network().api_service_ip
    }

    /// The `kube-dns` Service's address.
    pub fn dns_ip(&self) -> Ipv4Addr {
        self.network().dns_ip
    }

    /// Reads the cluster's identity, or makes and writes it at the first start. Claims its slot for as long
    /// as the machine runs or until
    /// [`claims::release`].
    ///
    /// # Errors
    /// When more nodes are asked for than fit, no slot is free, another cluster holds this one's
    /// or has its data in the same directory, or files cannot be written.
    pub fn load_or_create(layout: &Layout, node_name: &str, nodes: Option<u8>) -> Result<Self> {
        if nodes.is_some_and(|nodes| nodes > MAX_NODES) {
            bail!("at most {MAX_NODES} nodes fit on one machine");
        }
        // Folders are made under the lock: a cluster that is purged takes empty ones along.
        let _guard = claims::lock()?;
        fs::create_dir_all(&layout.data_dir)
            .with_context(|| format!("making {}", layout.data_dir.display()))?;
        if let Some(other) = claims::other_owner(&layout.data_dir, &layout.name) {
            bail!(
                "cluster {other:?} of this machine keeps its data in {}: use another data directory, or take that one down first",
                layout.data_dir.display()
            );
        }
        let path = layout.cluster_file();
        if let Ok(text) = fs::read(&path) {
            let mut cluster: Self =
                serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
            if let Some(other) = claims::holder(cluster.slot).filter(|other| *other != layout.data_dir) {
                bail!(
                    "the addresses of cluster {:?} are in use by the running cluster in {}: stop that one first",
                    layout.name,
                    other.display()
                );
            }
            claims::claim(layout, cluster.slot)?;
            if let Some(nodes) = nodes.filter(|nodes| cluster.changes_to(*nodes)) {
                cluster.nodes = nodes;
                cluster.write(layout)?;
            }
            return Ok(cluster);
        }
        let is_free = |slot: &u8| claims::holder(*slot).is_none() && ports_are_free(*slot);
        let unused = (0..SLOTS).filter(|slot| !claims::is_noted(*slot)).find(is_free);
        let Some(slot) = unused.or_else(|| (0..SLOTS).find(is_free)) else {
            bail!("no free address range is left for another cluster on this machine (at most {SLOTS})");
        };
        let cluster = Self { node_name: node_name.to_owned(), nodes: nodes.unwrap_or(1), ..at(slot) };
        cluster.write(layout)?;
        claims::claim(layout, slot)?;
        Ok(cluster)
    }

    /// Whether another number of nodes is another cluster: nodes are added, and none is removed but all.
    fn changes_to(&self, nodes: u8) -> bool {
        nodes > self.nodes || (nodes == 0 && self.nodes > 0)
    }

    /// Notes durably that the cluster has more nodes from now on.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn add_nodes(layout: &Layout, nodes: u8) -> Result<Self> {
        let _guard = claims::lock()?;
        let present = Self::load(layout)?;
        let more = Self { nodes: nodes.max(present.nodes), ..present };
        more.write(layout)?;
        Ok(more)
    }

    fn write(&self, layout: &Layout) -> Result<()> {
        write_durably(&layout.cluster_file(), &serde_json::to_vec_pretty(self)?, 0o644)
    }

    /// Notes durably that the cluster's store was made, and where, where it is none of this machine.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_store(&self, layout: &Layout, etcd: Option<EtcdSettings>) -> Result<()> {
        Self { has_store: true, etcd, ..self.clone() }.write(layout)
    }

    /// The etcd to use, by what is asked for and what was there before; `None`: the file in the data directory.
    ///
    /// # Errors
    /// When the cluster's objects are elsewhere than asked for.
    pub fn store(&self, choice: Option<Choice>, layout: &Layout) -> Result<Option<EtcdSettings>> {
        match (choice, &self.etcd) {
            (None, etcd) => Ok(etcd.clone()),
            (Some(Choice::Embedded), None) => Ok(None),
            (Some(Choice::Etcd(wanted)), _) if !self.has_store => Ok(Some(wanted)),
            // The members of an etcd change.
            (Some(Choice::Etcd(wanted)), Some(etcd)) if wanted.prefix == etcd.prefix => Ok(Some(wanted)),
            (Some(_), present) => {
                let file = || layout.store_file().display().to_string();
                let place = present.as_ref().map_or_else(file, EtcdSettings::place);
                bail!(
                    "cluster {:?} keeps its objects in {place}: it goes on there without flags of a store. \
                     `knarr store migrate {}` moves them",
                    layout.name,
                    layout.flags()
                )
            }
        }
    }

    /// Refuses to begin anew where objects have been kept.
    ///
    /// # Errors
    /// When the cluster has had a store and the file is missing or empty.
    pub fn check_store(&self, layout: &Layout) -> Result<()> {
        let file = layout.store_file();
        let what = match fs::metadata(&file) {
            Ok(found) if found.len() > 0 => return Ok(()),
            Ok(_) => "is empty",
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is missing",
            Err(error) => return Err(error).with_context(|| format!("looking at {}", file.display())),
        };
        if !self.has_store {
            return Ok(());
        }
        bail!(
            "{} {what}, and with it all objects of cluster {name:?}: put back a copy of the file; or, to begin with an empty cluster on purpose, first run `knarr down --purge {}`",
            file.display(),
            layout.flags(),
            name = layout.name,
        )
    }

    /// Reads the identity of a cluster that was started before.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn load(layout: &Layout) -> Result<Self> {
        let path = layout.cluster_file();
        let text = fs::read(&path)
            .with_context(|| format!("there is no cluster {:?} on this machine", layout.name))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

/// The ports that clusters of this machine listen on, this and others.
pub fn ports() -> impl Iterator<Item = u16> {
    (0..SLOTS).flat_map(|slot| {
        let cluster = at(slot);
        [cluster.kubelet_port(), cluster.api_port()]
    })
}

/// What a slot stands for.
pub fn at(slot: u8) -> Cluster {
    Cluster { slot, node_name: String::new(), nodes: 0, has_store: false, etcd: None, shared_network: None }
}

fn ports_are_free(slot: u8) -> bool {
    let probe = at(slot);
    [probe.api_port(), probe.kubelet_port()]
        .into_iter()
        .all(|port| TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new("shop", Some(folder.path()));
        (folder, layout)
    }

    #[test]
    fn a_store_that_was_there_and_is_not_is_no_beginning() {
        let (_folder, layout) = layout();
        let new = Cluster { node_name: "n".into(), nodes: 1, ..at(0) };
        assert!(new.check_store(&layout).is_ok(), "the first start");
        new.note_store(&layout, None).expect("noted");
        let known = Cluster::load(&layout).expect("there");
        assert!(known.has_store);
        let missing = known.check_store(&layout).expect_err("missing").to_string();
        assert!(missing.contains("store.redb is missing") && missing.contains("--purge"), "{missing}");
        fs::write(layout.store_file(), "").expect("written");
        let empty = known.check_store(&layout).expect_err("empty").to_string();
        assert!(empty.contains("store.redb is empty"), "{empty}");
        fs::write(layout.store_file(), "something").expect("written");
        assert!(known.check_store(&layout).is_ok());
    }

    #[test]
    fn nodes_are_added_and_none_is_removed_but_all() {
        let cluster = Cluster { node_name: "n".into(), nodes: 3, has_store: true, ..at(2) };
        let changes: Vec<u8> = (0..=5).filter(|nodes| cluster.changes_to(*nodes)).collect();
        assert_eq!(changes, [0, 4, 5]);
        assert_eq!(cluster.members_bridge(), "knarr2nodes");
        assert_eq!(cluster.members_range(), "192.168.67.0/24");
        let last = Cluster { slot: SLOTS - 1, ..cluster };
        assert_eq!(last.members_range(), "192.168.130.0/24");
    }

    #[test]
    fn a_cluster_goes_on_in_the_store_it_has() {
        let (_folder, layout) = layout();
        let etcd = |prefix: &str, server: &str| EtcdSettings {
            servers: vec![server.to_owned()],
            cafile: None,
            certfile: None,
            keyfile: None,
            prefix: prefix.to_owned(),
        };
        let (here, moved) = (etcd("/registry", "http://a:1"), etcd("/registry", "http://b:1"));
        let new = at(0);
        assert_eq!(new.store(None, &layout).expect("taken"), None);
        assert_eq!(new.store(Some(Choice::Etcd(here.clone())), &layout).expect("taken"), Some(here.clone()));
        new.note_store(&layout, Some(here.clone())).expect("noted");
        let known = Cluster::load(&layout).expect("there");
        assert_eq!(known.store(None, &layout).expect("taken"), Some(here));
        assert_eq!(
            known.store(Some(Choice::Etcd(moved.clone())), &layout).expect("taken"),
            Some(moved.clone())
        );
        let error = known.store(Some(Choice::Embedded), &layout).expect_err("refused").to_string();
        assert!(error.contains("keeps its objects in etcd at http://a:1 below /registry"), "{error}");
        assert!(known.store(Some(Choice::Etcd(etcd("/other", "http://a:1"))), &layout).is_err());
        let embedded = Cluster { has_store: true, ..at(0) };
        let error = embedded.store(Some(Choice::Etcd(moved)), &layout).expect_err("refused").to_string();
        assert!(error.contains("store.redb"), "{error}");
    }

    #[test]
    fn a_cluster_that_says_nothing_of_its_store_has_one() {
        let (_folder, layout) = layout();
        fs::write(layout.cluster_file(), r#"{"slot":1,"node_name":"n"}"#).expect("written");
        let cluster = Cluster::load(&layout).expect("there");
        assert_eq!((cluster.nodes, cluster.has_store), (1, true));
    }
}
