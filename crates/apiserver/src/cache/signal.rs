//! [`Signal`]: what watches wait for.

use store::Revision;

/// How far something has come, and whether it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signal {
    pub revision: Revision,
    pub closed: bool,
}
