//! A registry on loopback, with the test images in it: Debian's docker-registry over a folder written here.
//!
//! The folder's layout is that of the distribution project's filesystem driver (distribution/distribution,
//! `registry/storage/paths.go`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::{Fixtures, on_path};
use crate::stream::Stream;
use crate::transcript::Transcript;

/// A running registry. Stops when dropped.
pub struct Registry {
    /// `127.0.0.1:PORT`
    pub address: String,
    _process: Stream,
    _dir: TempDir,
}

impl Registry {
    /// Serves the images of `docker.io` that the archives hold, under their paths.
    ///
    /// # Errors
    /// When docker-registry is not there or does not start.
    pub fn start(fixtures: &Fixtures) -> Result<Self> {
        let own = fixtures.tools.join("docker-registry");
        let program = if own.is_file() { Some(own) } else { on_path("docker-registry") };
        let program = program.context("docker-registry is missing: run scripts/setup test")?;
        let dir = tempfile::Builder::new().prefix("knarr-registry-").tempdir()?;
        let root = dir.path().join("docker/registry/v2");
        for archive in &fixtures.images {
            fill(&root, archive).with_context(|| format!("reading {}", archive.display()))?;
        }
        // Free now; nothing else on the machine takes ports of this range at random.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config = dir.path().join("config.yml");
        let settings = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            dir.path().display()
        );
        fs::write(&config, settings)?;
        let mut command = Stream::mortal(&program.display().to_string());
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let mut process = Stream::start("docker-registry serve", command, &Transcript::default());
        process.wait_for("listening on");
        Ok(Self { address, _process: process, _dir: dir })
    }
}

/// Writes the images of one OCI archive into the registry's folder.
fn fill(root: &Path, archive: &Path) -> Result<()> {
    let mut blobs = BTreeMap::new();
    let mut index = Value::Null;
    let mut tar = tar::Archive::new(File::open(archive)?);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if path == Path::new("index.json") {
            index = serde_json::from_slice(&bytes)?;
        } else if let (true, Some(name)) = (path.starts_with("blobs/sha256"), path.file_name()) {
            blobs.insert(name.to_string_lossy().into_owned(), bytes);
        }
    }
    for (hex, bytes) in &blobs {
        let dir = root.join("blobs/sha256").join(&hex[..2]).join(hex);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("data"), bytes)?;
    }
    for manifest in index["manifests"].as_array().context("the archive's index lists no images")? {
        let name = manifest["annotations"]["io.containerd.image.name"].as_str().context("a name")?;
        let digest = manifest["digest"].as_str().context("a digest")?;
        let (repository, tag) = name.trim_start_matches("docker.io/").rsplit_once(':').context("a tag")?;
        let repository = root.join("repositories").join(repository);
        for hex in blobs.keys() {
            link(&repository.join("_layers/sha256").join(hex), &format!("sha256:{hex}"))?;
        }
        let hex = digest.trim_start_matches("sha256:");
        ensure!(blobs.contains_key(hex), "the archive lacks its manifest {digest}");
        let manifests = repository.join("_manifests");
        link(&manifests.join("revisions/sha256").join(hex), digest)?;
        link(&manifests.join("tags").join(tag).join("current"), digest)?;
        link(&manifests.join("tags").join(tag).join("index/sha256").join(hex), digest)?;
    }
    Ok(())
}

fn link(dir: &Path, digest: &str) -> Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("link"), digest)?;
    Ok(())
}
