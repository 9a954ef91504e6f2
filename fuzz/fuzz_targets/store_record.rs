//! Records of the store's file: any bytes are refused or read, a record that is written comes back, and none with a
//! changed byte does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use store::embedded::Record;

fuzz_target!(|bytes: &[u8]| {
    let _ = Record::decode(1, bytes);
    for at in 0..bytes.len().min(256) {
        if let Some((revision, record)) = Record::find(&bytes[at..]) {
            let again = record.encode(revision);
            assert!(bytes[at..].starts_with(&again));
        }
    }
    let half = bytes.len() / 2;
    let Ok(key) = std::str::from_utf8(&bytes[..half]) else { return };
    let record = Record { deletion: false, create_revision: 2, previous: 3, key, value: &bytes[half..] };
    let mut written = record.encode(4);
    assert_eq!(Record::decode(4, &written).expect("as written"), record);
    let changed = half % written.len();
    written[changed] ^= 1;
    assert!(Record::decode(4, &written).is_err(), "byte {changed} was changed");
});
