//! When those who are refused are to come again: later, the more are refused. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time that somebody is sent away for, in seconds.
const LONGEST_S: u32 = 32;

/// Counts refusals.
#[derive(Debug)]
pub(super) struct Retry {
    after_s: u32,
    since: Instant,
    refused: u32,
}

impl Retry {
    pub fn new(now: Instant) -> Self {
        Self { after_s: 1, since: now, refused: 0 }
    }

    /// Notes a refusal, and returns for how many seconds.
    pub fn refuse(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since);
        if passed >= Duration::from_secs(self.after_s.into()) {
            self.after_s = match self.refused {
                _ if passed >= Duration::from_secs(2 * u64::from(LONGEST_S)) => 1,
                many if many >= 3 * self.after_s => (2 * self.after_s).min(LONGEST_S),
                few if few < self.after_s => (self.after_s - 1).max(1),
                _ => self.after_s,
            };
            (self.since, self.refused) = (now, 0);
        }
        self.refused += 1;
        self.after_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_are_refused_the_later_they_are_to_come_again() {
        let start = Instant::now();
        let mut retry = Retry::new(start);
        let at = |retry: &mut Retry, tenths: u64| retry.refuse(start + Duration::from_millis(100 * tenths));
        let told: Vec<u32> = (0_u64..80).map(|tenths| at(&mut retry, tenths)).collect();
        assert_eq!((told[0], told[9], told[10], told[30], told[70]), (1, 1, 2, 4, 8));
        assert_eq!(at(&mut retry, 10_000), 1, "after a long time as in the beginning");
    }
}
