//! A container's termination message: the file that the container wrote, else the end of its log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cri::v1::ContainerStatus;
use rustix::fs::OFlags;

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
    // The container may have put anything in the file's place: a pipe that nobody writes would be read for ever.
    let mut file =
        File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let len = metadata.len();
    file.seek(SeekFrom::Start(len.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_messages_place_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .expect("made");
        assert_eq!(tail(&pipe, 10).expect_err("no file").kind(), io::ErrorKind::InvalidInput);
        let file = dir.path().join("file");
        std::fs::write(&file, "0123456789ab").expect("written");
        assert_eq!(tail(&file, 10).expect("read"), "23456789ab");
    }
}
