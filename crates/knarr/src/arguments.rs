//! The command line. What each command does is in `commands`.

mod api_server;
mod image;
mod node;
mod scheduler;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

pub use api_server::ApiServer;
pub use image::{Build, Image};
pub use node::{NodeFlags, NodeSettings};
pub use scheduler::SchedulerFlags;
pub use store::{Backend, Choice, EtcdSettings, StoreFlags};

use crate::layout::MAX_NODES;

/// Kubernetes in one binary.
#[derive(Debug, Parser)]
#[command(name = "knarr", version, about, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster of this machine is meant.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The cluster's name; clusters of different names run side by side
    #[arg(long, default_value = crate::layout::DEFAULT_NAME)]
    pub name: String,
    /// Where the cluster's lasting state is kept [default: /var/lib/knarr/NAME]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster on this machine, in the background, and wait until its nodes are ready
    Up(Up),
    /// Stop a cluster and take everything of it off this machine, but for its data directory
    Down(Down),
    /// Tell how a cluster is
    Status(Which),
    /// Run the control plane and the nodes of this machine in the foreground
    Server(Server),
    /// Join a cluster whose control plane is elsewhere, and run this machine's node of it, in the foreground
    Agent(Agent),
    /// Tell why an object is not as it was asked for, and what would help
    Why(Why),
    /// Talk to a cluster as the stock kubectl does, with the same commands, flags and kubeconfig files
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Tell what became of an object: who changed which fields, and when
    #[command(disable_help_flag = true)]
    History {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Make a deleted object anew as it last was, with what belonged to it
    #[command(disable_help_flag = true)]
    Undelete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Compare objects with what they were (--at 10m), or with what files would make of them (-f FILE)
    #[command(disable_help_flag = true)]
    Diff {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Serve the dashboard of a cluster on this machine's loopback, until it is stopped
    Dashboard(Dashboard),
    /// The node's images
    #[command(subcommand)]
    Image(Image),
    /// The node's pods, containers and images as the container runtime sees them
    #[command(subcommand)]
    Crictl(Crictl),
    /// The tokens by which machines join the cluster
    #[command(subcommand)]
    Token(Token),
    /// What a cluster's objects are kept in; the cluster must be stopped
    #[command(subcommand)]
    Store(Store),
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub which: Which,
    /// Nodes of the cluster, all on this machine; adds nodes to a cluster that has fewer; 0 for the control plane alone
    /// [default: as many as before; 1 at first]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_NODES)))]
    pub nodes: Option<u8>,
    /// Leave the user's kubeconfig alone
    #[arg(long)]
    pub no_kubeconfig: bool,
    /// Settings for the server, a YAML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Addresses for Services of type LoadBalancer, announced on the nodes' link: CIDRs, ranges (FIRST-LAST) and addresses
    /// of IPv4 that nobody has [default: these Services get the nodes' own]
    #[arg(long, value_name = "RANGE,...", value_delimiter = ',')]
    pub load_balancer_pool: Vec<String>,
    /// On which addresses of the machine node ports are reached: CIDRs, or "primary" for the node's own
    /// [default: all, the loopback's included]
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub nodeport_addresses: Vec<String>,
    #[command(flatten)]
    pub node: NodeFlags,
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub api_server: ApiServer,
    #[command(flatten)]
    pub scheduler: SchedulerFlags,
}

#[derive(Debug, Args)]
pub struct Down {
    #[command(flatten)]
    pub which: Which,
    /// Remove the data directory too: all objects, images and volumes of the cluster
    #[arg(long)]
    pub purge: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Server {
    #[command(flatten)]
    pub which: Which,
    /// Settings, a YAML file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Nodes to run on this machine; 0 for the control plane alone [default: as many as before; 1 at first]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_NODES)))]
    pub nodes: Option<u8>,
    /// Run no node on this machine
    #[arg(long)]
    pub disable_agent: bool,
    /// A CRI v1 socket to use instead of the built-in runtime (unix:///run/containerd/containerd.sock)
    #[arg(long, value_name = "ENDPOINT")]
    pub container_runtime_endpoint: Option<String>,
    /// Addresses for Services of type LoadBalancer, announced on the nodes' link: CIDRs, ranges (FIRST-LAST) and addresses
    /// of IPv4 that nobody has [default: these Services get the nodes' own]
    #[arg(long, value_name = "RANGE,...", value_delimiter = ',')]
    pub load_balancer_pool: Vec<String>,
    /// On which addresses of the machine node ports are reached: CIDRs, or "primary" for the node's own
    /// [default: all, the loopback's included]
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub nodeport_addresses: Vec<String>,
    #[command(flatten)]
    pub node: NodeFlags,
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub api_server: ApiServer,
    #[command(flatten)]
    pub scheduler: SchedulerFlags,
}

#[derive(Debug, Args)]
pub struct Agent {
    /// How this machine calls the cluster
    #[command(flatten)]
    pub which: Which,
    /// Where the cluster's API is, at first [default: where it was when the machine joined]
    #[arg(long, value_name = "https://HOST:PORT")]
    pub server: Option<String>,
    /// A bootstrap token (`knarr token create`), with which the machine joins; not needed once it has joined
    #[arg(long)]
    pub token: Option<String>,
    /// The hash of the CA's public key, sha256:…; without it the token alone vouches for the cluster
    #[arg(long, value_name = "HASH", value_delimiter = ',')]
    pub discovery_token_ca_cert_hash: Vec<String>,
    /// Settings, a YAML file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// On which addresses of the machine node ports are reached: CIDRs, or "primary" for the node's own
    /// [default: all, the loopback's included]
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub nodeport_addresses: Vec<String>,
    #[command(flatten)]
    pub node: NodeFlags,
    /// Run the node of this position of the cluster whose server started this process
    #[arg(long, hide = true, value_parser = clap::value_parser!(u8).range(1..i64::from(MAX_NODES)))]
    pub member: Option<u8>,
}

#[derive(Debug, Args)]
pub struct Why {
    #[command(flatten)]
    pub which: Which,
    /// The kind as kubectl takes it (pod, deploy, svc, pvc, ingress, node, ns, …), or KIND/NAME
    #[arg(value_name = "KIND")]
    pub kind: String,
    #[arg(value_name = "NAME")]
    pub object: Option<String>,
    /// The namespace of the object
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: OutputForm,
}

#[derive(Debug, Args)]
pub struct Dashboard {
    #[command(flatten)]
    pub which: Which,
    /// Act as whom a kubeconfig file says, in any cluster [default: as the administrator of this machine's cluster]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig file [default: its current one]
    #[arg(long, requires = "kubeconfig")]
    pub context: Option<String>,
    /// The port on 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Only print the link; open no browser
    #[arg(long)]
    pub no_open: bool,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Create a bootstrap token
    Create(NewToken),
    /// List bootstrap tokens
    #[command(visible_alias = "ls")]
    List(Which),
    /// Delete bootstrap tokens
    Delete {
        #[command(flatten)]
        which: Which,
        /// Tokens, or their ids
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
    /// Generate and print a bootstrap token, but do not create it on the server
    Generate,
}

#[derive(Debug, Args)]
pub struct NewToken {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub wanted: WantedToken,
    /// Instead of printing only the token, print the whole command line that joins with it
    #[arg(long)]
    pub print_join_command: bool,
}

/// What a new token is to be.
#[derive(Debug, Args)]
pub struct WantedToken {
    /// The token, of the form "[a-z0-9]{6}.[a-z0-9]{16}" [default: a random one]
    pub token: Option<String>,
    /// A human friendly description of how this token is used
    #[arg(long, default_value = "", hide_default_value = true)]
    pub description: String,
    /// Extra groups that this token will authenticate as
    #[arg(long, value_delimiter = ',', default_value = DEFAULT_NODE_GROUP)]
    pub groups: Vec<String>,
    /// The ways in which this token can be used
    #[arg(long, value_delimiter = ',', default_value = "signing,authentication")]
    pub usages: Vec<String>,
    /// The duration before the token is automatically deleted (e.g. 1s, 2m, 3h); 0: never
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub ttl: Duration,
}

impl WantedToken {
    /// A random one by which a node joins.
    pub fn for_node(description: String, ttl: Duration) -> Self {
        let usages = ["signing", "authentication"].map(str::to_owned).into();
        Self { token: None, description, groups: vec![DEFAULT_NODE_GROUP.to_owned()], usages, ttl }
    }
}

/// The group of tokens by which nodes join, as kubeadm calls it.
const DEFAULT_NODE_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// A duration as Go writes it: `1h30m`, `1.5h`, `0`.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("invalid duration {text:?}: use for example 1s, 2m or 3h; 0 for never");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit_s = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return Err(invalid()),
        };
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let part = Duration::try_from_secs_f64(number * unit_s).map_err(|_| invalid())?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(total) }
}

