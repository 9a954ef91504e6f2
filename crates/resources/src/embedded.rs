//! The data files that `build.rs` compressed into the binary.

use std::io::Read;

use flate2::read::DeflateDecoder;

/// Decompresses `types.txt`: structures and their fields.
pub(crate) fn types() -> String {
    inflate(include_bytes!(concat!(env!("OUT_DIR"), "/types.deflate")))
}

/// Decompresses `messages.txt`: the numbers of fields in protobuf.
pub(crate) fn messages() -> String {
    inflate(include_bytes!(concat!(env!("OUT_DIR"), "/messages.deflate")))
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

/// A number that changes with the data files.
pub(crate) fn fingerprint() -> u64 {
    let types = include_bytes!(concat!(env!("OUT_DIR"), "/types.deflate"));
    let docs = include_bytes!(concat!(env!("OUT_DIR"), "/docs.deflate"));
    fnv(fnv(0xcbf2_9ce4_8422_2325, types), docs)
}

/// FNV-1a, going on from `hash`.
pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
