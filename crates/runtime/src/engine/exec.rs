//! Further processes in running containers, with their streams connected.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::{Container, Engine, EngineError, new_id};
use crate::shim_link::ShimLink;
use crate::spec;
use shim::files::{read_json, write_json};
use shim::protocol::{Op, Reply};

/// The most output [`Engine::exec_sync`] keeps of each stream; a probe's output is short.
const MAX_SYNC_OUTPUT_BYTES: u64 = 16 << 20;

/// After a process has ended its output is read for no longer than this: other processes may hold its pipes open.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// A process that was started.
pub struct Started {
    pub id: String,
    pub link: ShimLink,
    /// Its exit code; an error when the pod has gone.
    pub exit: oneshot::Receiver<i32>,
    pub stdio: Stdio,
}

/// This side of a process' streams.
pub enum Stdio {
    Pipes { stdin: Option<pipe::Sender>, stdout: Option<pipe::Receiver>, stderr: Option<pipe::Receiver> },
    Terminal(OwnedFd),
}

/// Which streams are wanted; what isn't is `/dev/null`.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// What [`Engine::exec_sync`] brings back.
#[derive(Debug, Default)]
pub struct Output {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub code: i32,
}

impl Engine {
    /// Starts `command` in a running container.
    pub async fn exec(
        &self,
        container: &Arc<Container>,
        command: &[String],
        streams: Streams,
    ) -> Result<Started, EngineError> {
        if command.is_empty() {
            return Err(EngineError::Invalid("no command specified".to_owned()));
        }
        if !container.is_running() {
            let state = container.life().state().as_str_name();
            return Err(EngineError::State(format!("container is in {state} state")));
        }
        let link = container.sandbox.link()?.clone();
        let id = new_id();
        let spec: Value = read_json(&container.dir.join("config.json"))?;
        let process_file = container.dir.join(format!("exec-{}.json", &id[..16]));
        write_json(&process_file, &spec::exec_process(&spec, command, streams.tty))?;
        let exit = link.exec_exit(&id);
        let op = Op::Exec {
            container: container.id.clone(),
            exec: id.clone(),
            process_file: process_file.to_string_lossy().into_owned(),
            tty: streams.tty,
        };
        let started =
            if streams.tty { with_terminal(&link, op).await } else { with_pipes(&link, op, streams).await };
        // The shim has read it, or never will.
        let _ = std::fs::remove_file(&process_file);
        match started {
            Ok(stdio) => Ok(Started { id, link, exit, stdio }),
            Err(error) => {
                link.forget_exec(&id);
                Err(match error {
                    EngineError::Payload(why) => EngineError::Exec { id, why },
                    other => other,
                })
            }
        }
    }

    /// Runs `command` to its end; none of `timeout` waits for ever.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] after `timeout`; the process is killed then.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: &[String],
        timeout: Option<Duration>,
    ) -> Result<Output, EngineError> {
        let container = self.container(id)?;
        let streams = Streams { stdin: false, stdout: true, stderr: true, tty: false };
        let started = self.exec(&container, command, streams).await?;
        let Stdio::Pipes { stdout, stderr, .. } = started.stdio else {
            return Err(EngineError::State("an exec without a terminal got one".to_owned()));
        };
        let work = async {
            // Output first: a process whose output nobody reads doesn't end. A child it left behind may hold
            // the pipes open, so its end counts even when they stay open.
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = {
                let reading =
                    async { tokio::join!(read_some(stdout, &mut out), read_some(stderr, &mut err)) };
                let exit = started.exit;
                tokio::pin!(exit, reading);
                tokio::select! {
                    code = &mut exit => {
                        // Nothing more is written by it: what is in the pipes is there now.
                        let _ = tokio::time::timeout(LAST_OUTPUT, &mut reading).await;
                        code
                    }
                    _ = &mut reading => exit.await,
                }
            };
            (code, out, err)
        };
        let outcome = match timeout {
            Some(limit) => tokio::time::timeout(limit, work).await,
            None => Ok(work.await),
        };
        match outcome {
            Ok((Ok(code), stdout, stderr)) => Ok(Output { stdout, stderr, code }),
            Ok((Err(_), ..)) => Err(EngineError::State("the pod has gone".to_owned())),
            Err(_) => {
                let op = Op::SignalExec { exec: started.id, signal: libc::SIGKILL };
                started.link.request(op, &[]).await?;
                let limit = timeout.unwrap_or_default();
                Err(EngineError::Timeout(format!(
                    "command {command:?} timed out after {} s",
                    limit.as_secs()
                )))
            }
        }
    }
}

async fn with_terminal(link: &ShimLink, op: Op) -> Result<Stdio, EngineError> {
    match link.request(op, &[]).await.map_err(EngineError::from_start)? {
        (Reply::Exec { .. }, files) => {
            let master = files.into_iter().next();
            master
                .map(Stdio::Terminal)
                .ok_or_else(|| EngineError::State("the shim sent no terminal".to_owned()))
        }
        _ => Err(EngineError::State("the shim gave a wrong answer".to_owned())),
    }
}

async fn with_pipes(link: &ShimLink, op: Op, streams: Streams) -> Result<Stdio, EngineError> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let mut theirs: Vec<OwnedFd> = Vec::with_capacity(3);
    let mut stdin = None;
    if streams.stdin {
        let (read, write) = new_pipe()?;
        theirs.push(read);
        stdin = Some(pipe::Sender::from_owned_fd(write_end(write)?)?);
    } else {
        theirs.push(null.try_clone()?.into());
    }
    let mut output = |wanted: bool| -> Result<Option<pipe::Receiver>, EngineError> {
        if !wanted {
            theirs.push(null.try_clone()?.into());
            return Ok(None);
        }
        let (ours, write) = receiving_pipe()?;
        theirs.push(write);
        Ok(Some(ours))
    };
    let (stdout, stderr) = (output(streams.stdout)?, output(streams.stderr)?);
    let files: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
    link.request(op, &files).await.map_err(EngineError::from_start)?;
    Ok(Stdio::Pipes { stdin, stdout, stderr })
}

fn new_pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// A pipe that this process reads and another process writes.
pub fn receiving_pipe() -> std::io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = new_pipe()?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// Makes the write end of a pipe fit for asynchronous use.
pub fn write_end(pipe: OwnedFd) -> std::io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}

async fn read_some(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> std::io::Result<()> {
    if let Some(mut stream) = stream {
        (&mut stream).take(MAX_SYNC_OUTPUT_BYTES).read_to_end(into).await?;
        // The rest is read and dropped, so that the process can end.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(())
}
