//! ImageLocality: prefers nodes that have the images of the pod's containers already, large images that many nodes have
//! more than others.

use super::Candidate;
use crate::nodes::Nodes;
use crate::pod::Shape;
use crate::profile::MAX;

const MB: i64 = 1024 * 1024;
/// Images that are smaller together are no reason; a container's image counts for no more than the second.
const LEAST: i64 = 23 * MB;
const MOST_A_CONTAINER: i64 = 1000 * MB;

/// 0 to 100 for each candidate; `None` where no node has one of the images.
pub(super) fn scores(candidates: &[Candidate], shape: &Shape, nodes: &Nodes) -> Option<Vec<i64>> {
    let count = nodes.count().max(1) as f64;
    // How much of an image's size counts: the share of the nodes that have it.
    let known = shape
        .images
        .names
        .iter()
        .filter_map(|image| Some((image, nodes.nodes_with_image(image)? as f64 / count)));
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return None;
    }
    let most =
        MOST_A_CONTAINER.saturating_mul(i64::try_from(shape.images.containers.max(1)).unwrap_or(i64::MAX));
    let score = |candidate: &Candidate| {
        let node = &nodes.slots()[candidate.slot];
        let present =
            known.iter().filter_map(|(image, share)| Some((node.image_size(image)? as f64 * share) as i64));
        let sum = present.fold(0i64, i64::saturating_add).clamp(LEAST, most);
        MAX * (sum - LEAST) / (most - LEAST)
    };
    Some(candidates.iter().map(score).collect())
}
