//! Which addresses are left out of Endpoints that would be too large: those that are not ready first, and of each subset
//! the same part.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset};

/// How many addresses Endpoints may list.
pub(super) const LIMIT: usize = 1_000;

/// Leaves out what is too much; whether anything was.
pub(super) fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let ready: usize = subsets.iter().map(|subset| count(subset.addresses.as_ref())).sum();
    let unready: usize = subsets.iter().map(|subset| count(subset.not_ready_addresses.as_ref())).sum();
    if ready + unready <= LIMIT {
        return false;
    }
    let only_ready = ready > LIMIT;
    let (room, all) = if only_ready { (LIMIT, ready) } else { (LIMIT - ready, unready) };
    let mut left = room;
    for subset in subsets {
        let cut = if only_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        // Rounded up: the last subset gets what is left.
        let share = (count(cut.as_ref()) * room).div_ceil(all).min(left);
        cut.iter_mut().for_each(|addresses| addresses.truncate(share));
        left -= count(cut.as_ref());
        if only_ready {
            subset.not_ready_addresses = None;
        }
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses] {
            *list = list.take().filter(|addresses| !addresses.is_empty());
        }
    }
    true
}

fn count(addresses: Option<&Vec<EndpointAddress>>) -> usize {
    addresses.map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subset(ready: usize, unready: usize) -> EndpointSubset {
        let some = |n: usize| (n > 0).then(|| vec![EndpointAddress::default(); n]);
        EndpointSubset { addresses: some(ready), not_ready_addresses: some(unready), ports: None }
    }

    #[test]
    fn each_subset_gives_the_same_part() {
        // (ready, not ready) before and after, as upstream's `TestTruncateEndpoints` has them.
        type Counts = &'static [(usize, usize)];
        let cases: &[(Counts, Counts, bool)] = &[
            (&[(500, 500)], &[(500, 500)], false),
            (&[(500, 501)], &[(500, 500)], true),
            (&[(1001, 0)], &[(1000, 0)], true),
            (&[(1001, 1)], &[(1000, 0)], true),
            (&[(600, 0), (600, 0), (800, 9)], &[(300, 0), (300, 0), (400, 0)], true),
            (&[(500, 500), (300, 500)], &[(500, 100), (300, 100)], true),
            (&[(501, 0), (501, 0)], &[(500, 0), (500, 0)], true),
            (&[(1000, 0), (0, 5)], &[(1000, 0), (0, 0)], true),
        ];
        for (before, after, cut) in cases {
            let mut subsets: Vec<_> =
                before.iter().map(|(ready, unready)| subset(*ready, *unready)).collect();
            assert_eq!(truncate(&mut subsets), *cut, "{before:?}");
            let counts =
                |s: &EndpointSubset| (count(s.addresses.as_ref()), count(s.not_ready_addresses.as_ref()));
            assert_eq!(subsets.iter().map(counts).collect::<Vec<_>>(), *after, "{before:?}");
        }
    }
}
