//! Counting a probe's tries into verdicts.

use crate::planner::Verdict;

/// How many tries in a row make a verdict.
#[derive(Debug, Clone)]
pub struct Threshold {
    success: u32,
    failure: u32,
    last: Option<bool>,
    in_a_row: u32,
}

impl Threshold {
    /// The API's numbers; 1 success and 3 failures where none are given.
    pub fn new(success: Option<i32>, failure: Option<i32>) -> Self {
        let number = |given: Option<i32>, default| {
            given.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(default)
        };
        Self { success: number(success, 1), failure: number(failure, 3), last: None, in_a_row: 0 }
    }

    /// Counts one try; the verdict once its threshold is reached.
    pub fn count(&mut self, success: bool) -> Option<Verdict> {
        if self.last == Some(success) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.last = Some(success);
            self.in_a_row = 1;
        }
        let (needed, verdict) =
            if success { (self.success, Verdict::Success) } else { (self.failure, Verdict::Failure) };
        (self.in_a_row >= needed).then_some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tries_in_a_row_count() {
        let mut threshold = Threshold::new(Some(2), None);
        let verdicts: Vec<_> = [true, false, true, true, false, false, false, false]
            .into_iter()
            .map(|ok| threshold.count(ok))
            .collect();
        let (ok, bad) = (Some(Verdict::Success), Some(Verdict::Failure));
        assert_eq!(verdicts, [None, None, None, ok, None, None, bad, bad]);
    }
}
