//! What a level has needed lately: the seats in use and waited for, over time. Pure.

use tokio::time::Instant;

/// Sums up a number that changes now and then.
#[derive(Debug)]
pub(super) struct Demand {
    since: Instant,
    last: Instant,
    value: f64,
    highest: f64,
    area: f64,
    square: f64,
}

/// What the number was over a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observed {
    pub average: f64,
    pub deviation: f64,
    pub highest: f64,
}

impl Demand {
    pub fn new(now: Instant) -> Self {
        Self { since: now, last: now, value: 0.0, highest: 0.0, area: 0.0, square: 0.0 }
    }

    pub fn set(&mut self, now: Instant, value: f64) {
        self.pass(now);
        self.value = value;
        self.highest = self.highest.max(value);
    }

    fn pass(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = self.last.max(now);
        self.area += self.value * seconds;
        self.square += self.value * self.value * seconds;
    }

    /// The time since the last call, and begins another.
    pub fn take(&mut self, now: Instant) -> Observed {
        self.pass(now);
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        let (average, square) = match seconds > 0.0 {
            true => (self.area / seconds, self.square / seconds),
            false => (self.value, self.value * self.value),
        };
        let deviation = (square - average * average).max(0.0).sqrt();
        let observed = Observed { average, deviation, highest: self.highest };
        *self =
            Self { since: now, last: now, value: self.value, highest: self.value, area: 0.0, square: 0.0 };
        observed
    }
}

/// How much of the past stays in what a level is taken to need, from one adjustment to the next. Upstream's: half of it
/// after five minutes.
const SMOOTHING: f64 = 0.977;

/// What a level is taken to need.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Need {
    pub average: f64,
    pub deviation: f64,
    pub highest: f64,
    pub smoothed: f64,
}

impl Need {
    /// Takes in one more time: grows at once, shrinks slowly.
    pub fn note(&mut self, observed: &Observed) {
        let envelope = observed.average + observed.deviation;
        let smoothed = envelope.max(SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope);
        *self = Self {
            average: observed.average,
            deviation: observed.deviation,
            highest: observed.highest,
            smoothed,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_summed_up_and_the_next_begins_with_what_is_left() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        demand.set(start, 4.0);
        demand.set(after(5), 0.0);
        let observed = demand.take(after(10));
        assert_eq!(observed, Observed { average: 2.0, deviation: 2.0, highest: 4.0 });
        demand.set(after(10), 3.0);
        assert_eq!(demand.take(after(20)), Observed { average: 3.0, deviation: 0.0, highest: 3.0 });
        let mut need = Need::default();
        need.note(&observed);
        assert!((need.smoothed - 4.0).abs() < 1e-9);
        need.note(&Observed { average: 0.0, deviation: 0.0, highest: 0.0 });
        assert!((need.smoothed - 4.0 * SMOOTHING).abs() < 1e-9);
    }
}
