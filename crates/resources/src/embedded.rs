//! The data files that `build.rs` compressed into the binary.

use std::io::Read;

use flate2::read::DeflateDecoder;

/// Decompresses `types.txt`: structures and their fields.
pub(crate) fn types() -> String {
    inflate(include_bytes!(concat!(env!("OUT_DIR"), "/types.deflate")))
}

/// Decompresses `docs.txt`: descriptions of structures and fields.
pub(crate) fn docs() -> String {
    inflate(include_bytes!(concat!(env!("OUT_DIR"), "/docs.deflate")))
}

fn inflate(compressed: &[u8]) -> String {
    let mut text = String::with_capacity(compressed.len() * 5);
    DeflateDecoder::new(compressed).read_to_string(&mut text).expect("the build compressed valid UTF-8");
    text
}
