//! A node of a cluster whose control plane is elsewhere: a `knarr agent` on a machine of its own ([`Machine`]).

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::ground::Ground;
use crate::machine::Machine;

/// A running agent. Taken down when dropped, and also when the test is interrupted or killed.
pub struct Agent {
    /// The machine's part of the cluster.
    ground: Ground,
    pub machine: Machine,
    knarr: PathBuf,
    node: String,
    /// None while it is stopped.
    process: Option<Child>,
}

impl Agent {
    /// Starts the node `node` of the cluster, with what the command line says about joining. `name` has at most 5
    /// letters.
    ///
    /// # Errors
    /// When the machine cannot be made or the agent cannot be started; the node is not waited for.
    pub fn start(cluster: &Cluster, name: &str, node: &str, joining: &[&str]) -> Result<Self> {
        let fixtures = &cluster.fixtures;
        let (ground, machine) = Ground::on_machine(fixtures, name)?;
        let node = node.to_owned();
        let mut agent = Self { ground, machine, knarr: fixtures.knarr.clone(), node, process: None };
        agent.go(joining)?;
        Ok(agent)
    }

    /// Starts the agent again after [`Self::stop`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn go(&mut self, joining: &[&str]) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.ground.dir.join("agent.log"))?;
        let prefix = self.machine.prefix();
        let process = Command::new(&prefix[0])
            .args(&prefix[1..])
            .arg(&self.knarr)
            .args(["agent", "--name", &self.ground.name, "--node-name", &self.node, "--data-dir"])
            .arg(self.ground.data_dir())
            .args(joining)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the agent")?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops the agent in order; its pods run on.
    ///
    /// # Errors
    /// When it does not end in order.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let done = Command::new("kill").arg(process.id().to_string()).status().context("running kill")?;
        ensure!(done.success(), "kill: {done}");
        let ended = process.wait().context("waiting for the agent")?;
        ensure!(ended.success(), "the agent: {ended}\n{}", self.log());
        Ok(())
    }

    /// What the machine calls the cluster.
    pub fn name(&self) -> &str {
        &self.ground.name
    }

    /// Runs a `knarr` command about what the machine has of the cluster; its standard output.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn knarr(&self, arguments: &[&str]) -> Result<String> {
        self.ground.knarr(arguments)
    }

    /// The folder of what the node joined with.
    pub fn joined_dir(&self) -> PathBuf {
        self.ground.data_dir().join("joined")
    }

    /// What the agent logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.ground.dir.join("agent.log")).unwrap_or_default()
    }

    /// Takes the node off the machine, and the machine away.
    ///
    /// # Errors
    /// When something of it could not be removed, or the agent did not end in order.
    pub fn take_down(mut self) -> Result<()> {
        let log = self.log();
        self.ground.keeper.finish()?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let ended = process.wait().context("waiting for the agent")?;
        ensure!(ended.success(), "the agent: {ended}\n{log}");
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let done = self.ground.keeper.finish();
        let ended = self.process.take().map_or(Ok(()), |mut process| process.wait().map(drop));
        if let Err(error) = done.and_then(|()| Ok(ended?)) {
            eprintln!("taking down the agent {}: {error:#}", self.ground.name);
        }
    }
}
