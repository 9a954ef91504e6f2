//! Terminal sizes as clients send them: JSON objects one after another, cut anywhere.
//!
//! Owns joining the pieces. Never keeps more than a few sizes.

use serde::Deserialize;

use super::backend::TerminalSize;

/// More unparsed bytes than this are no terminal size.
const BUFFER_LIMIT_BYTES: usize = 4096;

/// Reads sizes out of a byte stream.
#[derive(Default)]
pub struct SizeParser {
    buffer: Vec<u8>,
}

/// Field names as Go writes them, which compares them without case.
#[derive(Deserialize)]
struct Wire {
    #[serde(alias = "width")]
    #[serde(rename = "Width")]
    width: u16,
    #[serde(alias = "height")]
    #[serde(rename = "Height")]
    height: u16,
}

impl SizeParser {
    /// Takes more bytes; returns the newest complete size. Other bytes are dropped.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<TerminalSize> {
        if self.buffer.len() + bytes.len() > BUFFER_LIMIT_BYTES {
            self.buffer.clear();
        }
        self.buffer.extend(bytes.iter().take(BUFFER_LIMIT_BYTES));
        let mut newest = None;
        let mut stream = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Wire>();
        let mut consumed = 0;
        loop {
            match stream.next() {
                Some(Ok(Wire { width, height })) => {
                    newest = Some(TerminalSize { width, height });
                    consumed = stream.byte_offset();
                }
                Some(Err(e)) if !e.is_eof() => {
                    consumed = self.buffer.len();
                    break;
                }
                Some(Err(_)) | None => break,
            }
        }
        drop(stream);
        self.buffer.drain(..consumed);
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_however_they_are_cut() {
        let mut parser = SizeParser::default();
        let size = |width, height| Some(TerminalSize { width, height });
        assert_eq!(parser.feed(br#"{"Width":80,"Height":24}"#), size(80, 24));
        assert_eq!(parser.feed(b"\n{\"Width\":1,\"Height\":2}{\"Width\":3,\"He"), size(1, 2));
        assert_eq!(parser.feed(b"ight\":4}"), size(3, 4));
        assert_eq!(parser.feed(b"nonsense"), None);
        assert_eq!(parser.feed(&[b' '; 10_000]), None);
        assert_eq!(parser.feed(br#"{"width":5,"height":6}"#), size(5, 6));
        assert!(parser.buffer.len() <= BUFFER_LIMIT_BYTES);
    }
}
