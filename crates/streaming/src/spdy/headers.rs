//! Header blocks: names and values, compressed with one zlib stream per direction and connection.
//!
//! Owns the compression state, so every block must be decompressed in wire order, even if its stream is ignored. Output is
//! bounded. Never interprets a header.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::DICTIONARY;
use super::error::FrameError;

/// The largest header block, decompressed.
pub const BLOCK_LIMIT_BYTES: usize = 64 << 10;

/// Header names (lower case) and values in wire order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name`, which must be given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.split('\0').next().unwrap_or(""))
    }

    fn parse(mut block: &[u8]) -> Result<Self, FrameError> {
        let count = take_u32(&mut block)?;
        // Each pair takes at least eight bytes: a count cannot reserve more than the block holds.
        if count > block.len() / 8 {
            return Err(FrameError::Malformed("header count"));
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = take_text(&mut block)?.to_ascii_lowercase();
            headers.push((name, take_text(&mut block)?));
        }
        Ok(Self(headers))
    }

    fn print(&self) -> Vec<u8> {
        let mut block = (self.0.len() as u32).to_be_bytes().to_vec();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            block.extend((text.len() as u32).to_be_bytes());
            block.extend(text.as_bytes());
        }
        block
    }
}

fn take_u32(block: &mut &[u8]) -> Result<usize, FrameError> {
    let (number, rest) = block.split_first_chunk().ok_or(FrameError::Malformed("header block"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*number) as usize)
}

fn take_text(block: &mut &[u8]) -> Result<String, FrameError> {
    let length = take_u32(block)?;
    let (text, rest) = block.split_at_checked(length).ok_or(FrameError::Malformed("header block"))?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| FrameError::Malformed("header text"))
}

/// Decompresses the header blocks of one direction.
pub struct Inflater {
    zlib: Decompress,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { zlib: Decompress::new(true) }
    }
}

impl Inflater {
    pub fn headers(&mut self, mut compressed: &[u8]) -> Result<Headers, FrameError> {
        let mut block = Vec::with_capacity(4096.min(BLOCK_LIMIT_BYTES));
        loop {
            let (taken, made) = (self.zlib.total_in(), self.zlib.total_out());
            let result = self.zlib.decompress_vec(compressed, &mut block, FlushDecompress::Sync);
            compressed = &compressed[(self.zlib.total_in() - taken) as usize..];
            match result {
                Err(e) if e.needs_dictionary().is_some() => {
                    self.zlib.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Compression)?;
                }
                Err(_) => return Err(FrameError::Compression),
                Ok(Status::StreamEnd) => return Err(FrameError::Compression),
                // The input is used up and the output has room left: the block is complete.
                Ok(_) if compressed.is_empty() && block.len() < block.capacity() => break,
                Ok(_) if block.len() >= BLOCK_LIMIT_BYTES => return Err(FrameError::TooLarge),
                Ok(_) if block.len() == block.capacity() => block.reserve(block.len()),
                Ok(_) if self.zlib.total_out() == made && self.zlib.total_in() == taken => {
                    return Err(FrameError::Compression);
                }
                Ok(_) => {}
            }
        }
        Headers::parse(&block)
    }
}

/// Compresses the header blocks of one direction.
pub struct Deflater {
    zlib: Compress,
    has_dictionary: bool,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { zlib: Compress::new(Compression::fast(), true), has_dictionary: false }
    }
}

impl Deflater {
    pub fn block(&mut self, headers: &Headers) -> Result<Vec<u8>, FrameError> {
        if !self.has_dictionary {
            self.zlib.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Compression)?;
            self.has_dictionary = true;
        }
        let plain = headers.print();
        let mut rest = &plain[..];
        let mut out = Vec::with_capacity(plain.len() + 128);
        loop {
            let taken = self.zlib.total_in();
            self.zlib
                .compress_vec(rest, &mut out, FlushCompress::Sync)
                .map_err(|_| FrameError::Compression)?;
            rest = &rest[(self.zlib.total_in() - taken) as usize..];
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(out.len().max(128));
        }
    }
}
