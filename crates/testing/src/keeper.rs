//! Cleaning up after a test whatever becomes of it: a small process that outlives it.
//!
//! The keeper waits on a pipe whose other end the test holds. The pipe closes when the test lets go of it, and just
//! as well when the test is interrupted or killed; then the keeper runs its line.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A process that runs a line of bash when this value, or the test, is gone.
pub(crate) struct Keeper {
    line: String,
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// Starts it; `line` is what it will run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(line: &str) -> Result<Self> {
        let mut child = Command::new("bash")
            .args(["-c", &format!("read -r; {line}")])
            .current_dir("/")
            // A group of its own, so that an interrupt at the terminal passes it by.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("starting bash")?;
        let pipe = child.stdin.take();
        Ok(Self { line: line.to_owned(), child, pipe })
    }

    /// Has the line run now.
    ///
    /// # Errors
    /// When the line fails; what it said is on standard error.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.pipe.take().is_none() {
            return Ok(());
        }
        let status = self.child.wait().context("waiting for the clean-up")?;
        ensure!(status.success(), "{} ({status})", self.line);
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            eprintln!("cleaning up failed: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_its_line_once_it_is_let_go_and_says_when_that_fails() {
        let dir = tempfile::tempdir().expect("a folder");
        let mark = dir.path().join("mark");
        drop(Keeper::start(&format!("touch {}", mark.display())).expect("bash"));
        assert!(mark.exists());
        let mut keeper = Keeper::start("exit 3").expect("bash");
        assert!(keeper.finish().is_err());
    }
}
