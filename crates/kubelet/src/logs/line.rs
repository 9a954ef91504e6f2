//! One line of a log file in CRI's format: `TIME STREAM TAG TEXT`. Pure.

use jiff::Timestamp;

/// A parsed line. `text` ends where the file's line ends, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: &'a str,
    pub stream: Stream,
    /// The container's own line goes on in the next one.
    pub partial: bool,
    pub text: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Line<'_> {
    /// When the line was written; `None` when its time cannot be read.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// Parses `raw` (without newline); `None` when it is not in the format, as after a torn write.
pub fn parse(raw: &[u8]) -> Option<Line<'_>> {
    let mut parts = raw.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok().filter(|t| t.len() >= 20)?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // The tag may carry more, after colons, in later versions of the format.
    let partial = match parts.next()?.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Line { time, stream, partial, text: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_parse_and_rubbish_does_not() {
        let line = parse(b"2026-11-21T10:00:00.5Z stderr P a b ").expect("a line");
        assert_eq!((line.stream, line.partial, line.text), (Stream::Stderr, true, &b"a b "[..]));
        assert!(line.timestamp().is_some());
        assert_eq!(parse(b"2026-11-21T10:00:00.5Z stdout F").expect("empty").text, b"");
        for bad in [&b""[..], b"x stdout F a", b"2026-11-21T10:00:00.5Z other F a", b"\xff\xfe stdout F"] {
            assert_eq!(parse(bad), None);
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(line) = parse(&raw) {
                prop_assert!(raw.ends_with(line.text));
                let _ = line.timestamp();
            }
        }

        #[test]
        fn a_line_is_read_as_it_was_written(text in prop::collection::vec(any::<u8>(), 0..80), partial: bool) {
            let tag = if partial { "P" } else { "F" };
            let mut raw = format!("2026-11-21T10:00:00.5Z stdout {tag} ").into_bytes();
            raw.extend_from_slice(&text);
            let line = parse(&raw).expect("a line");
            prop_assert_eq!((line.stream, line.partial, line.text), (Stream::Stdout, partial, &text[..]));
        }
    }
}