#[derive(Debug, Subcommand)]
pub enum Crictl {
    /// List containers
    Ps {
        #[command(flatten)]
        which: Which,
        /// Also those that do not run
        #[arg(short, long)]
        all: bool,
    },
    /// List pod sandboxes
    Pods(Which),
    /// List images
    Images(Which),
}

#[derive(Debug, Subcommand)]
pub enum Store {
    /// Look through the whole file for damage; the exit code is 1 when there is some
    Check(Which),
    /// Make a sound file of what is intact; the damaged file is kept beside it
    Repair(Which),
    /// Move the objects of a stopped cluster from the file to an etcd, or back
    Migrate(Migrate),
}

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    pub which: Which,
    /// Where the objects are [default: where they are]
    #[arg(long, value_name = "STORE")]
    pub from: Option<Backend>,
    /// Where they are to be
    #[arg(long, value_name = "STORE")]
    pub to: Backend,
    /// How the etcd is reached that they go to
    #[command(flatten)]
    pub etcd: StoreFlags,
}

impl Migrate {
    /// # Errors
    /// When what is said of etcd does not fit.
    pub fn wanted(&self) -> Result<Choice> {
        if self.etcd.backend.is_some() {
            bail!("--store says nothing here: --to names the store");
        }
        if self.etcd.history_mib.is_some() {
            bail!("--history-mib says nothing here: what is moved is the present");
        }
        let flags = StoreFlags { backend: Some(self.to), ..self.etcd.clone() };
        Ok(flags.choice()?.unwrap_or(Choice::Embedded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        let seconds = |text: &str| duration(text).map(|duration| duration.as_secs_f64()).ok();
        assert_eq!(
            [
                seconds("0"),
                seconds("24h"),
                seconds("1h30m"),
                seconds("1.5h"),
                seconds("90s"),
                seconds("250ms")
            ],
            [Some(0.0), Some(86_400.0), Some(5400.0), Some(5400.0), Some(90.0), Some(0.25)]
        );
        for bad in ["", "1", "h", "-1h", "1d", "1.2.3s", "1h ", "99999999999999999999h"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
