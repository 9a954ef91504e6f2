//! What it costs to make room: every node is full of pods that matter less.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use scheduler::state::Round;
use tokio::time::Instant;

use super::bed::{Bed, timed};
use super::objects::{self, Template};
use super::{NODES, PLACED};
use crate::scale::node_name;

/// Longer than any pod waits before it is tried again.
const LATER: Duration = Duration::from_secs(60);

/// The time of one pod that others go for: from its creation until its node is known of, in microseconds.
pub(super) fn measure(pods: usize) -> Result<f64> {
    let mut bed = Bed::new()?;
    for number in 0..NODES {
        bed.node(number)?;
    }
    for number in 0..PLACED {
        let pod = objects::pod(Template::Low, number, Some(&node_name(number % NODES)))?;
        bed.state.pod_changed(&pod, Instant::now());
    }
    let mut spent = 0.0;
    for number in 0..pods {
        spent += one(&mut bed, number)?;
    }
    Ok(spent / pods as f64)
}

fn one(bed: &mut Bed, number: usize) -> Result<f64> {
    let pod = objects::pod(Template::High, number, None)?;
    let now = Instant::now();
    let (mut spent, round) = timed(|| {
        bed.state.pod_changed(&pod, now);
        bed.state.round(0, now)
    });
    let Some(Round::Preempt(_, _, preemption)) = round else { bail!("no room is made: {round:?}") };
    let later = now + LATER;
    let (took, round) = timed(|| {
        for victim in &preemption.victims {
            bed.state.pod_gone(&victim.uid, later);
        }
        bed.state.round(0, later)
    });
    spent += took;
    let Some(Round::Bind(attempt, node, _)) = round else { bail!("the room is not taken: {round:?}") };
    if *node != *preemption.node {
        bail!("room was made on {}, and the pod is on {node}", preemption.node);
    }
    let bound = objects::pod(Template::High, number, Some(&node)).context("a pod")?;
    spent += timed(|| {
        bed.state.bound(&attempt);
        bed.state.pod_changed(&bound, later);
    })
    .0;
    Ok(spent)
}
