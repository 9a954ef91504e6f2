//! Files that variables come from: `fileKeyRef` (KEP-3721). The format is upstream's subset of a POSIX shell's
//! assignments (`pkg/kubelet/util/env/env_util.go`): `NAME='VALUE'`, comments and blank lines.
//!
//! Containers write these files, so nothing in them is trusted: [`read`] leaves the volume by no link, opens
//! regular files alone and reads a limited number of bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The longest file that is read, in bytes. Upstream has no limit; a program's whole environment has about this one.
const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// The longest line, in bytes: that of upstream's scanner.
const LINE_LIMIT_BYTES: usize = 64 << 10;

/// Why a file has no value to give; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("line {0}: missing '='")]
    NoAssignment(usize),
    #[error("line {0}: empty variable name")]
    NoName(usize),
    #[error("line {0}: whitespace before '=' is not allowed")]
    SpaceBeforeAssignment(usize),
    #[error("line {0}: value must be enclosed in single quotes")]
    NotQuoted(usize),
    #[error("line {0}: unexpected content after closing quote")]
    AfterQuote(usize),
    #[error("starting at line {0}: unclosed single quote")]
    Unclosed(usize),
    #[error("line {0}: longer than {LINE_LIMIT_BYTES} bytes")]
    TooLong(usize),
    #[error("line {0}: a value with a zero byte")]
    ZeroByte(usize),
}

/// The text of the file at `path` in the volume at `folder`. Blocks.
///
/// # Errors
/// Says in words why the file cannot be read: it is absent, reached through a symbolic link, no regular file, or
/// too long.
pub fn read(folder: &Path, path: &str) -> Result<String, String> {
    let root =
        rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| format!("the volume cannot be opened: {error}"))?;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    // A container may have put a pipe there, which would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = loop {
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), how) {
            // The tree changed under the kernel's feet (openat2(2)): look again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::LOOP) => return Err("symbolic links are not followed".to_owned()),
            Err(error) => return Err(error.to_string()),
            Ok(open) => break File::from(open),
        }
    };
    let metadata = open.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    open.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(format!("longer than {FILE_LIMIT_BYTES} bytes"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value that `text` gives to `key`. As upstream, an empty value counts as none, and what stands after the
/// first assignment of `key` is not looked at.
///
/// # Errors
/// When a line up to the assignment is none.
pub fn value(text: &str, key: &str) -> Result<Option<String>, Malformed> {
    const SPACE: [char; 2] = [' ', '\t'];
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line.len() > LINE_LIMIT_BYTES {
            return Err(Malformed::TooLong(number));
        }
        let line = line.trim_start_matches(SPACE);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, given) = line.split_once('=').ok_or(Malformed::NoAssignment(number))?;
        if name.is_empty() {
            return Err(Malformed::NoName(number));
        }
        if name.ends_with(SPACE) {
            return Err(Malformed::SpaceBeforeAssignment(number));
        }
        // To a shell this is an empty value, and a command after it.
        if given.starts_with(SPACE) {
            if name == key {
                return Ok(None);
            }
            continue;
        }
        let opened = given.strip_prefix('\'').ok_or(Malformed::NotQuoted(number))?;
        let value = quoted(number, opened, &mut lines)?;
        if name == key {
            return Ok(Some(value).filter(|value| !value.is_empty()));
        }
    }
    Ok(None)
}

/// What stands up to the closing quote, which may be lines below.
fn quoted<'a>(
    began: usize,
    opened: &'a str,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<String, Malformed> {
    let mut value = String::new();
    let (mut number, mut rest) = (began, opened);
    loop {
        if rest.len() > LINE_LIMIT_BYTES {
            return Err(Malformed::TooLong(number));
        }
        let Some((inside, after)) = rest.split_once('\'') else {
            value.push_str(rest);
            value.push('\n');
            (number, rest) = lines.next().ok_or(Malformed::Unclosed(began))?;
            continue;
        };
        value.push_str(inside);
        let after = after.trim_start_matches([' ', '\t']);
        return match after {
            _ if !after.is_empty() && !after.starts_with('#') => Err(Malformed::AfterQuote(number)),
            // No program's environment can hold such a value.
            _ if value.contains('\0') => Err(Malformed::ZeroByte(number)),
            _ => Ok(value),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn values_are_quoted_and_taken_as_they_are() {
        let text = "# made by init\n\n  A='1' # one\nB='two\n lines $(A) \"\\'\nEMPTY=''\nLOST= 'x'\r\nA='again'\nbroken";
        let check = |key: &str, expect: Result<Option<&str>, Malformed>| {
            assert_eq!(value(text, key), expect.map(|value| value.map(str::to_owned)), "{key}");
        };
        check("A", Ok(Some("1")));
        check("B", Ok(Some("two\n lines $(A) \"\\")));
        check("EMPTY", Ok(None));
        check("LOST", Ok(None));
        check("C", Err(Malformed::NoAssignment(9)));
        assert_eq!(value("A='1'\n", "B"), Ok(None));
    }

    #[test]
    fn what_no_shell_would_take_so_is_refused_with_its_line() {
        let check = |text: &str, expect: &str| {
            assert_eq!(value(text, "K").expect_err(text).to_string(), expect);
        };
        check("\nK=v", "line 2: value must be enclosed in single quotes");
        check("K=", "line 1: value must be enclosed in single quotes");
        check("K = 'v'", "line 1: whitespace before '=' is not allowed");
        check("='v'", "line 1: empty variable name");
        check("K='v' w", "line 1: unexpected content after closing quote");
        check("K='v\n\n", "starting at line 1: unclosed single quote");
        check("K='\0'", "line 1: a value with a zero byte");
        check(&format!("K='{}'", "v".repeat(LINE_LIMIT_BYTES)), "line 1: longer than 65536 bytes");
    }

    #[test]
    fn no_way_leads_out_of_the_volume_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let volume = dir.path().join("volume");
        std::fs::create_dir_all(volume.join("sub")).expect("made");
        std::fs::write(volume.join("sub/env"), "K='in'").expect("written");
        std::fs::write(dir.path().join("env"), "K='out'").expect("written");
        symlink("../env", volume.join("link")).expect("linked");
        symlink("sub", volume.join("folder")).expect("linked");
        let pipe = volume.join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("made");
        std::fs::write(volume.join("long"), vec![b'#'; (1 << 20) + 1]).expect("written");
        assert_eq!(read(&volume, "sub/env").as_deref(), Ok("K='in'"));
        let links = "symbolic links are not followed";
        assert_eq!(read(&volume, "link").expect_err("a link"), links);
        assert_eq!(read(&volume, "folder/env").expect_err("a link"), links);
        read(&volume, "../env").expect_err("outside");
        read(&volume, "/etc/passwd").expect_err("outside");
        read(&volume, "none").expect_err("absent");
        assert_eq!(read(&volume, "pipe").expect_err("a pipe"), "not a regular file");
        assert_eq!(read(&volume, "sub").expect_err("a folder"), "not a regular file");
        assert_eq!(read(&volume, "long").expect_err("too long"), "longer than 1048576 bytes");
    }
}
