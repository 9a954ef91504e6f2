//! A layer: plain, gzip or zstd, and the tar archive in it, of which so much is read.

#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use runtime::snapshot::decompress;
use runtime::snapshot::tar_stream::TarStream;

const LIMIT_BYTES: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plain) = decompress(bytes) else { return };
    let mut archive = TarStream::new(plain.take(LIMIT_BYTES));
    while let Ok(Some(entry)) = archive.next_entry() {
        let Ok(read) = io::copy(&mut archive, &mut io::sink()) else { return };
        assert!(read <= entry.size_bytes, "{read} of {} bytes", entry.size_bytes);
        assert!(entry.mtime.1 < 1_000_000_000);
    }
});
