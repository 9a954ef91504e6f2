//! How many seats a request takes. Pure.
//!
//! Upstream: `k8s.io/apiserver/pkg/util/flowcontrol/request`.

use std::time::Duration;

use super::level::Work;

/// Whatever the level, no list takes more …
const MOST_FOR_LIST: u32 = 100;
/// … and no change.
const MOST_FOR_CHANGE: u32 = 10;
/// So much of what is held in memory takes a seat.
const BYTES_PER_SEAT: u64 = 100_000;
/// A list from the cache is sent in pieces: it holds no more at a time.
const MOST_BYTES: u64 = 1_000_000;
/// So many watches that are to be told of a change take a seat …
const WATCHES_PER_SEAT: usize = 10;
/// … for so long after it.
const PER_EVENT: Duration = Duration::from_millis(5);

/// The most seats that a request of a level may take: a part of the level's seats, so that wide requests do not stop
/// all others. `hand`: how many queues a flow has.
pub(super) fn most_of_level(nominal: u32, hand: usize) -> u32 {
    let hand = u32::try_from(hand.max(1)).unwrap_or(u32::MAX);
    (nominal.saturating_mul(15).div_ceil(100)).min(nominal / hand).max(1)
}

/// What a list or the beginning of a watch reads: all objects of a kind, or one, or the first few.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub objects: usize,
    pub bytes: usize,
    pub single: bool,
    pub limit: Option<usize>,
}

/// A list. `most`: of the level, where it has a number.
pub(super) fn list(reading: &Reading, most: Option<u32>) -> Work {
    let Reading { objects, bytes, single, limit } = *reading;
    let each = bytes.checked_div(objects).unwrap_or(0) as u64;
    let read = if single { 1 } else { limit.map_or(objects, |limit| limit.min(objects)) };
    let seats = (each.saturating_mul(read as u64)).min(MOST_BYTES).div_ceil(BYTES_PER_SEAT);
    let most = most.unwrap_or(MOST_FOR_LIST).min(MOST_FOR_LIST);
    Work::simple(u32::try_from(seats).unwrap_or(most).min(most).max(1))
}

/// A change that so many watches are told of. Its seats are few and held longer rather than many.
pub(super) fn change(watches: usize, most: Option<u32>) -> Work {
    if watches < WATCHES_PER_SEAT {
        return Work::simple(1);
    }
    let wide = u32::try_from(watches.div_ceil(WATCHES_PER_SEAT)).unwrap_or(u32::MAX);
    let last_seats = wide.min(most.unwrap_or(MOST_FOR_CHANGE).min(MOST_FOR_CHANGE)).max(1);
    Work { seats: 1, last_seats, lingers: PER_EVENT * wide / last_seats }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_seats_by_what_they_hold() {
        let seats = |objects, kilobytes: usize, single, limit, most| {
            let reading = Reading { objects, bytes: kilobytes * 1000, single, limit };
            list(&reading, most).seats
        };
        assert_eq!(seats(0, 0, false, None, None), 1);
        assert_eq!(seats(100, 400, false, None, None), 4);
        assert_eq!(seats(100, 400, false, Some(50), None), 2);
        assert_eq!(seats(100, 400, true, None, None), 1);
        assert_eq!(seats(100_000, 400_000, false, None, None), 10);
        assert_eq!(seats(100_000, 400_000, false, None, Some(3)), 3);
    }

    #[test]
    fn changes_linger_by_their_watches() {
        assert_eq!(change(9, None), Work::simple(1));
        let work = |seats, milliseconds| Work {
            seats: 1,
            last_seats: seats,
            lingers: Duration::from_millis(milliseconds),
        };
        assert_eq!(change(10, None), work(1, 5));
        assert_eq!(change(95, None), work(10, 5));
        assert_eq!(change(1000, None), work(10, 50));
        assert_eq!(change(1000, Some(4)), work(4, 125));
    }

    #[test]
    fn a_request_takes_a_part_of_its_level() {
        assert_eq!([0, 49, 98, 245].map(|nominal| most_of_level(nominal, 6)), [1, 8, 15, 37]);
        assert_eq!(most_of_level(20, 10), 2);
    }
}
