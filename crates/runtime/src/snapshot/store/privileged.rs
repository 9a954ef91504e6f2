//! The store as root: layers keep their owners, and overlays really mount.

use tar::EntryType;

use super::*;
use crate::image::fixture::{Archive, gzip};

fn open(root: &Path) -> Result<SnapshotStore, SnapshotError> {
    SnapshotStore::open(root, LayerLimits::default())
}

#[test]
fn a_layer_is_unpacked_once_and_found_again() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let layer = Archive::new().file("a", b"1").finish();
    let diff_id = Digest::of(&layer);
    let first = open(tmp.path())?.unpack(&[], &diff_id, &gzip(&layer)[..])?;
    fs::create_dir(tmp.path().join("unpack/7"))?;
    let store = open(tmp.path())?;
    assert_eq!(store.layers(), [first]);
    assert_eq!(store.unpack(&[], &diff_id, &b"not read"[..])?, first);
    assert_eq!(fs::read_dir(tmp.path().join("unpack"))?.count(), 0);
    store.remove_layer(&first.chain_id)?.ok_or("not removed")?.delete()?;
    assert!(open(tmp.path())?.layers().is_empty());
    Ok(())
}

#[test]
fn a_layer_with_other_content_is_refused_and_leaves_nothing() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let store = open(tmp.path())?;
    let layer = Archive::new().file("a", b"1").finish();
    let wrong = store.unpack(&[], &Digest::of(b"other"), &layer[..]);
    assert!(matches!(wrong, Err(SnapshotError::WrongContent { .. })));
    // What follows the archive's end belongs to the layer's digest.
    let mut longer = layer.clone();
    longer.extend([0; 512]);
    assert!(store.unpack(&[], &Digest::of(&layer), &longer[..]).is_err());
    assert!(store.layers().is_empty());
    assert_eq!(fs::read_dir(tmp.path().join("unpack"))?.count(), 0);
    assert_eq!(fs::read_dir(tmp.path().join("layers"))?.count(), 0);
    Ok(())
}

#[test]
fn an_overlay_shows_the_layers_as_one() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let store = open(tmp.path())?;
    let bottom = Archive::new().file("etc/a", b"old").file("etc/b", b"b").file("d/x", b"").file("gone", b"");
    let top = Archive::new().file("etc/a", b"new").file(".wh.gone", b"").file("d/.wh..wh..opq", b"").link(
        "l",
        EntryType::Symlink,
        "etc",
    );
    let mut chain = Vec::new();
    for layer in [bottom.finish(), top.finish()] {
        chain.push(store.unpack(&chain, &Digest::of(&layer), &layer[..])?.chain_id);
    }
    let overlay = store.prepare("c1", &chain)?;
    assert_eq!(store.prepare("c1", &chain)?, overlay);
    let join =
        |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(":");
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        join(&overlay.lower),
        overlay.upper.display(),
        overlay.work.display()
    );
    let target = tmp.path().join("mounted");
    fs::create_dir(&target)?;
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount(
        "overlay",
        &target,
        "overlay",
        rustix::mount::MountFlags::empty(),
        options.as_c_str(),
    )?;
    let read = (|| {
        fs::write(target.join("written"), vec![1; 8192])?;
        let dir: Vec<_> = fs::read_dir(target.join("d"))?.collect();
        Ok::<_, io::Error>((
            fs::read(target.join("l/a"))?,
            fs::read(target.join("etc/b"))?,
            dir.len(),
            target.join("gone").exists(),
        ))
    })();
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH)?;
    assert_eq!(read?, (b"new".to_vec(), b"b".to_vec(), 0, false));

    assert!(store.container_usage("c1")?.used_bytes >= 8192);
    assert_eq!(open(tmp.path())?.layers_in_use(), chain.iter().copied().collect());
    let store = open(tmp.path())?;
    assert_eq!(store.remove_container("c1")?, chain);
    assert_eq!(store.remove_container("c1")?, []);
    assert!(store.containers().is_empty());
    assert!(store.prepare("../x", &[]).is_err());
    Ok(())
}
