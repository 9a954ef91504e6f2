//! [`Pool`]: equal values held once. [`Slab`]: values by number. [`Numbers`]: maps by such numbers.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

/// Values that are shared by all who hold an equal one; those that nobody else holds go at the next sweep.
#[derive(Debug)]
pub struct Pool<T: ?Sized> {
    held: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { held: HashSet::new(), sweep_at: 64 }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    /// The value all share that is equal to `fresh`.
    pub fn share(&mut self, fresh: Arc<T>) -> Arc<T> {
        if let Some(held) = self.held.get(&*fresh) {
            return Arc::clone(held);
        }
        if self.held.len() >= self.sweep_at {
            self.held.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = (self.held.len() * 2).max(64);
        }
        self.held.insert(Arc::clone(&fresh));
        fresh
    }

    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.held.len()
    }
}

impl Pool<str> {
    pub fn text(&mut self, text: &str) -> Arc<str> {
        match self.held.get(text) {
            Some(held) => Arc::clone(held),
            None => self.share(Arc::from(text)),
        }
    }
}

/// Values by number; numbers of values that are gone are used again.
#[derive(Debug)]
pub struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.values[id as usize] = Some(value);
            return id;
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).expect("memory ends before 2^32 values do")
    }

    pub fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        self.values[id as usize].take().expect("only what is there is removed")
    }

    pub fn get(&self, id: u32) -> Option<&T> {
        self.values.get(id as usize)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(&self.values).filter_map(|(id, value)| Some((id, value.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0u32..).zip(&mut self.values).filter_map(|(id, value)| Some((id, value.as_mut()?)))
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, id: u32) -> &T {
        self.values[id as usize].as_ref().expect("a number is held as long as its value")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        self.values[id as usize].as_mut().expect("a number is held as long as its value")
    }
}

/// A map by small numbers that this program hands out itself.
pub type Numbers<T> = HashMap<u32, T, BuildHasherDefault<NumberHasher>>;

/// Spreads small numbers; they come from nobody who could choose them to collide.
#[derive(Debug, Clone, Copy, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_goes() {
        let mut pool = Pool::<str>::default();
        let kept = pool.text("kept");
        assert!(Arc::ptr_eq(&kept, &pool.text("kept")));
        for i in 0..1000 {
            pool.text(&i.to_string());
        }
        assert!(pool.size() <= 64, "{}", pool.size());
        assert!(Arc::ptr_eq(&kept, &pool.text("kept")));
    }

    #[test]
    fn numbers_are_used_again() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), 'a');
        assert_eq!((slab.insert('c'), slab[b], slab[a]), (a, 'b', 'c'));
        assert_eq!(slab.iter().count(), 2);
    }
}
