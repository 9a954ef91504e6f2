//! A backend that runs nothing.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{BackendError, Connection, Exit, Process, Stdio, StreamBackend, TerminalSize};

#[derive(Default)]
pub struct FakeBackend {
    /// Processes that outlive their sessions, and what each of them read.
    pub keeping: Mutex<JoinSet<Vec<u8>>>,
}

/// The process' own ends of its streams.
struct Inside {
    stdin: tokio::io::DuplexStream,
    stdout: tokio::io::DuplexStream,
    stderr: tokio::io::DuplexStream,
    size: watch::Receiver<Option<TerminalSize>>,
}

impl Inside {
    async fn run(mut self, command: &[String]) -> std::io::Result<i32> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[..] {
            ["cat"] => drop(tokio::io::copy(&mut self.stdin, &mut self.stdout).await?),
            ["count"] => {
                let n = tokio::io::copy(&mut self.stdin, &mut tokio::io::sink()).await?;
                self.stdout.write_all(n.to_string().as_bytes()).await?;
            }
            ["exit", code] => {
                self.stderr.write_all(b"failing\n").await?;
                return code.parse().map_err(std::io::Error::other);
            }
            ["size"] => {
                let size = self.size.wait_for(Option::is_some).await.ok().and_then(|size| *size);
                if let Some(TerminalSize { width, height }) = size {
                    self.stdout.write_all(format!("{width}x{height}").as_bytes()).await?;
                }
            }
            _ => self.stdout.write_all(b"attached").await?,
        }
        Ok(0)
    }
}

fn start(command: Vec<String>, stdio: Stdio) -> Process {
    let (stdin, process_stdin) = duplex(4096);
    let (stdout, process_stdout) = duplex(4096);
    let (stderr, process_stderr) = duplex(4096);
    let (resize, size) = watch::channel(None);
    let inside = Inside { stdin: process_stdin, stdout: process_stdout, stderr: process_stderr, size };
    let exit = async move {
        let code = inside.run(&command).await.map_err(|e| BackendError::Failed(e.to_string()))?;
        Ok(Exit { code })
    };
    Process {
        stdin: stdio.stdin.then(|| Box::new(stdin) as _),
        stdout: stdio.stdout.then(|| Box::new(stdout) as _),
        stderr: (stdio.stderr && !stdio.tty).then(|| Box::new(stderr) as _),
        resize: stdio.tty.then_some(resize),
        exit: exit.boxed(),
    }
}

impl FakeBackend {
    fn keep(&self) -> Process {
        let (stdin, mut process_stdin) = duplex(4096);
        let reading = async move {
            let mut kept = Vec::new();
            process_stdin.read_to_end(&mut kept).await.map(|_| kept).unwrap_or_default()
        };
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner).spawn(reading);
        let exit = std::future::pending().boxed();
        Process { stdin: Some(Box::new(stdin)), stdout: None, stderr: None, resize: None, exit }
    }
}

#[async_trait]
impl StreamBackend for FakeBackend {
    async fn exec(
        &self,
        _container: &str,
        command: &[String],
        stdio: Stdio,
    ) -> Result<Process, BackendError> {
        match command[0].as_str() {
            "missing" => Err(BackendError::Failed("no such file".to_owned())),
            "keep" => Ok(self.keep()),
            _ => Ok(start(command.to_vec(), stdio)),
        }
    }

    async fn attach(&self, container: &str, stdio: Stdio) -> Result<Process, BackendError> {
        match container {
            "gone" => Err(BackendError::NotFound("container not found".to_owned())),
            _ => Ok(start(vec!["attach".to_owned()], stdio)),
        }
    }

    async fn dial(&self, _sandbox: &str, port: u16) -> Result<Box<dyn Connection>, BackendError> {
        if port != 7 {
            return Err(BackendError::Failed("connection refused".to_owned()));
        }
        // A real socket: half-close is what is tried out.
        let failed = |e: std::io::Error| BackendError::Failed(e.to_string());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let connected = tokio::net::TcpStream::connect(listener.local_addr().map_err(failed)?);
        let (client, accepted) = tokio::join!(connected, listener.accept());
        let server = accepted.and_then(|(server, _)| server.into_std()).map_err(failed)?;
        server.set_nonblocking(false).map_err(failed)?;
        // It ends with its connection.
        std::thread::spawn(move || drop(echo(server)));
        Ok(Box::new(client.map_err(failed)?))
    }
}

/// Echoes to the end of input, or to the word "quit", then says goodbye.
fn echo(mut server: std::net::TcpStream) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut buffer = [0; 1024];
    loop {
        let n = server.read(&mut buffer)?;
        server.write_all(&buffer[..n])?;
        if n == 0 || buffer[..n].ends_with(b"quit") {
            return server.write_all(b", bye");
        }
    }
}
