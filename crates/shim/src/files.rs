//! JSON files in a sandbox's directory and beside it, which are either whole or absent, in directories a reboot empties (so never fsynced).

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces the file at `path` in one step.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    write_whole(path, &text)
}

/// Replaces the file at `path` with `content` in one step.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path)).map_err(|e| with_path(path, e))
}

/// Reads a file that [`write_json`] wrote.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let text = fs::read(path).map_err(|e| with_path(path, e))?;
    serde_json::from_slice(&text).map_err(|e| with_path(path, e.into()))
}

fn with_path(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
