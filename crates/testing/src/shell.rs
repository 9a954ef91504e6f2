//! Running what a user would type, in bash, with a deadline, against one cluster and namespace.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::stream::Stream;
use crate::transcript::Transcript;

/// Seconds a typed line may take, where it says nothing else itself.
const DEADLINE_S: u32 = 120;

/// A user's terminal: a folder of its own, a kubeconfig of its own, `kubectl` and `knarr` on the path.
pub struct Shell {
    dir: TempDir,
    path: OsString,
    transcript: Transcript,
}

/// What a line printed, and how it ended.
#[derive(Debug)]
pub struct Spoken {
    pub line: String,
    /// 124 when it did not end in time, -1 when a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Shell {
    /// A terminal in a new folder below `parent`, whose kubeconfig is a copy of `kubeconfig` and where `kubectl` and
    /// `knarr` mean these programs.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new(
        parent: &Path,
        kubeconfig: &Path,
        kubectl: &Path,
        knarr: &Path,
        transcript: &Transcript,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("terminal-").tempdir_in(parent)?;
        let bin = dir.path().join(".bin");
        fs::create_dir(&bin)?;
        std::os::unix::fs::symlink(kubectl, bin.join("kubectl"))?;
        std::os::unix::fs::symlink(knarr, bin.join("knarr"))?;
        fs::copy(kubeconfig, dir.path().join("kubeconfig"))
            .with_context(|| format!("reading {}", kubeconfig.display()))?;
        let mut path = bin.into_os_string();
        if let Some(rest) = std::env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        Ok(Self { dir, path, transcript: transcript.clone() })
    }

    /// The terminal's folder, where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The terminal's own kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Writes a file into the terminal's folder.
    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("the terminal's folder can be written");
    }

    /// Runs a line, whatever comes of it. A line that does not end in time ends with code 124.
    pub fn run(&self, line: &str) -> Spoken {
        self.run_with(line, None)
    }

    /// Runs a line with standard input.
    pub fn run_with(&self, line: &str, input: Option<&str>) -> Spoken {
        let mut command = self.command(line);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("bash and timeout are on every Debian machine");
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A line that ends without reading its input is judged by its exit code.
            let _ = stdin.write_all(input.as_bytes());
        }
        let done = child.wait_with_output().expect("a child's output can be read");
        let spoken = Spoken {
            line: line.to_owned(),
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        };
        let ended = if spoken.code == 0 { String::new() } else { format!("exit code {}", spoken.code) };
        let typed = input.map_or_else(|| line.to_owned(), |input| format!("{line} <<EOF\n{input}\nEOF"));
        self.transcript.add(&typed, &ended, &format!("{}{}", spoken.out, spoken.err));
        spoken
    }

    /// Runs a line that must succeed; its standard output.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let spoken = self.run(line);
        assert!(spoken.code == 0, "{}", spoken.told("must succeed"));
        spoken.out
    }

    /// Runs a line that must fail; its standard error.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        let spoken = self.run(line);
        assert!(spoken.code != 0 && spoken.code != 124, "{}", spoken.told("must fail"));
        spoken.err
    }

    /// Applies manifests (YAML documents, or JSON objects after one another); what kubectl says.
    #[track_caller]
    pub fn apply(&self, manifests: &str) -> String {
        let spoken = self.run_with("kubectl apply -f -", Some(manifests));
        assert!(spoken.code == 0, "{}\n{manifests}", spoken.told("must succeed"));
        spoken.out
    }

    /// Starts a line and reads what it prints while it runs.
    #[track_caller]
    pub fn start(&self, line: &str) -> Stream {
        let mut command = Stream::mortal("bash");
        command.args(["-c", &format!("exec {line}")]);
        self.environment(&mut command);
        Stream::start(line, command, &self.transcript)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &DEADLINE_S.to_string(), "bash", "-o", "pipefail", "-c", line]);
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env("PATH", &self.path)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.dir.path())
            .env_remove("KUBECTL_EXTERNAL_DIFF");
    }
}

impl Spoken {
    /// The whole exchange, for a failure's message.
    pub fn told(&self, expected: &str) -> String {
        format!(
            "$ {}\n{expected}, ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.code, self.out, self.err
        )
    }
}
