//! [`Payload`]: the files that a volume should have.

use std::collections::BTreeMap;

/// One file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProjection {
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Who owns the file; root when `None`.
    pub owner: Option<u32>,
}

/// Files by their path inside the volume.
pub type Payload = BTreeMap<String, FileProjection>;
