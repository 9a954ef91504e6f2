//! Small images and archives for tests. Never used outside of them.

use std::io::Write;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::digest::Digest;

/// A tar archive under construction.
pub struct Archive(Builder<Vec<u8>>);

impl Archive {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, content, |_| {})
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(path, EntryType::Directory, b"", |h| h.set_mode(mode))
    }

    pub fn link(self, path: &str, kind: EntryType, target: &str) -> Self {
        self.entry(path, kind, b"", |h| h.set_link_name_literal(target).expect("fits the header"))
    }

    /// An entry with a path written as it is, `..` and all.
    pub fn entry(
        mut self,
        path: &str,
        kind: EntryType,
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, content).expect("writing to memory works");
        self
    }

    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).expect("writing to memory works");
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("writing to memory works")
    }
}

/// An image: its layers as uncompressed archives, and its config.
pub struct Fixture {
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
}

impl Fixture {
    pub fn new(layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let arch = super::manifest::Platform::host().architecture;
        let config = json!({
            "architecture": arch, "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], "User": "1000:1000", "WorkingDir": "/w", "Volumes": {"/data": {}}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self { layers, config: config.to_string().into_bytes() }
    }

    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// The manifest with gzip layers, and all blobs it needs, itself last.
    pub fn blobs(&self) -> Vec<Vec<u8>> {
        let mut blobs: Vec<Vec<u8>> = self.layers.iter().map(|l| gzip(l)).collect();
        let layers: Vec<Value> =
            blobs.iter().map(|b| descriptor(b, "application/vnd.oci.image.layer.v1.tar+gzip")).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(&self.config, "application/vnd.oci.image.config.v1+json"), "layers": layers,
        });
        blobs.push(self.config.clone());
        blobs.push(manifest.to_string().into_bytes());
        blobs
    }

    /// An OCI archive in which the image is called `name`.
    pub fn oci_archive(&self, name: &str) -> Vec<u8> {
        let blobs = self.blobs();
        let mut entry = descriptor(&blobs[blobs.len() - 1], "application/vnd.oci.image.manifest.v1+json");
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let archive = Archive::new().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        let archive =
            blobs.iter().fold(archive, |a, b| a.file(&format!("blobs/sha256/{}", Digest::of(b).hex()), b));
        archive.file("index.json", index.as_bytes()).finish()
    }

    /// What an older `docker save` writes: a layer that stands twice is a link the second time.
    pub fn docker_archive(&self, tags: &[&str]) -> Vec<u8> {
        let config = format!("{}.json", self.id().hex());
        let mut archive = Archive::new().file(&config, &self.config);
        let mut names: Vec<String> = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let name = format!("{i}/layer.tar");
            archive = match self.layers[..i].iter().position(|l| l == layer) {
                Some(first) => archive.link(&name, EntryType::Symlink, &format!("../{first}/layer.tar")),
                None => archive.file(&name, layer),
            };
            names.push(name);
        }
        let manifest = json!([{"Config": config, "RepoTags": tags, "Layers": names}]).to_string();
        archive.file("manifest.json", manifest.as_bytes()).finish()
    }
}

pub fn descriptor(blob: &[u8], media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(blob).to_string(), "size": blob.len()})
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to memory works");
    encoder.finish().expect("writing to memory works")
}
