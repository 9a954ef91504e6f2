//! The last words of a container: its termination message, else the end of its log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use cri::v1::ContainerStatus;

use super::{ANNOTATION_MESSAGE_PATH, ANNOTATION_MESSAGE_POLICY};
use crate::logs;

/// Upstream's limits.
const MESSAGE_LIMIT_BYTES: u64 = 4096;
const LOG_LIMIT_BYTES: usize = 2048;
const LOG_LIMIT_LINES: usize = 80;

/// What the ended container left, if anything. Blocks.
pub fn message(status: &ContainerStatus) -> Option<String> {
    let path = status.annotations.get(ANNOTATION_MESSAGE_PATH)?;
    let file = status.mounts.iter().find(|m| &m.container_path == path).map(|m| &m.host_path);
    if let Some(file) = file {
        match tail(Path::new(file), MESSAGE_LIMIT_BYTES) {
            Ok(text) if !text.is_empty() => return Some(text),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Some(format!("Error on reading termination log {file}: {e}")),
        }
    }
    let policy = status.annotations.get(ANNOTATION_MESSAGE_POLICY).map(String::as_str);
    let failed = status.exit_code != 0 && status.reason != "ContainerCannotRun";
    if policy != Some("FallbackToLogsOnError") || !failed {
        return None;
    }
    match logs::last_lines(Path::new(&status.log_path), LOG_LIMIT_LINES, LOG_LIMIT_BYTES) {
        Ok(text) => Some(text).filter(|t| !t.is_empty()),
        Err(e) => Some(format!("Error reading termination message from logs: {e}")),
    }
}

fn tail(path: &Path, limit: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
