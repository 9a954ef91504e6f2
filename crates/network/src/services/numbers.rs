//! [`Numbers`]: numbers that stand for names in the kernel, kept over a restart by reading them from there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

/// Numbers of names, from 1 on. A name that the kernel had keeps its number.
#[derive(Debug)]
pub struct Numbers<N> {
    /// Several names may have had one number: the first that is asked for keeps it.
    found: HashMap<N, u32>,
    used: HashMap<N, u32>,
    taken: HashSet<u32>,
    /// Given back, or never used below `next`.
    free: BTreeSet<u32>,
    next: u32,
}

impl<N: Eq + Hash> Numbers<N> {
    /// Begins with what the kernel has.
    pub fn of(found: impl Iterator<Item = (N, u32)>) -> Self {
        let found: HashMap<N, u32> = found.filter(|(_, number)| *number > 0).collect();
        let next = found.values().max().map_or(1, |last| last.saturating_add(1));
        Self { found, used: HashMap::new(), taken: HashSet::new(), free: BTreeSet::new(), next }
    }

    pub fn has(&self, name: &N) -> bool {
        self.used.contains_key(name) || self.found.contains_key(name)
    }

    /// The number of a name.
    pub fn get(&mut self, name: N) -> u32 {
        if let Some(number) = self.used.get(&name) {
            return *number;
        }
        let found = self.found.remove(&name).filter(|number| !self.taken.contains(number));
        let number = found.or_else(|| self.free.pop_first()).unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.taken.insert(number);
        self.used.insert(name, number);
        number
    }

    /// Gives the number of a name back.
    pub fn release(&mut self, name: &N) {
        if let Some(number) = self.used.remove(name) {
            self.taken.remove(&number);
            self.free.insert(number);
        }
    }

    /// Forgets the names that the kernel had and nobody has asked for.
    pub fn sweep(&mut self) {
        let left = self.found.drain().map(|(_, number)| number);
        self.free.extend(left.filter(|number| !self.taken.contains(number)));
        self.found.shrink_to_fit();
    }

    /// The numbers in use.
    pub fn used(&self) -> &HashSet<u32> {
        &self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_the_number_that_the_kernel_had() {
        let mut numbers = Numbers::of([("a", 7), ("b", 3), ("c", 3), ("d", 5), ("e", 7)].into_iter());
        assert_eq!((numbers.get("b"), numbers.get("a")), (3, 7));
        assert_eq!((numbers.get("c"), numbers.get("e"), numbers.get("c")), (8, 9, 8));
        numbers.release(&"a");
        numbers.sweep();
        assert_eq!(*numbers.used(), [3, 8, 9].into());
        assert_eq!((numbers.get("f"), numbers.get("g"), numbers.get("h")), (5, 7, 10));
        assert!(!numbers.has(&"d") && numbers.has(&"f"));
        let mut numbers = Numbers::of([("a", 7), ("b", 7)].into_iter());
        assert_eq!((numbers.get("b"), numbers.get("c")), (7, 8), "the one that is asked for");
        numbers.sweep();
        assert_eq!(numbers.get("d"), 9, "no number is given twice");
    }
}
