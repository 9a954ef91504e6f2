//! How revisions lie in the file.
//!
//! `KEYS` holds where each present key's last change is; `HISTORY` holds the changes by revision, with the
//! values. A change names its predecessor, so that the past can be read by walking back. A value is written
//! once, at the right edge of `HISTORY`.

use std::sync::Arc;

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::types::{Error, Revision};

/// Key → (create revision, mod revision, expiry in milliseconds since the epoch or 0).
pub(super) const KEYS: TableDefinition<&str, (u64, u64, u64)> = TableDefinition::new("keys");
/// Revision → [`Record`]. Every revision after the oldest kept one, and those older that are still current
/// or the predecessor of a kept change.
pub(super) const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
/// (expiry in milliseconds since the epoch, key).
pub(super) const EXPIRY: TableDefinition<(u64, &str), ()> = TableDefinition::new("expiry");
/// Milliseconds since the epoch → the revision that was current then; a mark every second of writing.
pub(super) const MARKS: TableDefinition<u64, u64> = TableDefinition::new("marks");
/// The file's [`FORMAT`] under [`META_FORMAT`].
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
pub(super) const META_FORMAT: &str = "format";
/// One row: the [`Counters`] in the order of their fields.
pub(super) const COUNTERS: TableDefinition<(), (u64, u64, u64, u64, u64)> = TableDefinition::new("counters");

/// The format this program writes: every record carries a checksum and the time of its change, and the counters are one row. `upgrade` brings
/// earlier formats up to it.
pub(super) const FORMAT: u64 = 4;
/// The empty store's revision, as etcd's.
pub(super) const FIRST_REVISION: Revision = 1;

/// A change as `HISTORY` holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key was deleted; the value is empty then.
    pub deletion: bool,
    pub create_revision: Revision,
    /// The revision of the key's change before; 0 where the key was absent.
    pub previous: Revision,
    /// When the change was made, in milliseconds since the epoch; 0 where a format before 4 did not say.
    pub time_ms: u64,
    pub key: &'a str,
    pub value: &'a [u8],
}

const DELETION: u8 = 1;
/// The header is followed by the time.
const TIMED: u8 = 2;
const TIME: usize = 8;

/// The header: flags, revision, create revision, previous revision, the lengths of key and value, the checksum.
const HEADER: usize = 37;
/// Where the checksum stands in the header.
const SUM: std::ops::Range<usize> = 33..HEADER;

impl<'a> Record<'a> {
    /// The record as it is stored at `revision`.
    pub fn encode(&self, revision: Revision) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + TIME + self.key.len() + self.value.len());
        let timed = if self.time_ms == 0 { 0 } else { TIMED };
        out.push(if self.deletion { DELETION | timed } else { timed });
        for number in [revision, self.create_revision, self.previous] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        // Both are far below 4 GiB: the store's limit on key and value is.
        for length in [self.key.len(), self.value.len()] {
            out.extend_from_slice(&(length as u32).to_le_bytes());
        }
        out.extend_from_slice(&[0; SUM.end - SUM.start]);
        if timed != 0 {
            out.extend_from_slice(&self.time_ms.to_le_bytes());
        }
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(self.value);
        let sum = checksum(&out);
        out[SUM].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// # Errors
    /// [`Error::Corrupted`], naming revision and key, when the bytes are not those that were written.
    pub fn decode(revision: Revision, bytes: &'a [u8]) -> Result<Self, Error> {
        let unreadable = || damaged(&format!("revision {revision}: its record cannot be read"));
        let raw = Raw::parse(bytes).filter(|raw| raw.length() == bytes.len()).ok_or_else(unreadable)?;
        if raw.revision != revision || !raw.is_sound(bytes) {
            return Err(damaged(&format!(
                "revision {revision} of {:?} was changed on the disk",
                raw.record.key
            )));
        }
        Ok(raw.record)
    }

    /// A sound record that begins here, with its revision, whatever follows it: how records are found where the
    /// engine's pages cannot be followed.
    pub fn find(bytes: &'a [u8]) -> Option<(Revision, Self)> {
        let raw = Raw::parse(bytes)?;
        raw.is_sound(&bytes[..raw.length()]).then_some((raw.revision, raw.record))
    }
}

/// A record as its header describes it.
struct Raw<'a> {
    revision: Revision,
    sum: u32,
    timed: bool,
    record: Record<'a>,
}

