//! Which slice holds which endpoint, so that a change writes few slices: an endpoint stays where it is, a slice that is
//! written anyway takes what is new, and slices are not merged for being half empty.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::desired::Identity;
use crate::service_endpoints::slices::endpoints;

/// How many endpoints a slice may hold (upstream's `--max-endpoints-per-slice`).
pub(super) const LIMIT: usize = 100;

/// What becomes of the slices of one group.
#[derive(Debug, Default)]
pub(super) struct Packing {
    /// Slices to be written, with the endpoints that they then hold.
    pub changed: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)>,
    /// The endpoints of each slice that is to be made.
    pub new: Vec<Vec<Endpoint>>,
    /// Slices that nothing is left of.
    pub emptied: Vec<Arc<EndpointSlice>>,
    /// Slices that stay as they are.
    pub same: Vec<Arc<EndpointSlice>>,
}

/// Finds places for the `wanted` endpoints. A slice that `is_written` has to be written whatever it holds. Where others
/// give the hints, endpoints that stay keep theirs.
pub(super) fn pack(
    mut wanted: BTreeMap<Identity, Endpoint>,
    existing: &[Arc<EndpointSlice>],
    is_written: impl Fn(&EndpointSlice) -> bool,
    keeps_hints: bool,
) -> Packing {
    let mut packing = Packing::default();
    let mut same: Vec<&Arc<EndpointSlice>> = Vec::new();
    for slice in existing {
        let held = endpoints(slice);
        let mut keep = |held: &Endpoint| {
            let kept = wanted.remove(&Identity::of(held))?;
            Some(if keeps_hints { Endpoint { hints: held.hints.clone(), ..kept } } else { kept })
        };
        let kept: Vec<Endpoint> = held.iter().filter_map(&mut keep).collect();
        if kept != held && kept.is_empty() {
            packing.emptied.push(slice.clone());
        } else if kept != held || is_written(slice) {
            packing.changed.push((slice.clone(), kept));
        } else {
            same.push(slice);
        }
    }
    let mut rest: Vec<Endpoint> = wanted.into_values().collect();
    packing.changed.sort_by_key(|(_, kept)| Reverse(kept.len()));
    for (_, kept) in &mut packing.changed {
        take(&mut rest, kept);
    }
    while !rest.is_empty() {
        let fitting =
            same.iter().enumerate().filter(|(_, slice)| endpoints(slice).len() + rest.len() <= LIMIT);
        // The slice that is nearest to full with them; of equals the first.
        let fullest =
            fitting.max_by_key(|(at, slice)| (endpoints(slice).len(), Reverse(*at))).map(|(at, _)| at);
        if let Some(at) = fullest {
            let slice = same.remove(at);
            let mut held = endpoints(slice).to_vec();
            take(&mut rest, &mut held);
            packing.changed.push((slice.clone(), held));
        } else {
            let mut held = Vec::new();
            take(&mut rest, &mut held);
            packing.new.push(held);
        }
    }
    packing.same = same.into_iter().cloned().collect();
    packing
}

/// Moves the first endpoints over, as many as have room.
fn take(from: &mut Vec<Endpoint>, into: &mut Vec<Endpoint>) {
    let room = LIMIT.saturating_sub(into.len()).min(from.len());
    into.extend(from.drain(..room));
}
