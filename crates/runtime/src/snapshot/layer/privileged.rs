//! Unpacking as root: owners, devices and `trusted.*` attributes need it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use proptest::prelude::*;
use tar::EntryType;

use super::*;
use crate::image::fixture::Archive;

fn unpack(dir: &Path, archive: Vec<u8>, lower: &[PathBuf]) -> Result<Applied, LayerError> {
    fs::create_dir_all(dir)?;
    apply(&archive[..], dir, lower, LayerLimits { size_bytes: 1 << 20, entries: 100 })
}

fn is_opaque(dir: &Path) -> bool {
    xattr::get(dir, OPAQUE_XATTR).is_ok_and(|v| v.as_deref() == Some(b"y"))
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

#[test]
fn attributes_arrive() -> Result<(), LayerError> {
    let tmp = tempfile::tempdir()?;
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let archive = Archive::new()
        .dir("tmp/", 0o1777)
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("mtime", b"1600000000.25"),
        ])
        .entry("tmp/ping", EntryType::Regular, b"elf", |h| {
            h.set_mode(0o4755);
            h.set_uid(1000);
            h.set_gid(2000);
        })
        .link("tmp/also", EntryType::Link, "tmp/ping")
        .link("tmp/soft", EntryType::Symlink, "/nowhere")
        .entry("dev/null", EntryType::Char, b"", |h| {
            h.set_device_major(1).expect("fits");
            h.set_device_minor(3).expect("fits");
        })
        .finish();
    let applied = unpack(tmp.path(), archive, &[])?;
    let ping = fs::metadata(tmp.path().join("tmp/ping"))?;
    assert_eq!((ping.mode() & 0o7777, ping.uid(), ping.gid(), ping.nlink()), (0o4755, 1000, 2000, 2));
    assert_eq!((ping.mtime(), ping.mtime_nsec()), (1_600_000_000, 250_000_000));
    assert_eq!(
        xattr::get(tmp.path().join("tmp/ping"), "security.capability")?.as_deref(),
        Some(&capability[..])
    );
    assert_eq!(xattr::get(tmp.path().join("tmp/ping"), "trusted.overlay.redirect")?, None);
    let dir = fs::metadata(tmp.path().join("tmp"))?;
    assert_eq!((dir.mode() & 0o7777, dir.mtime()), (0o1777, 1_700_000_000));
    assert_eq!(fs::read_link(tmp.path().join("tmp/soft"))?, Path::new("/nowhere"));
    assert_eq!(fs::metadata(tmp.path().join("dev/null"))?.rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(applied.inodes, 5);
    Ok(())
}

#[test]
fn whiteouts_become_what_overlayfs_knows() -> Result<(), LayerError> {
    let tmp = tempfile::tempdir()?;
    let archive = Archive::new()
        .file("etc/.wh.gone", b"")
        .dir("var/", 0o755)
        .file("var/.wh..wh..opq", b"")
        .file("kept", b"x")
        .file(".wh.kept", b"")
        .file("opt/.wh.was", b"")
        .file("opt/was/now", b"a directory over a whiteout stays opaque")
        .file(".wh..wh.plnk", b"")
        .finish();
    unpack(tmp.path(), archive, &[])?;
    assert!(is_whiteout(&tmp.path().join("etc/gone")));
    assert!(is_opaque(&tmp.path().join("var")));
    assert_eq!(fs::read(tmp.path().join("kept"))?, b"x");
    assert!(is_opaque(&tmp.path().join("opt/was")));
    assert!(!tmp.path().join(".wh..wh.plnk").exists() && !tmp.path().join("etc/.wh.gone").exists());
    Ok(())
}

#[test]
fn implied_directories_look_like_those_below() -> Result<(), LayerError> {
    let tmp = tempfile::tempdir()?;
    let (lower, upper) = (tmp.path().join("lower"), tmp.path().join("upper"));
    let archive = Archive::new().entry("tmp", EntryType::Directory, b"", |h| {
        h.set_mode(0o1777);
        h.set_gid(7);
    });
    unpack(&lower, archive.finish(), &[])?;
    unpack(&upper, Archive::new().file("tmp/a/b", b"").finish(), &[lower])?;
    let dir = fs::metadata(upper.join("tmp"))?;
    assert_eq!((dir.mode() & 0o7777, dir.gid()), (0o1777, 7));
    assert_eq!(fs::metadata(upper.join("tmp/a"))?.mode() & 0o7777, 0o755);
    Ok(())
}

