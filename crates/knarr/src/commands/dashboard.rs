//! `knarr dashboard`: serves the dashboard on the loopback until it is stopped.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::dashboard::{Dashboard as Site, DashboardDeps};
use anyhow::{Context, Result};
use base::{Shutdown, Supervisor, TaskKind};
use tempfile::NamedTempFile;
use tokio::signal::unix::{SignalKind, signal};

use super::say;
use crate::admin;
use crate::arguments::Dashboard;
use crate::which::layout_of;

/// How long streams may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints the link and serves.
///
/// # Errors
/// When there is no such cluster, its API cannot be asked, or the port cannot be had.
pub async fn run(asked: &Dashboard) -> Result<()> {
    let client = match &asked.kubeconfig {
        Some(path) => client::of_kubeconfig(path, asked.context.as_deref()).await?,
        None => client::https(&admin::of(&layout_of(&asked.which)?)?)?,
    };
    let version = client.apiserver_version().await.context("the API server cannot be asked")?;
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(shutdown.clone());
    let site = Site::bind(asked.port, DashboardDeps { client, supervisor: supervisor.clone() });
    let site = site.await.with_context(|| format!("listening on port {} of 127.0.0.1", asked.port))?;
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    say(&format!(
        "The dashboard of Kubernetes {} is at\n\n  {}\n\nThe link is good for one browser. Stop with Ctrl-C.\n",
        version.git_version,
        site.link()
    ))?;
    let opened = if asked.no_open { None } else { open(site.link()) };
    supervisor.spawn(TaskKind::Essential, "dashboard", site.serve());
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = ended.recv() => {}
        () = shutdown.started() => {}
    }
    shutdown.start();
    supervisor.drain(PATIENCE).await;
    drop(opened);
    Ok(())
}

/// The desktop's opener and the file that it was given.
struct Opened {
    opener: Child,
    _file: NamedTempFile,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Err(error) = self.opener.try_wait() {
            tracing::debug!(%error, "the opener's end is not known");
        }
    }
}

/// Opens the link in the desktop's browser, where there is one. The link lets in whoever reads it first, and arguments
/// of programs are read by everybody: the opener is given a file that only its owner reads.
fn open(link: &str) -> Option<Opened> {
    if std::env::var_os("DISPLAY").is_none() && std::env::var_os("WAYLAND_DISPLAY").is_none() {
        return None;
    }
    let opened = (|| {
        let mut file = tempfile::Builder::new().prefix("knarr-dashboard-").suffix(".html").tempfile()?;
        let text = format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={link}\">\n");
        file.write_all(text.as_bytes())?;
        file.flush()?;
        let mut opener = Command::new("xdg-open");
        opener.arg(file.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok::<_, std::io::Error>(Opened { opener: opener.spawn()?, _file: file })
    })();
    match opened {
        Ok(opened) => Some(opened),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "no browser was opened: {error}");
            None
        }
    }
}
