use proptest::prelude::*;
use tar::EntryType;

use super::*;
use crate::image::fixture::Archive;

fn read_all(archive: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut stream = TarStream::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = stream.next_entry()? {
        let mut content = Vec::new();
        stream.read_to_end(&mut content)?;
        entries.push((entry, content));
    }
    Ok(entries)
}

#[test]
fn long_names_and_pax_records_apply_to_the_next_entry_only() -> io::Result<()> {
    let long = "d/".repeat(100) + "file";
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o600);
    builder.append_data(&mut header.clone(), &long, &b"ab"[..])?;
    builder.append_pax_extensions([
        ("path", "ünïcode".as_bytes()),
        ("uid", &b"4000000000"[..]),
        ("SCHILY.xattr.user.x", &b"a\nb=\0c"[..]),
    ])?;
    builder.append_data(&mut header.clone(), "short", &b"cd"[..])?;
    builder.append_data(&mut header, "last", &b"ef"[..])?;
    let entries = read_all(&builder.into_inner()?)?;
    assert_eq!(entries[0].0.path.as_os_str(), long.as_str());
    assert_eq!(entries[1].0.path.as_os_str(), "ünïcode");
    assert_eq!(entries[1].0.uid, 4_000_000_000);
    assert_eq!(entries[1].0.xattrs["user.x"], b"a\nb=\0c");
    assert_eq!((entries[2].0.path.as_os_str(), entries[2].1.as_slice()), ("last".as_ref(), &b"ef"[..]));
    assert!(entries[2].0.xattrs.is_empty());
    Ok(())
}

#[test]
fn a_cut_off_or_altered_archive_is_an_error() {
    let archive = Archive::new().file("a", &[7; 700]).file("b", b"x").finish();
    for end in [1, 511, 513, 1000, 1400] {
        assert!(read_all(&archive[..end]).is_err(), "cut at {end}");
    }
    let mut altered = archive;
    altered[0] ^= 1;
    assert!(read_all(&altered).is_err());
}

#[test]
fn a_huge_long_name_is_refused_before_it_is_read() {
    let archive =
        Archive::new().entry("././@LongLink", EntryType::GNULongName, b"", |h| h.set_size(1 << 40)).finish();
    assert!(read_all(&archive).is_err_and(|e| e.kind() == io::ErrorKind::InvalidData));
}

proptest! {
    #[test]
    fn arbitrary_changes_never_panic(flips in prop::collection::vec((0usize..4096, any::<u8>()), 0..8)) {
        let mut archive = Archive::new()
            .pax(&[("mtime", b"1.5"), ("size", b"3")])
            .file("a", b"abc")
            .link("l", EntryType::Symlink, "a")
            .finish();
        for (at, value) in flips {
            let at = at % archive.len();
            archive[at] = value;
        }
        drop(read_all(&archive));
    }
}