#[test]
fn nothing_leaves_the_layer() -> Result<(), LayerError> {
    let tmp = tempfile::tempdir()?;
    let outside = tmp.path().join("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("secret"), b"secret")?;
    let out = outside.display().to_string();
    let climb = format!("../../../../../../../../{out}");
    let refused = |name: &str, archive: Archive| {
        let result = unpack(&tmp.path().join(name), archive.finish(), &[]);
        assert!(result.is_err(), "{name}");
    };
    refused("dotdot", Archive::new().file("../outside/x", b""));
    refused("inner-dotdot", Archive::new().file("a/../../outside/x", b""));
    refused("hard", Archive::new().link("x", EntryType::Link, "../outside/secret"));
    refused("hard-absolute", Archive::new().link("x", EntryType::Link, &format!("{out}/secret")));
    refused(
        "hard-through-soft",
        Archive::new().link("s", EntryType::Symlink, &out).link("x", EntryType::Link, "s/secret"),
    );
    refused(
        "loop",
        Archive::new().link("a", EntryType::Symlink, "b").link("b", EntryType::Symlink, "a").file("a/x", b""),
    );
    refused("bad-whiteout", Archive::new().file("a/.wh...", b""));
    refused("file-as-dir", Archive::new().file("a", b"").file("a/b", b""));
    refused("zero", Archive::new().pax(&[("path", b"a\0b")]).file("a", b""));
    refused("socket", Archive::new().entry("a", EntryType::GNUSparse, b"", |_| {}));

    let contained = |name: &str, archive: Archive, made: &str| {
        let dir = tmp.path().join(name);
        assert!(unpack(&dir, archive.finish(), &[]).is_ok(), "{name}");
        assert!(fs::symlink_metadata(dir.join(made)).is_ok(), "{name} makes {made}");
    };
    let below = out.trim_start_matches('/');
    contained("absolute", Archive::new().file("/etc/x", b""), "etc/x");
    contained(
        "through-soft",
        Archive::new().link("s", EntryType::Symlink, &out).file("s/new", b""),
        &format!("{below}/new"),
    );
    contained(
        "over-soft",
        Archive::new().link("s", EntryType::Symlink, &format!("{out}/secret")).file("s", b"mine"),
        "s",
    );
    contained(
        "whiteout",
        Archive::new().link("s", EntryType::Symlink, &out).file("s/.wh.secret", b""),
        &format!("{below}/secret"),
    );
    // Climbing links end at the root, as after a chroot; a dangling one that climbs is an error.
    refused("climbing", Archive::new().link("s", EntryType::Symlink, &climb).file("s/new", b""));
    assert_eq!(fs::read(outside.join("secret"))?, b"secret");
    assert_eq!(fs::read_dir(&outside)?.count(), 1);
    Ok(())
}

#[test]
fn limits_hold() -> Result<(), LayerError> {
    let tmp = tempfile::tempdir()?;
    let many = (0..101).fold(Archive::new(), |a, i| a.file(&format!("f{i}"), b""));
    assert!(matches!(
        unpack(&tmp.path().join("many"), many.finish(), &[]),
        Err(LayerError::TooManyEntries(100))
    ));
    let large = Archive::new().file("large", &vec![0; 1 << 20]).finish();
    assert!(unpack(&tmp.path().join("large"), large, &[]).is_err());
    // A header that promises more than follows.
    let lying = Archive::new().entry("a", EntryType::Regular, b"abc", |h| h.set_size(1 << 40)).finish();
    assert!(unpack(&tmp.path().join("lying"), lying, &[]).is_err());
    Ok(())
}

fn hostile_path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b",
        "s",
        "..",
        ".",
        "",
        ".wh.a",
        ".wh..wh..opq",
        "outside",
        "secret",
    ]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_sequence_of_entries_reaches_outside(
        entries in prop::collection::vec((hostile_path(), 0usize..5, hostile_path()), 1..8)
    ) {
        let tmp = tempfile::tempdir()?;
        let outside = tmp.path().join("outside");
        fs::create_dir(&outside)?;
        fs::write(outside.join("secret"), b"secret")?;
        let mut archive = Archive::new();
        for (path, kind, target) in &entries {
            archive = match kind {
                0 => archive.file(path, b"new"),
                1 => archive.dir(path, 0o777),
                2 => archive.link(path, EntryType::Link, target),
                3 => archive.link(path, EntryType::Symlink, target),
                _ => archive.link(path, EntryType::Symlink, &outside.display().to_string()),
            };
        }
        // Whether it is refused or contained does not matter here.
        drop(unpack(&tmp.path().join("layer"), archive.finish(), &[]));
        prop_assert_eq!(fs::read(outside.join("secret"))?, b"secret");
        prop_assert_eq!(fs::read_dir(&outside)?.count(), 1);
        prop_assert_eq!(fs::metadata(outside.join("secret"))?.nlink(), 1);
        prop_assert_eq!(fs::read_dir(tmp.path())?.count(), 2);
        prop_assert!(!is_opaque(&outside));
    }
}
