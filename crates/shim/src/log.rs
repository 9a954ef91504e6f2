//! CRI logs: `2026-01-02T03:04:05.000000006Z stdout F a line`, with `P` for a piece of a line.
//!
//! [`LineSplitter`] is pure; [`LogFile`] owns the file. A log that can't be written never stops a container.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Longer lines are cut into pieces of this many bytes.
pub const MAX_LINE_BYTES: usize = 16 << 10;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts one stream into log lines; keeps the rest that has no line end yet.
#[derive(Debug)]
pub struct LineSplitter {
    stream: Stream,
    pending: Vec<u8>,
}

impl LineSplitter {
    pub fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Appends to `out` the log lines that `input` completes.
    pub fn push(&mut self, input: &[u8], now: Timestamp, out: &mut Vec<u8>) {
        let mut rest = input;
        while !rest.is_empty() {
            let room = MAX_LINE_BYTES - self.pending.len();
            let window = &rest[..rest.len().min(room)];
            if let Some(end) = window.iter().position(|b| *b == b'\n') {
                self.emit(&rest[..end], 'F', now, out);
                rest = &rest[end + 1..];
            } else if window.len() < rest.len() {
                self.emit(window, 'P', now, out);
                rest = &rest[window.len()..];
            } else {
                self.pending.extend_from_slice(rest);
                return;
            }
        }
    }

    /// Appends what was left without a line's end; the stream is over.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.emit(&[], 'P', now, out);
        }
    }

    fn emit(&mut self, tail: &[u8], tag: char, now: Timestamp, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{now:.9} {} {tag} ", self.stream.name());
        out.extend_from_slice(&self.pending);
        out.extend_from_slice(tail);
        out.push(b'\n');
        self.pending.clear();
    }
}

/// The file that a container's log goes to.
pub struct LogFile {
    path: PathBuf,
    file: File,
    failing: bool,
}

impl LogFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append_to(path)?, failing: false })
    }

    /// Writes whole lines. A failure (a full disk) loses them and is reported once until it passes.
    pub fn write(&mut self, lines: &[u8]) {
        match self.file.write_all(lines) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                complain!("lines of {} are lost: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }

    /// Continues in a new file of the same name, after the old one was renamed.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(inputs: &[&[u8]]) -> String {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a valid time");
        let (mut splitter, mut out) = (LineSplitter::new(Stream::Stdout), Vec::new());
        for input in inputs {
            splitter.push(input, now, &mut out);
        }
        splitter.finish(now, &mut out);
        String::from_utf8_lossy(&out).replace("2026-01-02T03:04:05.000000000Z stdout ", "")
    }

    #[test]
    fn lines_are_joined_over_reads_and_an_unfinished_one_is_partial() {
        assert_eq!(split(&[b"a", b"b\n\nc"]), "F ab\nF \nP c\n");
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_piece() {
        let line = [b"x".repeat(MAX_LINE_BYTES - 1), b"\n".to_vec()].concat();
        assert_eq!(split(&[&line]).matches('\n').count(), 1);
    }

    #[test]
    fn a_long_line_is_cut_and_nothing_is_lost() {
        let line = [b"y".repeat(2 * MAX_LINE_BYTES + 5), b"\n".to_vec()].concat();
        let out = split(&[&line]);
        let tags: Vec<&str> = out.lines().map(|l| &l[..1]).collect();
        assert_eq!(tags, ["P", "P", "F"]);
        assert_eq!(out.matches('y').count(), 2 * MAX_LINE_BYTES + 5);
    }
}
