//! `knarr up`: starts a cluster on this machine, in the background.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base::{Shutdown, Supervisor};
use client::kubeconfig;
use rustix::process::Signal;

use super::{say, user_kubeconfig};
use crate::admin;
use crate::arguments::{ApiServer, NodeFlags, SchedulerFlags, Up};
use crate::cluster::Cluster;
use crate::layout::Layout;
use crate::preflight;
use crate::process::{ProcessRecord, ended_within};
use crate::roles::daemon::BACKGROUND;
use crate::roles::readiness;
use crate::roles::server::{NODE_PATIENCE, Ready, Word};
use crate::which::layout_of;

/// How many lines of the server's log are shown when it does not come up.
const LOG_TAIL: usize = 15;
/// A server that was killed is gone within this time.
const KILLED_NOTICE: Duration = Duration::from_millis(100);
/// How long a server that answers no more may take to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Starts the cluster, or adds nodes to one that runs, and returns when its nodes are Ready.
///
/// # Errors
/// Says what is missing, or why the server did not come up.
pub fn run(up: &Up) -> Result<()> {
    let layout = layout_of(&up.which)?;
    if let [first, rest @ ..] = preflight::missing().as_slice() {
        let more = rest.iter().map(|line| format!("\n{line}")).collect::<String>();
        bail!("{first}{more}");
    }
    let started = Instant::now();
    let nodes = Cluster::load(&layout).ok().map(|cluster| cluster.nodes);
    if let (Some(present), Some(wanted @ 1..)) = (nodes, up.nodes)
        && wanted < present
    {
        say(&format!(
            "cluster {:?} keeps its {present} nodes: --nodes adds nodes and removes none\n",
            layout.name
        ))?;
    }
    let ready = match ProcessRecord::running(&layout.pid_file()).filter(|server| !is_ending(server, &layout))
    {
        Some(server) => match up.nodes.filter(|wanted| nodes.is_none_or(|present| *wanted > present)) {
            Some(wanted) => add_nodes(&layout, &server, wanted)?,
            None => {
                say(&format!("cluster {:?} is running already\n", layout.name))?;
                let given = up.node != NodeFlags::default()
                    || up.api_server != ApiServer::default()
                    || up.scheduler != SchedulerFlags::default();
                if up.config.is_some() || given {
                    say(
                        "settings that were given now count from its next start: `knarr down`, then `knarr up` with them\n",
                    )?;
                }
                return merge_kubeconfig(up, &layout);
            }
        },
        None => start_server(up, &layout)?,
    };
    merge_kubeconfig(up, &layout)?;
    if !ready.late.is_empty() {
        bail!("cluster {:?} runs, but {}", layout.name, ready.late.join("; "));
    }
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("cluster {:?} is up after {seconds:.2} s: {}\n", layout.name, who_is_ready(&ready.nodes)))?;
    if !up.no_kubeconfig {
        say(&format!("kubectl now talks to it (context {:?})\n", layout.context()))?;
    }
    Ok(())
}

fn who_is_ready(nodes: &[String]) -> String {
    match nodes {
        [] => "the control plane is ready, without a node".to_owned(),
        [node] => format!("node {node} is Ready"),
        nodes => format!("nodes {} are Ready", nodes.join(", ")),
    }
}

