//! How much processor time is used per second, from two looks at how much was used in all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The shortest time between two looks that says something, in nanoseconds.
const SHORTEST_NS: i64 = 1_000_000_000;
/// What nobody has asked about for this long is forgotten, in nanoseconds.
const KEPT_NS: i64 = 600_000_000_000;

#[derive(Debug)]
struct Look {
    at_ns: i64,
    asked_at_ns: i64,
    used_ns: u64,
    rate: Option<u64>,
}

/// What was seen of nodes, pods and containers, by their ids.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<String, Look>>);

impl Rates {
    /// Nanoseconds of processor time per second; `None` at the first look, and for one whose counter began anew.
    pub fn of(&self, id: &str, at_ns: i64, used_ns: u64) -> Option<u64> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(look) = looks.get_mut(id) else {
            looks.retain(|_, look| at_ns.saturating_sub(look.asked_at_ns) < KEPT_NS);
            let look = Look { at_ns, asked_at_ns: at_ns, used_ns, rate: None };
            looks.insert(id.to_owned(), look);
            return None;
        };
        look.asked_at_ns = at_ns;
        let passed_ns = at_ns.saturating_sub(look.at_ns);
        if passed_ns >= SHORTEST_NS {
            let grown = used_ns.checked_sub(look.used_ns).map(u128::from);
            let rate = grown.map(|grown| grown * 1_000_000_000 / u128::from(passed_ns.unsigned_abs()));
            look.rate = rate.and_then(|rate| u64::try_from(rate).ok());
            (look.at_ns, look.used_ns) = (at_ns, used_ns);
        }
        look.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_from_the_second_look_on() {
        const S: i64 = 1_000_000_000;
        let rates = Rates::default();
        assert_eq!(rates.of("c", S, 5_000), None);
        assert_eq!(rates.of("c", S + 1, 6_000), None, "too soon");
        assert_eq!(rates.of("c", 3 * S, 9_000), Some(2_000));
        assert_eq!(rates.of("c", 3 * S + 5, 9_999), Some(2_000), "what was known counts until the next look");
        assert_eq!(rates.of("c", 5 * S, 10), None, "it was made anew");
        assert_eq!(rates.of("other", 5 * S + KEPT_NS, 1), None);
        assert_eq!(rates.of("c", 6 * S + KEPT_NS, 20), None, "it was forgotten");
    }
}
