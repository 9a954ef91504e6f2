//! [`Known`]: what is known of a part of an expression.

use super::Extent;
use super::size::Size;
use crate::types::Type;

/// Where a value lies in what is declared: `None` of values that are made; the inner one is `None` where what is declared
/// ends. A path that begins at something made goes on at the declared root: cel-go drops the first step of every path.
pub(super) type Place<'e> = Option<Option<&'e Extent>>;

/// What is known of a part of an expression.
#[derive(Debug, Clone)]
pub(super) struct Known<'e> {
    pub cost: u64,
    pub of: Type,
    /// `None` where nothing is known.
    pub size: Option<Size>,
    pub place: Place<'e>,
    /// The sizes of keys and values of what is made here.
    pub entries: Option<(Size, Size)>,
    /// A number that is written down.
    pub number: Option<u64>,
}

impl Known<'_> {
    pub fn size(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }
}
