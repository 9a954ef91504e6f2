//! The end of a log file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::line;

const BLOCK: usize = 64 << 10;

/// The offset at which the last `lines` lines of the first `len` bytes begin; a last line without newline counts.
/// Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn offset_of_last(file: &mut File, lines: u64, len: u64) -> io::Result<u64> {
    if lines == 0 {
        return Ok(len);
    }
    let (mut end, mut found) = (len, 0u64);
    let mut block = vec![0u8; BLOCK];
    while end > 0 {
        let size = usize::try_from(end).unwrap_or(BLOCK).min(BLOCK);
        let start = end - size as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        for at in (0..size).rev() {
            // The newline that ends the file ends the last line, it does not begin one.
            if block[at] == b'\n' && start + at as u64 + 1 != len {
                found += 1;
                if found == lines {
                    return Ok(start + at as u64 + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// The text of at most the last `lines` lines and `limit_bytes` bytes of a log. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn last_lines(path: &Path, lines: usize, limit_bytes: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let start = offset_of_last(&mut file, lines as u64, len)?;
    // A line's head is short; reading a few times the limit is enough for any text.
    let len = file.metadata()?.len();
    let start = start.max(len.saturating_sub(16 * limit_bytes as u64));
    file.seek(SeekFrom::Start(start))?;
    let mut raw = Vec::new();
    file.read_to_end(&mut raw)?;
    let mut text = Vec::new();
    for line in raw.split(|b| *b == b'\n').filter_map(line::parse) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let cut = text.len().saturating_sub(limit_bytes);
    Ok(String::from_utf8_lossy(&text[cut..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("0.log");
        let lines: Vec<String> =
            (0..5000).map(|i| format!("2026-11-21T10:00:00.000000000Z stdout F line {i}\n")).collect();
        fs::write(&path, lines.concat()).expect("written");
        let mut file = File::open(&path).expect("opened");
        let len = file.metadata().expect("known").len();
        for (count, whole) in [(0, 5000), (1, 4999), (3000, 2000), (5000, 0), (9000, 0)] {
            let expect: u64 = lines[..whole].iter().map(|l| l.len() as u64).sum();
            assert_eq!(offset_of_last(&mut file, count, len).expect("found"), expect, "{count}");
        }
        assert_eq!(last_lines(&path, 2, 2048).expect("read"), "line 4998\nline 4999\n");
        assert_eq!(last_lines(&path, 80, 5).expect("read"), "4999\n");
    }
}
