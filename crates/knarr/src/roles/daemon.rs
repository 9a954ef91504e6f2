//! The first and last steps of every role that is a process of its own.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::Shutdown;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::logging;
use crate::preflight;
use crate::process::ProcessRecord;

/// Set by `knarr up` for the server it starts, and by the server for its members: run in a session of its own, log as JSON.
pub const BACKGROUND: &str = "KNARR_BACKGROUND";
/// How long tasks may take to end after a signal.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Makes this process the one of its pid file and runs `role` to its end. `what` is what the process is called.
///
/// # Errors
/// What the machine lacks, whether such a process runs already, and how the role failed.
pub fn run(what: &str, pid_file: &Path, role: impl Future<Output = Result<()>>) -> Result<()> {
    let missing = preflight::missing();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    let background = in_background();
    if background {
        rustix::process::setsid().context("starting a session of its own")?;
    }
    logging::start(background);
    give_memory_back();
    raise_file_limit();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a cryptography provider is installed already"))?;
    if let Some(other) = ProcessRecord::running(pid_file) {
        bail!("{what} is running already, as process {}", other.pid);
    }
    let folder = pid_file.parent().context("a pid file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).min(8))
        .thread_name("knarr")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    // A fault in the program ends it with a message where its user looks, not only in a log.
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(role)))
        .unwrap_or_else(|panic| Err(anyhow::anyhow!("a fault in knarr: {}", panic_message(&*panic))));
    runtime.shutdown_timeout(DRAIN);
    // Only a process that ended by itself takes its pid file along; `down` handles the rest.
    let _ = std::fs::remove_file(pid_file);
    result
}

/// Whether `knarr up`, or the server that it started, started this process.
pub fn in_background() -> bool {
    std::env::var_os(BACKGROUND).is_some()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

/// Memory that is no longer used goes back to the system also while nothing happens. The allocator's thread for
/// that sleeps when there is nothing to give back; the programs with one thread must not have it.
fn give_memory_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!(%error, "unused memory goes back to the system late");
    }
}

/// Every client, watch and container takes file descriptors: as many as the machine allows may be open, not only
/// the 1024 that a login gives programs which cannot count further.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Waits for a signal to stop.
///
/// # Errors
/// When an essential part ends before.
pub async fn wait_for_end(shutdown: &Shutdown) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for signals")?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        () = shutdown.started() => bail!("an essential part of the server ended; see the log"),
    }
    Ok(())
}
