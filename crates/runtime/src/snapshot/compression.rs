//! Plain, gzip or zstd: told apart by their first bytes, not by what a manifest claims.
//!
//! Owns choosing the decoder. Never limits sizes: readers of its output do.

use std::io::{self, BufRead, BufReader, Read};

const BUFFER_BYTES: usize = 128 << 10;
/// The largest zstd window taken, as a power of two: 128 MiB, what `zstd` itself accepts by default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A reader of the decompressed content of `reader`.
pub fn decompress<'a>(reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let start = reader.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(reader)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
    } else {
        Box::new(reader)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn each_format_is_recognized_and_a_cut_off_one_is_an_error() -> io::Result<()> {
        let plain = b"the same content in three coats".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain)?;
        let gzip = gzip.finish()?;
        let zstd = zstd::encode_all(&plain[..], 1)?;
        assert_eq!(read(&plain)?, plain);
        assert_eq!(read(&gzip)?, plain);
        assert_eq!(read(&zstd)?, plain);
        assert!(read(&gzip[..gzip.len() - 9]).is_err());
        assert!(read(&zstd[..zstd.len() - 3]).is_err());
        assert_eq!(read(b"")?, b"");
        Ok(())
    }
}
