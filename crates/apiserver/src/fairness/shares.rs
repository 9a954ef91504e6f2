//! How the server's seats are divided among priority levels. Pure.
//!
//! A level's nominal seats are its part of all shares; of these it may lend some, and it may borrow others'. [`allocate`]
//! then finds what each level may use now, from what each has needed lately.
//! Upstream: KEP-1040, `k8s.io/apiserver/pkg/util/flowcontrol/conc_alloc.go`.

/// What a level's object says of its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    pub nominal: u32,
    pub lendable_percent: u32,
    /// Without a limit a level may borrow all that others lend.
    pub borrowing_limit_percent: Option<u32>,
}

/// How many seats a level has, and between which numbers that may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub nominal: u32,
    pub lower: u32,
    pub upper: u32,
}

/// Divides `total` seats. Nominal numbers are rounded up, so their sum may be a little more.
pub(super) fn bounds(total: u32, levels: &[Shares]) -> Vec<Bounds> {
    let sum: f64 = levels.iter().map(|shares| f64::from(shares.nominal)).sum();
    levels
        .iter()
        .map(|shares| {
            let part = if sum > 0.0 { f64::from(shares.nominal) / sum } else { 0.0 };
            let nominal = seats((f64::from(total) * part).ceil());
            let lendable = percent(nominal, shares.lendable_percent);
            let borrowed = shares.borrowing_limit_percent.map_or(total, |limit| percent(nominal, limit));
            Bounds {
                nominal,
                lower: nominal - lendable.min(nominal),
                upper: nominal.saturating_add(borrowed),
            }
        })
        .collect()
}

fn percent(of: u32, percent: u32) -> u32 {
    seats((f64::from(of) * f64::from(percent) / 100.0).round())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
pub(super) fn seats(number: f64) -> u32 {
    number as u32
}

/// What a level is to get at least and at most, and what it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub lower: f64,
    pub upper: f64,
    pub target: f64,
}

/// A level that needs nothing still gets some of what is left over.
const LEAST_TARGET: f64 = 0.001;

/// Divides `total` so that each gets the same multiple of what it needs, within its bounds. Returns the parts and that
/// multiple; `None` when the bounds allow no such division.
pub(super) fn allocate(total: f64, levels: &[Wanted]) -> Option<(Vec<f64>, f64)> {
    const SLACK: f64 = 1e-7;
    let target = |level: &Wanted| level.target.max(LEAST_TARGET);
    let part = |level: &Wanted, multiple: f64| (multiple * target(level)).clamp(level.lower, level.upper);
    if levels.iter().any(|level| level.lower > level.upper) {
        return None;
    }
    let sum = |multiple: f64| -> f64 { levels.iter().map(|level| part(level, multiple)).sum() };
    // The sum grows with the multiple, in straight lines between those where a level meets one of its bounds.
    let mut corners: Vec<f64> =
        levels.iter().flat_map(|level| [level.lower / target(level), level.upper / target(level)]).collect();
    corners.sort_by(f64::total_cmp);
    let (first, last) = (*corners.first()?, *corners.last()?);
    if total < sum(first) - SLACK || total > sum(last) + SLACK {
        return None;
    }
    let (mut low, mut high) = (first, first);
    for corner in corners {
        high = corner;
        if sum(corner) >= total {
            break;
        }
        low = corner;
    }
    let (below, above) = (sum(low), sum(high));
    let multiple = if above > below {
        low + (high - low) * ((total - below) / (above - below)).clamp(0.0, 1.0)
    } else {
        high
    };
    Some((levels.iter().map(|level| part(level, multiple)).collect(), multiple))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(nominal: u32, lendable_percent: u32, borrowing_limit_percent: Option<u32>) -> Shares {
        Shares { nominal, lendable_percent, borrowing_limit_percent }
    }

    #[test]
    fn shares_become_seats_as_upstream_figures_them() {
        let levels = [
            of(0, 0, None),
            of(5, 0, None),
            of(30, 33, None),
            of(40, 25, None),
            of(10, 0, None),
            of(40, 50, Some(20)),
            of(100, 90, None),
            of(20, 50, None),
        ];
        let found: Vec<_> = bounds(600, &levels).iter().map(|b| (b.nominal, b.lower, b.upper)).collect();
        let expected = [
            (0, 0, 600),
            (13, 13, 613),
            (74, 50, 674),
            (98, 73, 698),
            (25, 25, 625),
            (98, 49, 118),
            (245, 24, 845),
            (49, 24, 649),
        ];
        assert_eq!(found, expected);
        assert_eq!(bounds(600, &[of(0, 0, None)]), [Bounds { nominal: 0, lower: 0, upper: 600 }]);
    }

    #[test]
    fn who_needs_more_borrows_what_others_lend() {
        let wanted = |lower: f64, upper: f64, target: f64| Wanted { lower, upper, target };
        let (parts, _) = allocate(100.0, &[wanted(10.0, 100.0, 90.0), wanted(25.0, 100.0, 25.0)]).unwrap();
        assert!((parts[0] - 75.0).abs() < 1.0 && (parts[1] - 25.0).abs() < 1.0, "{parts:?}");
        let (parts, _) = allocate(100.0, &[wanted(10.0, 60.0, 500.0), wanted(10.0, 100.0, 10.0)]).unwrap();
        assert_eq!(parts, [60.0, 40.0], "the limit of borrowing holds");
        assert_eq!(allocate(100.0, &[wanted(60.0, 70.0, 60.0), wanted(60.0, 70.0, 60.0)]), None);
        assert_eq!(allocate(200.0, &[wanted(0.0, 70.0, 60.0), wanted(0.0, 70.0, 60.0)]), None);
    }

    proptest! {
        #[test]
        fn all_is_given_within_the_bounds_and_in_proportion(
            levels in prop::collection::vec((0_u32..200, 0_u32..200, 0_u32..400), 1..8), share in 0.0..1.0_f64,
        ) {
            let levels: Vec<Wanted> = levels
                .into_iter()
                .map(|(lower, more, need)| Wanted {
                    lower: lower.into(), upper: (lower + more).into(), target: f64::from(lower + need),
                })
                .collect();
            let sum = |of: fn(&Wanted) -> f64| levels.iter().map(of).sum::<f64>();
            let (low, high) = (sum(|l| l.lower), sum(|l| l.upper));
            let total = low + (high - low) * share;
            let (parts, multiple) = allocate(total, &levels).unwrap();
            prop_assert!((parts.iter().sum::<f64>() - total).abs() < 1e-3);
            for (part, level) in parts.iter().zip(&levels) {
                prop_assert!(level.lower <= *part && *part <= level.upper);
                if level.lower < *part && *part < level.upper {
                    prop_assert!((part - multiple * level.target.max(LEAST_TARGET)).abs() < 1e-6);
                }
            }
        }
    }
}
