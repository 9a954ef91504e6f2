//! The image store as root, from archives: layers keep their owners.

use super::*;
use crate::image::fixture::{Archive, Fixture};
use crate::rootfs::Rootfs;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn fixture() -> Fixture {
    let layer = Archive::new().file("bin/sh", b"#!").finish();
    Fixture::new(vec![layer.clone(), Archive::new().file("etc/x", b"x").finish(), layer])
}

fn files(root: &Path) -> io::Result<usize> {
    Ok(fs::read_dir(root.join("content/blobs/sha256"))?.count()
        + fs::read_dir(root.join("snapshots/layers"))?.count()
        + fs::read_dir(root.join("snapshots/trash"))?.count()
        + fs::read_dir(root.join("content/ingest"))?.count())
}

#[tokio::test]
async fn both_archive_forms_give_the_same_image() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let store = ImageStore::open(Options::new(tmp.path()))?;
    let fixture = fixture();
    let zipped = zstd::encode_all(&fixture.docker_archive(&["luksa/kubia:latest"])[..], 1)?;
    let docker = store.import(io::Cursor::new(zipped)).await?;
    let oci = store.import(io::Cursor::new(fixture.oci_archive("nginx:alpine"))).await?;
    assert_eq!((docker[0].id, oci[0].id), (fixture.id(), fixture.id()));
    let image = store.status("docker.io/library/nginx:alpine").ok_or("missing")?;
    assert_eq!(image, store.status("luksa/kubia").ok_or("missing")?);
    assert_eq!(image.digests.len(), 1, "only the manifest that came from outside has a digest");
    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.user, "1000:1000");
    let run = store.image("nginx:alpine").await?;
    assert_eq!(
        (run.cmd, run.working_dir, run.volumes),
        (vec!["sh".into()], "/w".into(), vec!["/data".into()])
    );
    Ok(())
}

#[tokio::test]
async fn removing_leaves_only_what_others_need() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let store = ImageStore::open(Options::new(tmp.path()))?;
    let fixture = fixture();
    let small = Fixture::new(vec![fixture.layers[0].clone()]);
    store.import(io::Cursor::new(fixture.oci_archive("big:1"))).await?;
    store.import(io::Cursor::new(small.oci_archive("small:1"))).await?;
    let overlay = store.prepare(&fixture.id().to_string(), "c1").await?;
    store.remove("big:1").await?;
    store.remove("big:1").await?;
    assert!(overlay.lower.iter().all(|l| l.exists()), "a container keeps its layers");
    assert!(store.status("big:1").is_none());
    Rootfs::remove(&store, "c1").await?;
    assert_eq!(files(tmp.path())?, 4, "layer, config, manifest and one unpacked layer");
    drop(store);
    let store = ImageStore::open(Options::new(tmp.path()))?;
    assert!(store.image("small:1").await.is_ok());
    store.remove(&small.id().hex()[..12]).await?;
    assert_eq!(files(tmp.path())?, 0);
    Ok(())
}

#[tokio::test]
async fn a_bad_archive_is_told_and_leaves_nothing() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let store = ImageStore::open(Options::new(tmp.path()))?;
    let fixture = fixture();
    let good = fixture.oci_archive("x:1");
    let hostile = Fixture::new(vec![Archive::new().file("../../escape", b"x").finish()]);
    let flipped = {
        let mut bytes = good.clone();
        let at = bytes.windows(2).position(|w| w == [0x1f, 0x8b]).ok_or("no gzip")?;
        bytes[at + 30] ^= 1;
        bytes
    };
    for (what, archive, want) in [
        ("cut off", good[..good.len() / 2].to_vec(), "cut off"),
        ("not an archive", b"hello, this is no archive".repeat(100), "archive/tar"),
        ("empty", Vec::new(), "neither index.json nor manifest.json"),
        ("altered", flipped, "unexpected commit digest"),
        ("escape", hostile.oci_archive("x:1"), "lies outside the layer"),
        ("escaping name", Archive::new().file("../x", b"").finish(), "lies outside the archive"),
        (
            "missing layer",
            Archive::new().file("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#).finish(),
            "missing",
        ),
        ("bad name", fixture.docker_archive(&["x/UPPER:1"]), "must be lowercase"),
    ] {
        let error = store.import(io::Cursor::new(archive)).await.err().ok_or(what)?;
        assert!(error.to_string().contains(want), "{what}: {error}");
        assert_eq!(files(tmp.path())?, 0, "{what}");
    }
    assert!(store.list().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_a_crash_leaves_goes_at_the_next_start() -> Outcome {
    let tmp = tempfile::tempdir()?;
    let store = ImageStore::open(Options::new(tmp.path()))?;
    store.import(io::Cursor::new(fixture().oci_archive("x:1"))).await?;
    assert!(matches!(ImageStore::open(Options::new(tmp.path())), Err(ImageError::Locked(_))));
    let whole = files(tmp.path())?;
    drop(store);
    fs::write(tmp.path().join("content/blobs/sha256").join(Digest::of(b"orphan").hex()), b"orphan")?;
    fs::write(tmp.path().join("content/ingest/5"), b"half")?;
    let store = ImageStore::open(Options::new(tmp.path()))?;
    assert_eq!(files(tmp.path())?, whole);
    let image = store.status("x:1").ok_or("missing")?;
    drop(store);
    fs::remove_file(tmp.path().join("content/blobs/sha256").join(image.manifest.hex()))?;
    let store = ImageStore::open(Options::new(tmp.path()))?;
    assert!(store.status("x:1").is_none(), "a damaged image is forgotten, to be pulled again");
    assert_eq!(files(tmp.path())?, 0);
    Ok(())
}

/// A small file system that is gone with this.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let options = std::ffi::CString::new(options)?;
        rustix::mount::mount(
            "tmpfs",
            dir.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            options.as_c_str(),
        )?;
        Ok(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).expect("mounted above");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_there_stays() -> Outcome {
    let disk = SmallDisk::mount("size=4m")?;
    let store = ImageStore::open(Options::new(disk.0.path()))?;
    store.import(io::Cursor::new(fixture().oci_archive("small:1"))).await?;
    let before = files(disk.0.path())?;
    let content: Vec<u8> =
        (0..3u32 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let large = Fixture::new(vec![Archive::new().file("large", &content).finish()]);
    let error = store.import(io::Cursor::new(large.oci_archive("large:1"))).await.err().ok_or("imported")?;
    let text = error.to_string();
    assert!(text.contains("No space left on device") && !text.contains("invalid"), "{text}");
    assert_eq!(files(disk.0.path())?, before);
    assert!(store.image("small:1").await.is_ok());
    store.import(io::Cursor::new(fixture().oci_archive("again:1"))).await?;
    Ok(())
}
