//! [`Indexes`]: a set of completion indexes as ordered intervals, which the status shows as `1,3-5,7`.

use std::fmt;
use std::ops::RangeInclusive;

/// Disjoint intervals in ascending order, no two of which touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(u32, u32)>);

impl Indexes {
    /// Reads the form of the status. What lies at or beyond `limit`, or cannot be read, is left out.
    pub fn parse(text: &str, limit: u32) -> Self {
        let mut spans = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else { continue };
            if first < limit {
                spans.push((first, last.min(limit - 1)));
            }
        }
        Self::of_spans(spans)
    }

    fn of_spans(mut spans: Vec<(u32, u32)>) -> Self {
        spans.retain(|(first, last)| first <= last);
        spans.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            match merged.last_mut() {
                Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// With further indexes.
    pub fn with(&self, more: impl IntoIterator<Item = u32>) -> Self {
        let spans = self.0.iter().copied().chain(more.into_iter().map(|index| (index, index)));
        Self::of_spans(spans.collect())
    }

    pub fn union(&self, other: &Self) -> Self {
        Self::of_spans(self.0.iter().chain(&other.0).copied().collect())
    }

    pub fn has(&self, index: u32) -> bool {
        let after = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(after).is_some_and(|(first, _)| *first <= index)
    }

    pub fn total(&self) -> i32 {
        count(self.0.iter().map(|(first, last)| u64::from(last - first) + 1).sum())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many indexes both sets have.
    pub fn in_common(&self, other: &Self) -> i32 {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = 0;
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                common += u64::from(last - first) + 1;
            }
            if a.1 <= b.1 {
                mine.next();
            } else {
                theirs.next();
            }
        }
        count(common)
    }

    /// The indexes below `limit` that are not in the set, in order.
    pub fn missing(&self, limit: u32) -> impl Iterator<Item = u32> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|(_, last)| last.saturating_add(1)));
        let ends = self.0.iter().map(|(first, _)| *first).chain(std::iter::once(limit));
        starts.zip(ends).flat_map(move |(start, end)| start..end.min(limit))
    }

    fn intervals(&self) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.0.iter().map(|(first, last)| *first..=*last)
    }
}

fn count(n: u64) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, interval) in self.intervals().enumerate() {
            let (first, last) = interval.into_inner();
            let comma = if at > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_is_upstreams() {
        for (given, limit, shown) in [
            ("", 5, ""),
            ("0", 5, "0"),
            ("0-1", 5, "0,1"),
            ("0,1,2,4", 9, "0-2,4"),
            ("1,3-5,7", 5, "1,3,4"),
            ("3-9", 2, ""),
            ("x,2,3-y,4", 9, "2,4"),
        ] {
            assert_eq!(Indexes::parse(given, limit).to_string(), shown, "{given}");
        }
    }

    proptest! {
        #[test]
        fn intervals_are_sets(
            a in proptest::collection::btree_set(0u32..40, 0..30),
            b in proptest::collection::btree_set(0u32..40, 0..30),
            limit in 0u32..45,
        ) {
            let (x, y) = (Indexes::default().with(a.iter().copied()), Indexes::default().with(b.iter().copied()));
            prop_assert_eq!(x.total() as usize, a.len());
            prop_assert_eq!(&Indexes::parse(&x.to_string(), 40), &x);
            prop_assert_eq!(x.in_common(&y) as usize, a.intersection(&b).count());
            let both: BTreeSet<u32> = a.union(&b).copied().collect();
            let union = x.union(&y);
            prop_assert!((0..45).all(|index| union.has(index) == both.contains(&index)));
            let missing: Vec<u32> = (0..limit).filter(|index| !a.contains(index)).collect();
            prop_assert_eq!(x.missing(limit).collect::<Vec<_>>(), missing);
        }
    }
}
