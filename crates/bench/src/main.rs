//! Measures a release build of knarr and writes the figures beside upstream's: `cargo xtask bench`.
//!
//! Start with [`main`]: a cluster of its own is started, rests, serves requests, runs pods, and is taken down.
//! Each section returns rows of a table; `report` writes them. Figures are compared with upstream's, taken on
//! a machine of the same kind (`upstream`). Never part of the product.

mod cluster;
mod connection;
mod load;
mod objects;
mod pods;
mod report;
mod requests;
mod rest;
mod upstream;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use cluster::Cluster;
use connection::Target;

/// Measures a build of knarr.
#[derive(Parser)]
struct Arguments {
    /// The program to measure
    #[arg(long, default_value = "target/release/knarr")]
    knarr: PathBuf,
    /// Archives with the image that pods run
    #[arg(long, default_value = "target/images")]
    images: PathBuf,
    /// The document whose figures are replaced; without it they are only printed
    #[arg(long)]
    document: Option<PathBuf>,
    /// How long the cluster rests before its idle figures are taken, in seconds
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Only these sections: rest, pods, requests
    #[arg(long = "only")]
    only: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a cryptography provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(measure(&arguments))?;
    print!("{report}");
    if let Some(document) = &arguments.document {
        report::replace(document, &report).with_context(|| format!("writing {}", document.display()))?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<String> {
    let wanted =
        |section: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == section);
    let mut report = report::Report::new()?;
    let cluster = Cluster::start(&arguments.knarr)?;
    let target = Target::of(&cluster.kubeconfig())?;
    if wanted("rest") {
        report.rest(&rest::measure(&cluster, Duration::from_secs(arguments.rest)).await?);
    }
    if wanted("pods") {
        cluster.import(&arguments.images)?;
        report.pods(&pods::measure(&cluster, &target).await?);
    }
    if wanted("requests") {
        report.requests(&requests::measure(&cluster, &target).await?);
    }
    Ok(report.finish())
}
