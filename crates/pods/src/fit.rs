//! Whether free resources cover the requests (upstream's `noderesources.Fits`), in upstream's order.

use crate::amounts::Amounts;

/// A resource of which too little is free. CPU is in thousandths of a core, all else in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage<'a> {
    pub resource: &'a str,
    pub requested: i64,
    pub used: i64,
    pub capacity: i64,
}

/// The resources that `asked` finds too little of beside what is `used`. Something nobody asks for is never short,
/// also where a node is over-committed.
pub fn shortages<'a>(
    asked: &'a Amounts,
    capacity: &'a Amounts,
    used: &'a Amounts,
) -> impl Iterator<Item = Shortage<'a>> {
    each(asked, capacity, used).filter(|s| s.requested > 0 && s.requested > s.capacity.saturating_sub(s.used))
}

/// Whether `asked` is more than all there is.
pub fn exceeds(asked: &Amounts, capacity: &Amounts) -> bool {
    each(asked, capacity, &Amounts::default()).any(|s| s.requested > s.capacity)
}

fn each<'a>(
    asked: &'a Amounts,
    capacity: &'a Amounts,
    used: &'a Amounts,
) -> impl Iterator<Item = Shortage<'a>> {
    let named = |resource, requested, capacity, used| Shortage { resource, requested, used, capacity };
    let scalar = asked
        .scalar
        .iter()
        .map(move |(name, amount)| named(name.as_str(), *amount, capacity.scalar(name), used.scalar(name)));
    [
        named("cpu", asked.cpu_milli, capacity.cpu_milli, used.cpu_milli),
        named("memory", asked.memory_bytes, capacity.memory_bytes, used.memory_bytes),
        named("ephemeral-storage", asked.ephemeral_bytes, capacity.ephemeral_bytes, used.ephemeral_bytes),
    ]
    .into_iter()
    .chain(scalar)
}
