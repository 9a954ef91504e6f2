//! [`Size`]: between how much and how much of something there is.

/// Numbers of items, characters or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub least: u64,
    pub most: u64,
}

/// What reading a character costs.
pub(super) const TRAVERSAL: f64 = 0.1;
/// What a character of a pattern costs for each one that it is matched with.
pub(super) const PATTERN: f64 = 0.25;

impl Size {
    pub const UNKNOWN: Self = Self { least: 0, most: u64::MAX };
    pub const ONE: Self = Self { least: 1, most: 1 };

    pub const fn exactly(size: u64) -> Self {
        Self { least: size, most: size }
    }

    pub const fn up_to(most: u64) -> Self {
        Self { least: 0, most }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { least: self.least.saturating_add(other.least), most: self.most.saturating_add(other.most) }
    }

    pub fn times(self, other: Self) -> Self {
        Self { least: self.least.saturating_mul(other.least), most: self.most.saturating_mul(other.most) }
    }

    pub fn union(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// What it costs at most where each one costs so much.
    pub fn by(self, factor: f64) -> u64 {
        scaled(self.most, factor)
    }
}

/// The product, rounded up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; the conversion saturates"
)]
pub(super) fn scaled(number: u64, factor: f64) -> u64 {
    (number as f64 * factor).ceil() as u64
}
