//! What Services cost: telling the kernel of them, and what they take of connections. In this process, in network
//! namespaces of its own, without an API server. Needs root.
//!
//! Start with [`measure`]. Services and slices go into the caches as a watch would put them there; a change is over when
//! the kernel has its element. `ground` is the node and its two machines, `traffic` what these send each other.

mod ground;
mod traffic;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nft::Events;

use ground::Ground;
use traffic::Traffic;

/// Services, of so many endpoints each.
const SIZES: [usize; 2] = [1_000, 10_000];
pub const ENDPOINTS: usize = 10;
/// Changes that the median is of.
const CHANGES: usize = 200;

/// What was found at each size.
pub struct Services {
    pub sizes: Vec<Size>,
    /// At the last size.
    pub traffic: Traffic,
}

pub struct Size {
    pub services: usize,
    /// From nothing to the last element in the kernel, and what the process's resident memory grew by.
    load: Duration,
    grown_mb: f64,
    /// With all in the kernel already: reading, comparing, and adding what is new.
    again: Duration,
    /// An endpoint that comes, and one that goes.
    come: Duration,
    gone: Duration,
}

/// Measures on a thread in a namespace of its own.
///
/// # Errors
/// When a namespace cannot be made, or the kernel does not get what it is told.
pub fn measure() -> Result<Services> {
    std::thread::spawn(|| {
        let runtime = ground::enter()?;
        runtime.block_on(measure_here())
    })
    .join()
    .map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
}

async fn measure_here() -> Result<Services> {
    let mut sizes = Vec::new();
    let mut ground = Ground::new()?;
    for services in SIZES {
        sizes.push(measure_size(&mut ground, services).await?);
    }
    let traffic = traffic::measure(&ground).await.context("measuring connections")?;
    ground.stop().await;
    Ok(Services { sizes, traffic })
}

async fn measure_size(ground: &mut Ground, services: usize) -> Result<Size> {
    ground.clear().await?;
    ground.fill(services);
    let before = ground::resident_mb()?;
    let begun = Instant::now();
    ground.start();
    ground.wait_endpoint(services - 1, ENDPOINTS - 1, true).await?;
    let load = begun.elapsed();
    let grown_mb = ground::resident_mb()? - before;
    ground.stop().await;
    ground.change(services / 2, ENDPOINTS + 1);
    let begun = Instant::now();
    ground.start();
    ground.wait_endpoint(services / 2, ENDPOINTS, true).await?;
    let again = begun.elapsed();
    ground.change(services / 2, ENDPOINTS);
    ground.wait_endpoint(services / 2, ENDPOINTS, false).await?;
    let changed = Events::subscribe()?;
    let (mut come, mut gone) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let service = number * (services / CHANGES);
        for (count, there, times) in [(ENDPOINTS + 1, true, &mut come), (ENDPOINTS, false, &mut gone)] {
            let slice = ground::slice(service, count);
            let begun = Instant::now();
            ground.apply(slice);
            // Asking the kernel takes a socket each time, and closing one waits for what the kernel still puts away.
            while !changed.concern(ground::TABLE, 0)? {
                tokio::task::yield_now().await;
            }
            times.push(begun.elapsed());
            ground.wait_endpoint(service, ENDPOINTS, there).await?;
        }
    }
    Ok(Size { services, load, grown_mb, again, come: median(come), gone: median(gone) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

impl Size {
    /// The lines of the report: what, and the figure.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        vec![
            ("all told to the kernel, from nothing", format!("{:.2} s", self.load.as_secs_f64())),
            ("… memory of it in the process", format!("{:.0} MB", self.grown_mb)),
            ("all there, one endpoint changed meanwhile", format!("{:.2} s", self.again.as_secs_f64())),
            ("an endpoint came: p50, from the watch's event to the kernel", ms(self.come)),
            ("an endpoint went: p50", ms(self.gone)),
        ]
    }
}
