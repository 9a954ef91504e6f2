//! [`Sparse`]: collections that give their memory back once most of what they held is gone.
//!
//! Hash maps and ring buffers keep the room of their largest day. Those that grow with the cluster and shrink with it
//! call [`Sparse::give_back`] after a removal; the moves are paid for by the removals before.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// Room for so many elements is always kept.
const SMALL: usize = 256;
/// Room is given back when only one place in so many is taken …
const SPARSE: usize = 8;
/// … and then so many places are kept for each element.
const SPARE: usize = 2;

/// See the module's documentation.
pub trait Sparse {
    /// Gives room back where little of it is used.
    fn give_back(&mut self);
}

/// How much room to keep; `None` where all is to be kept.
fn kept(length: usize, capacity: usize) -> Option<usize> {
    (capacity > SMALL && length.saturating_mul(SPARSE) < capacity)
        .then(|| (length * SPARE).max(SMALL / SPARE))
}

impl<K: Eq + Hash, V, S: BuildHasher> Sparse for HashMap<K, V, S> {
    fn give_back(&mut self) {
        if let Some(kept) = kept(self.len(), self.capacity()) {
            self.shrink_to(kept);
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher> Sparse for HashSet<T, S> {
    fn give_back(&mut self) {
        if let Some(kept) = kept(self.len(), self.capacity()) {
            self.shrink_to(kept);
        }
    }
}

impl<T> Sparse for VecDeque<T> {
    fn give_back(&mut self) {
        if let Some(kept) = kept(self.len(), self.capacity()) {
            self.shrink_to(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_empties_gives_its_room_back_and_keeps_its_elements() {
        let mut map: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        let mut moves = 0;
        for gone in 10..100_000 {
            map.remove(&gone);
            let before = map.capacity();
            map.give_back();
            moves += usize::from(map.capacity() != before);
        }
        assert_eq!(map.len(), 10);
        assert!(map.capacity() <= 2 * SMALL, "{}", map.capacity());
        assert!(moves <= 8, "{moves}: each leaves a quarter of the room at most");
        assert!((0..10).all(|n| map[&n] == n));

        let mut queue: VecDeque<u32> = (0..100_000).collect();
        queue.truncate(5);
        queue.give_back();
        assert!(queue.capacity() <= 2 * SMALL);
        let small = queue.capacity();
        queue.clear();
        queue.give_back();
        assert_eq!(queue.capacity(), small, "little room is not worth a move");
    }
}
