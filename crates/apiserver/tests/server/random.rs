//! Choices that follow from a seed alone.

use std::hash::{BuildHasher, RandomState};

/// Names the seed to repeat a run with.
const SEED_VARIABLE: &str = "KNARR_SEED";

/// The generator of SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

/// The seed of this run: as told by the environment, else a new one.
pub fn seed() -> u64 {
    let told = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
    let seed = told.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("repeat with {SEED_VARIABLE}={seed}");
    seed
}

impl Random {
    /// The choices made for the `turn`-th thing done under a seed.
    pub fn new(seed: u64, turn: u64) -> Self {
        Self(seed.wrapping_add(turn.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