/// Whether the server is just coming to its end, killed or told to; returns once it has ended.
fn is_ending(server: &ProcessRecord, layout: &Layout) -> bool {
    let Some(handle) = server.open() else { return true };
    let answers = || {
        let port = Cluster::load(layout).ok().map(|cluster| cluster.api_port());
        port.is_some_and(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    };
    ended_within(&handle, KILLED_NOTICE) || (!answers() && ended_within(&handle, END_PATIENCE))
}

/// Has a running server start more nodes, and waits until all are Ready.
fn add_nodes(layout: &Layout, server: &ProcessRecord, nodes: u8) -> Result<Ready> {
    let before = Cluster::load(layout)?.nodes;
    if before == 0 {
        bail!(
            "cluster {:?} runs its control plane alone: `knarr down` it before it is given nodes",
            layout.name
        );
    }
    let cluster = Cluster::add_nodes(layout, nodes)?;
    if !server.tell(Signal::USR1)? {
        bail!(
            "the server of cluster {:?} adds no nodes while it runs: the nodes are there after `knarr down {}` and \
             another `knarr up`",
            layout.name,
            layout.flags()
        );
    }
    let endpoint = admin::of(layout)?;
    let names: Vec<String> = (0..cluster.nodes).map(|index| cluster.node_name(index)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let late = runtime.block_on(async {
        let supervisor = Supervisor::new(Shutdown::new());
        let late =
            readiness::wait_ready(client::https(&endpoint)?, &names, &supervisor, NODE_PATIENCE).await?;
        supervisor.shutdown().start();
        supervisor.drain(NODE_PATIENCE).await;
        Ok::<_, anyhow::Error>(late)
    })?;
    let log = layout.server_log();
    let late = late.into_iter().map(|(_, line)| format!("{line} (see {})", log.display())).collect();
    Ok(Ready { nodes: names, late, server: endpoint.server })
}

/// Starts `knarr server` in a session of its own and waits for its word on standard output.
fn start_server(up: &Up, layout: &Layout) -> Result<Ready> {
    fs::create_dir_all(&layout.data_dir).with_context(|| format!("making {}", layout.data_dir.display()))?;
    let log_path = layout.server_log();
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .with_context(|| format!("opening {}", log_path.display()))?;
    let log_start = log.metadata().map_or(0, |m| m.len());
    let program = std::env::current_exe().context("finding knarr's own program")?;
    let mut command = Command::new(program);
    command.args(["server", "--name", &layout.name, "--data-dir"]).arg(&layout.data_dir);
    if let Some(nodes) = up.nodes {
        command.arg("--nodes").arg(nodes.to_string());
    }
    if let Some(config) = &up.config {
        let config = fs::canonicalize(config).with_context(|| format!("reading {}", config.display()))?;
        command.arg("--config").arg(config);
    }
    if !up.load_balancer_pool.is_empty() {
        command.arg("--load-balancer-pool").arg(up.load_balancer_pool.join(","));
    }
    if !up.nodeport_addresses.is_empty() {
        command.arg("--nodeport-addresses").arg(up.nodeport_addresses.join(","));
    }
    command.args(up.node.arguments()?);
    command.args(up.store.arguments()?);
    command.args(up.api_server.arguments()?);
    command.args(up.scheduler.arguments()?);
    command.env(BACKGROUND, "1").current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut server = command.spawn().context("starting the server")?;
    let output = server.stdout.take().context("the server's output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("waiting for the server")?;
    match serde_json::from_str(&line) {
        Ok(Word::Ready(ready)) => return Ok(ready),
        Ok(Word::Failed(why)) => {
            server.wait().context("waiting for the server")?;
            bail!("the server did not come up: {why}");
        }
        // The server said nothing before it ended: its log says why.
        Err(_) => {}
    }
    let status = server.wait().context("waiting for the server")?;
    let log = fs::read(&log_path).unwrap_or_default();
    let log =
        String::from_utf8_lossy(log.get(usize::try_from(log_start)?..).unwrap_or_default()).into_owned();
    bail!("the server did not come up ({status}); {} says:\n{}", log_path.display(), last_words(&log))
}

/// What tells most of a log: the error the server ended with or, when it ended without one, its last lines.
fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.iter().rposition(|line| line.starts_with("error: "));
    lines[from.unwrap_or(lines.len().saturating_sub(LOG_TAIL))..].join("\n")
}

fn merge_kubeconfig(up: &Up, layout: &Layout) -> Result<()> {
    if up.no_kubeconfig {
        return Ok(());
    }
    let path = user_kubeconfig().context("neither KUBECONFIG nor HOME is set: use --no-kubeconfig")?;
    kubeconfig::merge(&path, &layout.context(), &admin::of(layout)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_names_the_nodes_there_are() {
        assert_eq!(who_is_ready(&[]), "the control plane is ready, without a node");
        assert_eq!(who_is_ready(&["a".to_owned()]), "node a is Ready");
        assert_eq!(who_is_ready(&["a".to_owned(), "a-m02".to_owned()]), "nodes a, a-m02 are Ready");
    }

    #[test]
    fn a_server_that_ended_with_an_error_is_quoted_with_it_alone() {
        assert_eq!(
            last_words("{\"level\":\"INFO\"}\nerror: no bridge\nand more"),
            "error: no bridge\nand more"
        );
        let killed: Vec<String> = (0..20).map(|line| line.to_string()).collect();
        assert_eq!(last_words(&killed.join("\n")), killed[5..].join("\n"));
        assert_eq!(last_words(""), "");
    }
}
