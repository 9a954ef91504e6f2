//! What a client asks of a build and hears of it, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The largest request, context apart.
pub const REQUEST_LIMIT_BYTES: u32 = 8 << 20;
/// The largest secret; BuildKit's limit.
pub const SECRET_LIMIT_BYTES: usize = 500 << 10;

/// A build; the context follows it as an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Request {
    pub dockerfile: String,
    /// What messages call it.
    pub file_name: String,
    pub tags: Vec<String>,
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    pub platform: Option<String>,
    pub no_cache: bool,
    pub pull: bool,
    /// Seconds since 1970: the time of the image, and the latest of its files.
    pub source_date_epoch: Option<u64>,
    /// In base64, by id.
    pub secrets: BTreeMap<String, String>,
    /// `default`, `none` or `host`.
    pub network: Option<String>,
}

/// What happens, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", rename_all_fields = "camelCase")]
pub enum Event {
    Step { id: u32, name: String },
    Log { id: u32, text: String },
    Cached { id: u32 },
    Done { id: u32, ms: u64 },
    Warning { text: String },
    Built { image: String, names: Vec<String> },
    Failed { id: Option<u32>, message: String, place: Option<Place> },
}

/// A place in the Dockerfile, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
}

impl From<dockerfile::Place> for Place {
    fn from(place: dockerfile::Place) -> Self {
        Self { line: place.line, column: place.column, end_line: place.end_line }
    }
}
