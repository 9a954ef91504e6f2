//! Shuffle sharding: a flow's hash deals it a hand of a level's queues. Two flows rarely have the same hand, so one flow
//! that floods all of its queues leaves most others a queue that is free. Pure.

/// The largest hand: validation bounds what a hand takes of a hash, and the deck has no fewer cards than the hand.
pub(super) const MAX_HAND: usize = 16;

/// The cards of a hand: different numbers below the size of the deck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand {
    cards: [u32; MAX_HAND],
    size: usize,
}

impl Hand {
    /// Deals `size` cards of a deck, at least one and no more than there are.
    pub fn deal(hash: u64, deck: u32, size: usize) -> Self {
        let size = size.clamp(1, MAX_HAND.min(usize::try_from(deck).unwrap_or(usize::MAX).max(1)));
        let (mut hand, mut rest) = (Self { cards: [0; MAX_HAND], size }, hash);
        let mut sorted = [0_u32; MAX_HAND];
        for dealt in 0..size {
            let left = u64::from(deck.max(1)) - dealt as u64;
            let mut card =
                u32::try_from(rest % left).expect("less than the deck, whose size is such a number");
            rest /= left;
            // The card is a place among those that are left: each card below that has been dealt moves it up.
            let mut place = 0;
            while place < dealt && sorted[place] <= card {
                card += 1;
                place += 1;
            }
            sorted.copy_within(place..dealt, place + 1);
            sorted[place] = card;
            hand.cards[dealt] = card;
        }
        hand
    }

    pub fn cards(&self) -> &[u32] {
        &self.cards[..self.size]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cards_differ_and_are_of_the_deck(hash: u64, deck in 1_u32..500, size in 1_usize..16) {
            let hand = Hand::deal(hash, deck, size);
            let cards: HashSet<u32> = hand.cards().iter().copied().collect();
            prop_assert_eq!(cards.len(), size.min(deck as usize));
            prop_assert!(cards.iter().all(|card| *card < deck));
        }
    }

    #[test]
    fn all_hands_are_dealt_equally_often() {
        // All hands of two of four: 12 in order, each for one remainder.
        let hands: HashSet<Vec<u32>> = (0..12).map(|hash| Hand::deal(hash, 4, 2).cards().to_vec()).collect();
        assert_eq!(hands.len(), 12);
    }

    #[test]
    fn a_flood_of_few_flows_leaves_most_flows_a_queue() {
        let spread = |i: u64| {
            i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        };
        let flooded: HashSet<u32> =
            (0..4).flat_map(|flow| Hand::deal(spread(flow), 128, 6).cards().to_vec()).collect();
        let drowned = (1000..11_000)
            .filter(|flow| {
                Hand::deal(spread(*flow), 128, 6).cards().iter().all(|card| flooded.contains(card))
            })
            .count();
        // (24/128)^6 is 1 of 23,000.
        assert!(drowned <= 10, "{drowned} of 10,000 flows have no queue but flooded ones");
    }
}
