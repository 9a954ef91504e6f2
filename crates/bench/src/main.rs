//! Measures a release build of knarr and writes the figures beside upstream's: `cargo xtask bench`.
//!
//! Start with [`main`]: a cluster of its own is started, rests, serves requests, runs pods, and is taken down.
//! Each section returns rows of a table; `report` writes them. Figures are compared with upstream's, taken on
//! a machine of the same kind (`upstream`). Never part of the product.

mod burst;
mod cluster;
mod connection;
mod dns;
mod ingress;
mod load;
mod objects;
mod pods;
mod report;
mod requests;
mod rest;
mod scale;
mod scheduler;
mod services;
mod upstream;
mod watch;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use cluster::Cluster;
use connection::Target;
use report::{Report, Section};

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
    /// The sizes of the clusters that the scale is measured at, NODESxPODS
    #[arg(long = "size", default_values = ["1000x5000", "5000x50000"])]
    sizes: Vec<scale::Size>,
    /// Only this section; may be given more than once
    #[arg(long = "only", value_enum)]
    only: Vec<Section>,
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
        report.replace(document).with_context(|| format!("writing {}", document.display()))?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<Report> {
    let wanted = |section: Section| arguments.only.is_empty() || arguments.only.contains(&section);
    let mut report = Report::new()?;
    if [Section::Rest, Section::Pods, Section::Burst, Section::Requests, Section::Ingress, Section::Dns]
        .into_iter()
        .any(wanted)
    {
        measure_node(arguments, wanted, &mut report).await?;
    }
    if wanted(Section::Scale) {
        let mut sizes = Vec::new();
        for size in &arguments.sizes {
            sizes.push(scale::measure(&arguments.knarr, *size).await?);
        }
        report.scale(&sizes);
    }
    if wanted(Section::Scheduler) {
        report.scheduler(&scheduler::measure()?);
    }
    if wanted(Section::Workloads) {
        report.workloads(&workloads::measure(&arguments.knarr).await?);
    }
    if wanted(Section::Services) {
        report.services(&services::measure()?);
    }
    Ok(report)
}

/// The sections that a cluster of one node is measured for.
async fn measure_node(
    arguments: &Arguments,
    wanted: impl Fn(Section) -> bool,
    report: &mut Report,
) -> Result<()> {
    let cluster = Cluster::start(&arguments.knarr)?;
    let target = Target::of(&cluster.kubeconfig())?;
    if wanted(Section::Rest) {
        report.rest(&rest::measure(&cluster, Duration::from_secs(arguments.rest)).await?);
    }
    if wanted(Section::Pods) || wanted(Section::Burst) {
        cluster.import(&arguments.images)?;
    }
    if wanted(Section::Burst) {
        report.burst(&burst::measure(&cluster, &target).await?);
    }
    if wanted(Section::Pods) {
        report.pods(&pods::measure(&cluster, &target).await?);
    }
    if wanted(Section::Requests) {
        report.requests(&requests::measure(&cluster, &target).await?);
    }
    if wanted(Section::Ingress) {
        report.ingress(&ingress::measure(&cluster, &target).await?);
    }
    if wanted(Section::Dns) {
        report.dns(&dns::measure(&cluster, &target).await?);
    }
    Ok(())
}