impl<'a> Raw<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (flags, rest) = bytes.split_first()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let (create, rest) = rest.split_first_chunk()?;
        let (previous, rest) = rest.split_first_chunk()?;
        let (key_len, rest) = rest.split_first_chunk()?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        if flags & !(DELETION | TIMED) != 0 {
            return None;
        }
        let (time_ms, rest) = if flags & TIMED == 0 {
            (0, rest)
        } else {
            let (time_ms, rest) = rest.split_first_chunk()?;
            (u64::from_le_bytes(*time_ms), rest)
        };
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
        let value = rest.get(..u32::from_le_bytes(*value_len) as usize)?;
        let record = Record {
            deletion: flags & DELETION != 0,
            time_ms,
            create_revision: u64::from_le_bytes(*create),
            previous: u64::from_le_bytes(*previous),
            key: std::str::from_utf8(key).ok()?,
            value,
        };
        Some(Self {
            revision: u64::from_le_bytes(*revision),
            sum: u32::from_le_bytes(*sum),
            timed: flags & TIMED != 0,
            record,
        })
    }

    fn length(&self) -> usize {
        HEADER + if self.timed { TIME } else { 0 } + self.record.key.len() + self.record.value.len()
    }

    fn is_sound(&self, bytes: &[u8]) -> bool {
        self.sum == checksum(bytes)
    }
}

/// The checksum (CRC-32) of all of a record but the checksum.
fn checksum(record: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&record[..SUM.start]);
    sum.update(&record[SUM.end..]);
    sum.finalize()
}

/// The store's numbers as of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub revision: Revision,
    /// The oldest revision that can be listed or watched from.
    pub oldest: Revision,
    /// Bytes of the changes after the oldest revision.
    pub history_bytes: u64,
    /// Bytes of all records in the file.
    pub kept_bytes: u64,
    /// When the last change was made, in milliseconds since the epoch.
    pub written_ms: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            revision: FIRST_REVISION,
            oldest: FIRST_REVISION,
            history_bytes: 0,
            kept_bytes: 0,
            written_ms: 0,
        }
    }
}

impl Counters {
    pub fn load(table: &impl ReadableTable<(), (u64, u64, u64, u64, u64)>) -> Result<Self, Error> {
        let Some(row) = table.get(()).map_err(storage_error)? else { return Ok(Self::default()) };
        let (revision, oldest, history_bytes, kept_bytes, written_ms) = row.value();
        Ok(Self { revision, oldest, history_bytes, kept_bytes, written_ms })
    }

    pub fn save(&self, txn: &WriteTransaction) -> Result<(), Error> {
        let row = (self.revision, self.oldest, self.history_bytes, self.kept_bytes, self.written_ms);
        txn.open_table(COUNTERS).map_err(storage_error)?.insert((), row).map_err(storage_error)?;
        Ok(())
    }
}

/// Names the file in an error about it.
pub(super) fn with_path(error: Error, path: &Arc<str>) -> Error {
    match error {
        Error::Corrupted { reason, .. } => Error::Corrupted { path: path.clone(), reason },
        Error::Io(reason) => Error::Io(format!("{path}: {reason}").into()),
        other => other,
    }
}

pub(super) fn damaged(reason: &str) -> Error {
    Error::Corrupted { path: "of the store".into(), reason: reason.into() }
}

/// Runs work on the engine, which trusts its own pages and may panic on a file that something else wrote to. The work
/// must leave nothing half done in memory.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(damaged("its pages contradict each other")))
}

/// The engine's errors in the store's terms.
pub(super) fn storage_error(error: impl Into<redb::Error>) -> Error {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.into() {
        redb::Error::Io(e) if matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge) => {
            Error::DiskFull(e.to_string().into())
        }
        redb::Error::Corrupted(reason) => damaged(&reason),
        other => Error::Io(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_no_changed_one_is_taken() {
        for time_ms in [0, 1_700_000_000_123] {
            comes_back(time_ms);
        }
    }

    fn comes_back(time_ms: u64) {
        let record =
            Record {
                deletion: true, create_revision: 7, previous: 9, time_ms, key: "/a/ö", value: b"value"
            };
        let bytes = record.encode(12);
        assert_eq!(Record::decode(12, &bytes).unwrap(), record);
        for cut in 0..bytes.len() {
            assert!(matches!(Record::decode(12, &bytes[..cut]), Err(Error::Corrupted { .. })), "{cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Record::decode(12, &changed), Err(Error::Corrupted { .. })), "bit {bit}");
        }
        let moved = Record::decode(13, &bytes).unwrap_err().to_string();
        assert!(moved.contains("revision 13 of \"/a/ö\""), "{moved}");
    }
}
