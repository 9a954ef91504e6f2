//! [`Interned`]: numbers that stand for contents in the kernel, as long as somebody uses these.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// Contents with their numbers. A number is used again only after [`Interned::settle`]: until then the kernel may know
/// it with the content that it had.
#[derive(Debug)]
pub(super) struct Interned<T> {
    entries: HashMap<T, (u32, usize)>,
    next: u32,
    free: Vec<u32>,
    resting: Vec<u32>,
}

impl<T: Eq + Hash + Clone> Interned<T> {
    /// With numbers from `first` on.
    pub fn from(first: u32) -> Self {
        Self { entries: HashMap::new(), next: first, free: Vec::new(), resting: Vec::new() }
    }

    /// The number of a content, for one more user; and whether the user is the first.
    pub fn take(&mut self, content: T) -> (u32, bool) {
        match self.entries.entry(content) {
            Entry::Occupied(mut found) => {
                let (number, users) = found.get_mut();
                *users += 1;
                (*number, false)
            }
            Entry::Vacant(free) => {
                let number = self.free.pop().unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                free.insert((number, 1));
                (number, true)
            }
        }
    }

    /// One user less; returns the number if that was the last.
    pub fn release(&mut self, content: &T) -> Option<u32> {
        let (number, users) = self.entries.get_mut(content)?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let number = *number;
        self.entries.remove(content);
        self.resting.push(number);
        Some(number)
    }

    /// The kernel knows the numbers no more that have no users.
    pub fn settle(&mut self) {
        self.free.append(&mut self.resting);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rests_until_the_kernel_has_forgotten_it() {
        let mut interned = Interned::from(7);
        assert_eq!(
            (interned.take("a"), interned.take("a"), interned.take("b")),
            ((7, true), (7, false), (8, true))
        );
        assert_eq!(
            (interned.release(&"a"), interned.release(&"a"), interned.release(&"a")),
            (None, Some(7), None)
        );
        assert_eq!(interned.take("c"), (9, true));
        interned.settle();
        assert_eq!((interned.take("a"), interned.len()), ((7, true), 3));
    }
}
