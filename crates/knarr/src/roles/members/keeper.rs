//! [`Keeper`]: keeps a member's agent running, until the server stops.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base::backoff::Policy;
use resources::bootstrap_token::Token;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::MembersDeps;
use super::portal::Portal;
use crate::arguments::WantedToken;
use crate::process::ProcessRecord;
use crate::roles::agent::Word;
use crate::roles::daemon::BACKGROUND;
use crate::{joining, tokens};

/// How long until an agent that has ended is started again, and how that grows.
const RETRY: Policy = Policy::new(Duration::from_millis(500), Duration::from_mins(1));
/// An agent that ran as long was well.
const WELL: Duration = Duration::from_mins(2);
/// How long an agent may take to end when it is told to.
const END_PATIENCE: Duration = Duration::from_secs(4);
/// How long after its end something may still come of what an agent has said.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a token lives that nobody deletes, because the server was killed.
const TOKEN_LIFE: Duration = Duration::from_mins(15);

/// See the module's documentation.
pub(super) struct Keeper {
    /// Among the cluster's nodes.
    pub index: u8,
    pub name: String,
    /// Where the API is, as seen from the member.
    pub server: String,
    pub portal: Portal,
    pub deps: Arc<MembersDeps>,
    /// Hears why the agent has ended; nothing while it runs.
    pub tell: watch::Sender<Option<String>>,
}

impl Keeper {
    /// Runs until shutdown, and ends the agent then.
    pub async fn run(self) {
        let shutdown = self.deps.supervisor.shutdown().clone();
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let why = match self.run_agent().await {
                Ok(None) => return,
                Ok(Some(why)) => why,
                Err(error) => format!("{error:#}"),
            };
            failures = if begun.elapsed() < WELL { failures + 1 } else { 1 };
            let wait = RETRY.delay(failures);
            tracing::warn!(
                node = self.name,
                why,
                log = %self.deps.layout.node(self.index).log().display(),
                "a node of this machine has ended and is started again in {} ms",
                wait.as_millis()
            );
            self.tell.send_replace(Some(why));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.started() => return,
            }
        }
    }

    /// Runs the agent to its end and says why it ended; nothing when the server stops.
    async fn run_agent(&self) -> Result<Option<String>> {
        self.end_leftover().await?;
        let token = self.token().await?;
        let mut child =
            self.portal.spawn(self.command(token.is_some())?).await.context("starting the agent")?;
        if let Some(mut input) = child.stdin.take() {
            let line = token.as_ref().map(|token| format!("{token}\n")).unwrap_or_default();
            // An agent that reads nothing says itself why it ends.
            let _ = input.write_all(line.as_bytes()).await;
        }
        let mut words = BufReader::new(child.stdout.take().context("the agent's output")?).lines();
        let shutdown = self.deps.supervisor.shutdown();
        let (mut failed, mut is_open) = (None, true);
        let status = loop {
            tokio::select! {
                biased;
                line = words.next_line(), if is_open => match line.context("reading what the agent says")? {
                    Some(line) => failed = self.hear(&line, token.as_ref()).await.or(failed),
                    None => is_open = false,
                },
                status = child.wait() => break status.context("waiting for the agent")?,
                () = shutdown.started() => {
                    end(&mut child).await?;
                    return Ok(None);
                }
            }
        };
        // What it has said last may come after its end.
        while let Ok(Ok(Some(line))) = timeout(LAST_WORDS, words.next_line()).await {
            failed = self.hear(&line, token.as_ref()).await.or(failed);
        }
        Ok(Some(failed.unwrap_or_else(|| status.to_string())))
    }

    /// Takes note of a word of the agent; why it has failed, if that is what it says.
    async fn hear(&self, line: &str, token: Option<&Token>) -> Option<String> {
        match serde_json::from_str(line) {
            Ok(Word::Joined) => {
                self.joined(token).await;
                None
            }
            Ok(Word::Failed(why)) => Some(why),
            Err(_) => {
                tracing::warn!(node = self.name, line, "an agent says what nobody understands");
                None
            }
        }
    }

    /// The agent of a server that was killed may not have ended yet.
    async fn end_leftover(&self) -> Result<()> {
        let pid_file = self.deps.layout.node(self.index).pid_file();
        let ending = tokio::task::spawn_blocking(move || {
            ProcessRecord::running(&pid_file).map_or(Ok(()), |agent| agent.end(END_PATIENCE))
        });
        ending.await.context("ending an earlier agent")?
    }

    /// A token to join with, where the member is no node of the cluster yet.
    async fn token(&self) -> Result<Option<Token>> {
        let (folder, now) = (self.deps.layout.node(self.index).joined_dir(), self.deps.clock.now());
        if !joining::needs_token(&folder, &self.server, now)? {
            return Ok(None);
        }
        let wanted = WantedToken::for_node(format!("node {} joins with this", self.name), TOKEN_LIFE);
        Ok(Some(tokens::create(&self.deps.client, &wanted, now).await?))
    }

    /// The agent is a node of the cluster.
    async fn joined(&self, token: Option<&Token>) {
        self.tell.send_replace(None);
        let Some(token) = token else { return };
        if let Err(error) = tokens::delete(&self.deps.client, &token.id).await {
            tracing::warn!(error = %format!("{error:#}"), "a node has joined; its token stays until its time is over");
        }
    }

    fn command(&self, is_new: bool) -> Result<Command> {
        let deps = &self.deps;
        let layout = &deps.layout;
        let log = layout.node(self.index).log();
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
        let program = std::env::current_exe().context("finding knarr's own program")?;
        let mut command = Command::new(program);
        command.args(["agent", "--name", &layout.name, "--data-dir"]).arg(&layout.data_dir);
        command.args([
            "--member",
            &self.index.to_string(),
            "--node-name",
            &self.name,
            "--server",
            &self.server,
        ]);
        if is_new {
            command.args(["--discovery-token-ca-cert-hash", &deps.ca_hash]);
        }
        if let Some(config) = &deps.config {
            command.arg("--config").arg(fs::canonicalize(config).context("finding the settings")?);
        }
        if !deps.node_ports.is_empty() {
            command.arg("--nodeport-addresses").arg(deps.node_ports.join(","));
        }
        command.env(BACKGROUND, "1").current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(log.context("opening the agent's log")?);
        Ok(command)
    }
}

/// Tells an agent to stop, and kills it where it does not in time.
async fn end(child: &mut Child) -> Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // Without an id it has ended; as long as nobody has waited for it, the id is its own.
    let Some(pid) = pid else { return Ok(()) };
    kill_process(pid, Signal::TERM).map_err(io::Error::from).context("telling an agent to stop")?;
    if timeout(END_PATIENCE, child.wait()).await.is_err() {
        child.kill().await.context("killing an agent")?;
    }
    Ok(())
}
