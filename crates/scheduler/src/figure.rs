//! [`Figure`]: a number for each place, updated as pods and nodes are added and removed.

use std::collections::BTreeMap;

use crate::pool::Numbers;
use crate::topology::NOWHERE;

/// Sums over the nodes of each place.
#[derive(Debug, Default)]
pub struct Figure {
    on_node: Numbers<i64>,
    by_place: Numbers<i64>,
    /// How many places have a sum, for all sums but 0.
    sums: BTreeMap<i64, u32>,
}

impl Figure {
    /// `place` is where the node counts.
    pub fn add(&mut self, slot: u32, place: u32, amount: i64) {
        let held = self.on_node.entry(slot).or_insert(0);
        *held += amount;
        if *held == 0 {
            self.on_node.remove(&slot);
        }
        self.shift(place, amount);
    }

    /// Moves a node to another place.
    pub fn moved(&mut self, slot: u32, from: u32, to: u32) {
        if let Some(amount) = self.on_node.get(&slot).copied() {
            self.shift(from, -amount);
            self.shift(to, amount);
        }
    }

    fn shift(&mut self, place: u32, amount: i64) {
        if place == NOWHERE || amount == 0 {
            return;
        }
        let before = self.at(place);
        let after = before + amount;
        if before != 0
            && let Some(places) = self.sums.get_mut(&before)
        {
            *places -= 1;
            if *places == 0 {
                self.sums.remove(&before);
            }
        }
        if after == 0 {
            self.by_place.remove(&place);
        } else {
            self.by_place.insert(place, after);
            *self.sums.entry(after).or_insert(0) += 1;
        }
    }

    pub fn at(&self, place: u32) -> i64 {
        self.by_place.get(&place).copied().unwrap_or(0)
    }

    /// Whether the sum is 0 everywhere.
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// The smallest sum of `places` places, where no sum is negative.
    pub fn least(&self, places: usize) -> i64 {
        if self.by_place.len() < places {
            return 0;
        }
        self.sums.first_key_value().map_or(0, |(sum, _)| *sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_pods_and_nodes() {
        let mut figure = Figure::default();
        figure.add(0, 1, 1);
        figure.add(1, 1, 1);
        figure.add(2, 2, 1);
        figure.add(3, NOWHERE, 5);
        assert_eq!((figure.at(1), figure.at(2), figure.at(3)), (2, 1, 0));
        assert_eq!((figure.least(2), figure.least(3)), (1, 0));
        figure.moved(1, 1, 2);
        figure.moved(3, NOWHERE, 3);
        assert_eq!((figure.at(1), figure.at(2), figure.at(3)), (1, 2, 5));
        figure.add(0, 1, -1);
        assert_eq!((figure.at(1), figure.least(2)), (0, 2));
        for (slot, place, amount) in [(1, 2, -1), (2, 2, -1), (3, 3, -5)] {
            figure.add(slot, place, amount);
        }
        assert!(figure.is_empty() && figure.on_node.is_empty() && figure.sums.is_empty());
    }
}
