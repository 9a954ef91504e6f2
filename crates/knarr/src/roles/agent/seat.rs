//! [`Seat`]: where on this machine an agent's node is. An agent has the machine to itself, or is a member: one of several
//! nodes of a cluster whose server is on the machine too, which has started the agent in a namespace of the node's own.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kubelet::static_pods::StaticPodsConfig;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::Word;
use crate::arguments::Agent;
use crate::cluster::Cluster;
use crate::host;
use crate::layout::{Layout, NodeLayout};
use crate::process::ProcessRecord;
use crate::roles::{daemon, node};
use crate::settings::Settings;
use crate::which::layout_of;

/// Of nodes that others do not reach as the address of a load balancer.
const NOT_BALANCED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// See the module's documentation.
pub(super) struct Seat {
    layout: Layout,
    /// Among the cluster's nodes on this machine.
    member: Option<u8>,
    pub node: NodeLayout,
    pub joined_dir: PathBuf,
    pub pid_file: PathBuf,
}

impl Seat {
    /// As the command line says. A member ends with its server from now on.
    ///
    /// # Errors
    /// When the cluster cannot be told, or the server of a member is gone.
    pub fn of(agent: &Agent) -> Result<Self> {
        let layout = layout_of(&agent.which)?;
        let node = layout.node(agent.member.unwrap_or(0));
        if agent.member.is_some() {
            end_with_server(&layout)?;
        }
        let (joined_dir, pid_file) = match agent.member {
            Some(_) => (node.joined_dir(), node.pid_file()),
            None => (layout.joined_dir(), layout.pid_file()),
        };
        Ok(Self { layout, member: agent.member, node, joined_dir, pid_file })
    }

    /// What the process is called.
    pub fn what(&self) -> String {
        match self.member {
            Some(index) => format!("node {} of cluster {:?}", index + 1, self.layout.name),
            None => format!("cluster {:?}", self.layout.name),
        }
    }

    pub fn index(&self) -> u8 {
        self.member.unwrap_or(0)
    }

    /// The token that a member's server writes to the member's standard input, where others could not read it.
    ///
    /// # Errors
    /// When standard input cannot be read.
    pub fn token(&self) -> Result<Option<String>> {
        if self.member.is_none() {
            return Ok(None);
        }
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("reading the token")?;
        Ok(Some(line.trim().to_owned()).filter(|token| !token.is_empty()))
    }

    /// What the cluster is on this machine, which is made ready for a node. That is done for members before they start.
    ///
    /// # Errors
    /// When the machine has no room for the cluster, or its settings cannot be changed.
    pub fn take(&self, name: &str) -> Result<Cluster> {
        if self.member.is_some() {
            return Cluster::load(&self.layout);
        }
        let cluster = Cluster::load_or_create(&self.layout, name, Some(1))?;
        host::prepare()?;
        Ok(cluster)
    }

    /// The file that the process logs to, if it does.
    pub fn log(&self) -> Option<PathBuf> {
        (self.member.is_some() && daemon::in_background()).then(|| self.node.log())
    }

    /// The file that names the node's name servers.
    pub fn resolv_conf(&self) -> PathBuf {
        self.member.map_or_else(|| host::RESOLV_CONF.into(), |_| host::resolv_conf())
    }

    /// Where static pods come from. A member has none: the settings are all nodes', and a manifest asks for one pod.
    ///
    /// # Errors
    /// When their folder cannot be made.
    pub fn static_pods(&self, settings: &Settings) -> Result<StaticPodsConfig> {
        match self.member {
            Some(_) => Ok(StaticPodsConfig::default()),
            None => node::static_pods(&self.layout, settings),
        }
    }

    /// The node's labels beside those of every node. What is sent to a load balancer reaches the machine, not its members.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.member.into_iter().map(|_| (NOT_BALANCED.to_owned(), String::new())).collect()
    }

    /// Says something to the server of a member, which may be gone.
    ///
    /// # Errors
    /// When the word cannot be written as JSON.
    pub fn say(&self, word: &Word) -> Result<()> {
        if self.member.is_some() {
            let line = serde_json::to_string(word)?;
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        Ok(())
    }
}

/// Has the kernel tell this process to stop when the server that started the process is gone, however it ends: the next
/// server starts its members itself.
fn end_with_server(layout: &Layout) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM)).context("asking to be told of the server's end")?;
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    let server = ProcessRecord::running(&layout.pid_file()).map(|server| server.pid);
    if server.is_none() || server != parent {
        bail!("only the server of cluster {:?} starts its nodes on this machine", layout.name);
    }
    Ok(())
}
