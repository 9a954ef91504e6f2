//! Counters that devices of a pool share: a partition can be had as long as what it consumes is left.

use std::cmp::Ordering;

use api::quantity::Quantity;
use k8s_openapi::api::resource::v1::Device;

use super::{DeviceId, Pick, Search};
use crate::devices::pools::Pool;

/// What a device consumes of a counter; `None` for nothing.
fn consumed(device: &Device, set: &str, counter: &str) -> Option<Quantity> {
    let mut consumptions = device.consumes_counters.iter().flatten();
    let of = consumptions.find(|consumption| consumption.counter_set == set)?;
    of.counters.get(counter)?.value.0.parse().ok()
}

fn total(pool: &Pool, set: &str, counter: &str) -> Option<Quantity> {
    let mut sets = pool.slices.iter().flat_map(|slice| slice.spec.shared_counters.iter().flatten());
    let of = sets.find(|held| held.name == set)?;
    of.counters.get(counter)?.value.0.parse().ok()
}

/// Whether the counters of the pool suffice for one device more.
pub fn suffice(search: &Search<'_>, pick: &Pick) -> bool {
    let (pool, device) = (&search.pools[pick.pool], search.device(pick));
    let all = || pool.slices.iter().flat_map(|slice| slice.spec.devices.iter().flatten());
    let is_taken = |other: &Device| {
        search.taken.contains(&DeviceId::of(&pool.driver, &pool.name, &other.name))
            || search.picks.iter().any(|held| {
                held.pool == pick.pool
                    && !search.alternative(held).is_admin
                    && search.device(held).name == other.name
            })
    };
    device.consumes_counters.iter().flatten().all(|consumption| {
        consumption.counters.keys().all(|counter| {
            let set = &consumption.counter_set;
            let Some(total) = total(pool, set, counter) else { return false };
            let mut used = consumed(device, set, counter).unwrap_or(Quantity::ZERO);
            for other in all().filter(|other| other.name != device.name && is_taken(other)) {
                if let Some(amount) = consumed(other, set, counter) {
                    used = used.plus(&amount);
                }
            }
            used.cmp(&total) != Ordering::Greater
        })
    })
}
