//! Exponential back-off, per key or alone. Pure: time comes in as an argument.

use std::time::Duration;

/// How waits grow: `initial`, doubled at each failure, never over `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub initial: Duration,
    pub max: Duration,
}

impl Policy {
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The wait after `failures` failures in a row; zero for none.
    pub fn delay(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        self.initial.checked_mul(factor).unwrap_or(self.max).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_stops_at_the_cap() {
        let p = Policy::new(Duration::from_secs(10), Duration::from_secs(300));
        let got: Vec<u64> = (0..8).map(|n| p.delay(n).as_secs()).collect();
        assert_eq!(got, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(p.delay(200).as_secs(), 300);
    }
}
