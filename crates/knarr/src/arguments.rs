//! The command line. What each command does is in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// Start a cluster on this machine, in the background, and wait until its node is ready
    Up(Up),
    /// Stop a cluster and take everything of it off this machine, but for its data directory
    Down(Down),
    /// Tell how a cluster is
    Status(Which),
    /// Run the control plane and this machine's node in the foreground
    Server(Server),
    /// Run this machine's node of a cluster whose control plane is elsewhere, in the foreground
    // Hidden until a node can join by itself.
    #[command(hide = true)]
    Agent(Agent),
    /// The node's images
    #[command(subcommand)]
    Image(Image),
    /// The node's pods, containers and images as the container runtime sees them
    #[command(subcommand)]
    Crictl(Crictl),
    /// The file that a cluster's objects are kept in; the cluster must be stopped
    #[command(subcommand)]
    Store(Store),
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub which: Which,
    /// Nodes of the cluster; 0 for the control plane alone [default: as many as before; 1 at first]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_NODES)))]
    pub nodes: Option<u8>,
    /// Leave the user's kubeconfig alone
    #[arg(long)]
    pub no_kubeconfig: bool,
    /// Settings for the server, a YAML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
}

#[derive(Debug, Args)]
pub struct Agent {
    /// How this machine calls the cluster
    #[command(flatten)]
    pub which: Which,
    /// What the node joined with, a YAML file
    #[arg(long, value_name = "FILE")]
    pub joined: PathBuf,
    /// Settings, a YAML file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Import images from an OCI or Docker archive (- for standard input)
    Import {
        #[command(flatten)]
        which: Which,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the node's images
    #[command(visible_alias = "ls")]
    List(Which),
    /// Pull an image from its registry
    Pull {
        #[command(flatten)]
        which: Which,
        reference: String,
    },
    /// Remove an image
    Rm {
        #[command(flatten)]
        which: Which,
        #[arg(required = true)]
        references: Vec<String>,
    },
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
}
