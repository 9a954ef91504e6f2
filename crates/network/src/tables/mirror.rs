//! [`Mirror`]: what a set of the kernel holds, and what of it has changed since the kernel was last told.

use std::collections::HashMap;
use std::hash::Hash;

/// A map of the kernel (or, without values, a set) as it is to be, with what the kernel still has.
#[derive(Debug)]
pub(crate) struct Mirror<K, V> {
    held: HashMap<K, V>,
    /// What the kernel has for each key that was touched.
    told: HashMap<K, Option<V>>,
}

impl<K, V> Default for Mirror<K, V> {
    fn default() -> Self {
        Self { held: HashMap::new(), told: HashMap::new() }
    }
}

/// The difference between what the kernel has and what it is to have. A key with another value is in both lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference<K, V> {
    pub gone: Vec<(K, V)>,
    pub come: Vec<(K, V)>,
}

impl<K: Copy + Eq + Hash + Ord, V: Copy + Eq> Mirror<K, V> {
    pub fn get(&self, key: &K) -> Option<V> {
        self.held.get(key).copied()
    }

    pub fn values(&self) -> impl Iterator<Item = V> + '_ {
        self.held.values().copied()
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn set(&mut self, key: K, value: V) {
        let before = self.held.insert(key, value);
        if before != Some(value) {
            self.told.entry(key).or_insert(before);
        }
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(before) = self.held.remove(key) {
            self.told.entry(*key).or_insert(Some(before));
        }
    }

    /// Removes all but those that are to stay.
    pub fn retain(&mut self, stays: impl Fn(&K) -> bool) {
        let gone: Vec<K> = self.held.keys().filter(|key| !stays(key)).copied().collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// What the kernel is to be told, in the order of the keys; it counts as told.
    pub fn take(&mut self) -> Difference<K, V> {
        let mut difference = Difference { gone: Vec::new(), come: Vec::new() };
        let mut touched: Vec<(K, Option<V>)> = self.told.drain().collect();
        self.told.shrink_to(64);
        touched.sort_unstable_by_key(|(key, _)| *key);
        for (key, before) in touched {
            let now = self.held.get(&key).copied();
            if before == now {
                continue;
            }
            difference.gone.extend(before.map(|value| (key, value)));
            difference.come.extend(now.map(|value| (key, value)));
        }
        difference
    }
}

impl<K: Copy + Eq + Hash + Ord, V: Copy + Eq> FromIterator<(K, V)> for Mirror<K, V> {
    /// From what the kernel has.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { held: pairs.into_iter().collect(), told: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_net_difference_is_told() {
        let mut mirror: Mirror<i32, char> = (0..5).map(|key| (key, 'a')).collect();
        mirror.set(0, 'a');
        mirror.set(1, 'b');
        mirror.remove(&2);
        mirror.remove(&3);
        mirror.set(3, 'a');
        mirror.set(7, 'n');
        mirror.remove(&7);
        mirror.set(9, 'n');
        let told = mirror.take();
        assert_eq!(told.gone, [(1, 'a'), (2, 'a')]);
        assert_eq!(told.come, [(1, 'b'), (9, 'n')]);
        assert_eq!(mirror.take(), Difference { gone: vec![], come: vec![] });
        assert_eq!((mirror.len(), mirror.get(&9)), (5, Some('n')));
    }
}
