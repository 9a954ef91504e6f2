//! [`Split`]: destinations among which requests are divided by weight.

/// One or several destinations with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split<T> {
    /// Each with the sum of the weights up to and with its own.
    parts: Box<[(u64, T)]>,
}

impl<T> Split<T> {
    /// All requests go to one destination.
    pub fn whole(to: T) -> Self {
        Self { parts: Box::new([(1, to)]) }
    }

    /// Destinations with weights; one with the weight 0 gets nothing.
    pub fn weighted(parts: impl IntoIterator<Item = (u32, T)>) -> Self {
        let mut sum = 0;
        let parts = parts.into_iter().filter(|(weight, _)| *weight > 0).map(|(weight, to)| {
            sum += u64::from(weight);
            (sum, to)
        });
        Self { parts: parts.collect() }
    }

    /// The destination for a number that is any of 32 bits by chance. `None` where nothing has a weight.
    pub fn pick(&self, roll: u32) -> Option<&T> {
        if let [(_, only)] = &*self.parts {
            return Some(only);
        }
        let (sum, _) = self.parts.last()?;
        let at = u64::from(roll) % sum;
        self.parts.iter().find(|(up_to, _)| at < *up_to).map(|(_, to)| to)
    }

    /// The same with other destinations.
    pub fn map<U>(self, mut other: impl FnMut(T) -> U) -> Split<U> {
        Split { parts: self.parts.into_iter().map(|(up_to, to)| (up_to, other(to))).collect() }
    }
}
