//! The documents of an image: index, manifest, config, as OCI and Docker write them.
//!
//! Owns their shape and the choice of one platform. Fields nobody here reads are ignored. Never
//! reads a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;

/// The largest manifest, index or config that is taken.
pub const DOCUMENT_LIMIT_BYTES: u64 = 8 << 20;
/// The most layers one image may have; overlayfs stops at 500, Docker at 127.
pub const LAYER_COUNT_LIMIT: usize = 256;

/// Media types of indexes and manifests, as asked of registries.
pub const ACCEPTED_MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A reference from one document to another blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image runs on, in Go's words (`amd64`, `arm64`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "aarch64" => ("arm64", "v8"),
            "x86" => ("386", ""),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: variant.to_owned() }
    }

    fn runs_on(&self, host: &Self) -> bool {
        self.os == host.os
            && self.architecture == host.architecture
            && (self.variant.is_empty() || host.variant.is_empty() || self.variant == host.variant)
    }
}

/// One image of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// Images of several platforms, or the contents of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Index {
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The entry for `host`; one that names no platform is taken where no other fits.
    pub fn choose(&self, host: &Platform) -> Option<&Descriptor> {
        let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.runs_on(host));
        self.manifests.iter().find(fits).or_else(|| self.manifests.iter().find(|d| d.platform.is_none()))
    }
}

/// What a digest in a registry or archive can lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// A document that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("malformed {what}: {source}")]
    Json { what: &'static str, source: serde_json::Error },
    #[error("unsupported manifest: {0}")]
    Unsupported(&'static str),
}

impl Document {
    /// Tells manifest and index apart by their fields; media types are often missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Shape {
            config: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
            #[serde(rename = "fsLayers")]
            fs_layers: Option<serde::de::IgnoredAny>,
        }
        let json = |what| move |source| DocumentError::Json { what, source };
        let shape: Shape = serde_json::from_slice(bytes).map_err(json("manifest"))?;
        match shape {
            Shape { config: Some(_), manifests: None, .. } => {
                let manifest: Manifest = serde_json::from_slice(bytes).map_err(json("manifest"))?;
                if manifest.layers.len() > LAYER_COUNT_LIMIT {
                    return Err(DocumentError::Unsupported("it has more than 256 layers"));
                }
                Ok(Self::Manifest(manifest))
            }
            Shape { config: None, manifests: Some(_), .. } => {
                Ok(Self::Index(serde_json::from_slice(bytes).map_err(json("index"))?))
            }
            Shape { fs_layers: Some(_), .. } => {
                Err(DocumentError::Unsupported("schema version 1 is not supported"))
            }
            _ => Err(DocumentError::Unsupported("neither an image nor an index")),
        }
    }
}

/// An image's config (OCI image-spec `config.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: RunConfig,
    pub rootfs: RootfsConfig,
}

/// How to run an image where the container does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    pub user: String,
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    pub working_dir: String,
    #[serde(deserialize_with = "null_as_default")]
    pub stop_signal: String,
    #[serde(deserialize_with = "null_as_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
}

/// The digests of the unpacked layers, bottom first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RootfsConfig {
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl ImageConfig {
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { what: "image config", source })
    }
}

/// One image in a `docker save` archive's `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerArchiveImage {
    pub config: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<String>,
}

/// Go writes `null` for empty lists and maps.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(platform: Option<(&str, &str)>, content: &str) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: Digest::of(content.as_bytes()),
            size: 1,
            platform: platform.map(|(os, architecture)| Platform {
                architecture: architecture.to_owned(),
                os: os.to_owned(),
                variant: String::new(),
            }),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn the_platform_that_fits_wins_over_one_that_says_nothing() {
        let host = Platform::host();
        let own = entry(Some(("linux", &host.architecture)), "own");
        let unknown = entry(Some(("unknown", "unknown")), "attestation");
        let silent = entry(None, "silent");
        let other = entry(Some(("linux", "s390x")), "other");
        let choose = |manifests: &[&Descriptor]| {
            Index { manifests: manifests.iter().map(|d| (*d).clone()).collect() }
                .choose(&host)
                .map(|d| d.digest)
        };
        assert_eq!(choose(&[&other, &silent, &own]), Some(own.digest));
        assert_eq!(choose(&[&other, &silent]), Some(silent.digest));
        assert_eq!(choose(&[&other, &unknown]), None);
    }

    #[test]
    fn a_config_with_nulls_is_read() -> Result<(), DocumentError> {
        let config = ImageConfig::parse(
            br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],"Volumes":{"/data":{}},
                "Entrypoint":null,"User":"10:20"},"rootfs":{"type":"layers","diff_ids":null},"history":[{}]}"#,
        )?;
        assert_eq!(config.config.cmd, ["sh"]);
        assert_eq!(config.config.user, "10:20");
        assert!(config.config.volumes.contains_key("/data"));
        assert!(ImageConfig::parse(b"{}").is_err(), "without layers it is no image");
        Ok(())
    }

    #[test]
    fn documents_are_told_apart() {
        assert!(matches!(Document::parse(br#"{"manifests":[]}"#), Ok(Document::Index(_))));
        for bad in [&b"{}"[..], b"[]", b"null", b"", b"{\"schemaVersion\":1,\"fsLayers\":[]}", b"\xff"] {
            assert!(Document::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    fn descriptors() -> impl Strategy<Value = Descriptor> {
        let platform = prop::option::of(("\\PC{0,8}", "\\PC{0,8}", "[a-z0-9]{0,4}"));
        let annotations = prop::collection::btree_map("\\PC{0,8}", "\\PC{0,8}", 0..3);
        ("\\PC{0,20}", any::<[u8; 4]>(), any::<u64>(), platform, annotations).prop_map(
            |(media_type, content, size, platform, annotations)| Descriptor {
                media_type,
                digest: Digest::of(&content),
                size,
                platform: platform.map(|(architecture, os, variant)| Platform { architecture, os, variant }),
                annotations,
            },
        )
    }

    fn manifests() -> impl Strategy<Value = Manifest> {
        (any::<u32>(), "\\PC{0,20}", descriptors(), prop::collection::vec(descriptors(), 0..4)).prop_map(
            |(schema_version, media_type, config, layers)| Manifest {
                schema_version,
                media_type,
                config,
                layers,
            },
        )
    }

    proptest! {
        #[test]
        fn a_manifest_is_read_as_it_was_written(manifest in manifests()) {
            let text = serde_json::to_vec(&manifest).expect("written");
            prop_assert_eq!(Document::parse(&text).ok(), Some(Document::Manifest(manifest)));
        }

        #[test]
        fn documents_with_other_bytes_in_them_never_panic(
            manifest in manifests(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let config = br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["sh"],"User":"1",
                "Volumes":{"/d":{}}},"rootfs":{"type":"layers","diff_ids":[]}}"#;
            let archive = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l/layer.tar"]}]"#;
            let index = serde_json::to_vec(&serde_json::json!({"manifests": [manifest.config]})).expect("written");
            let manifest = serde_json::to_vec(&manifest).expect("written");
            for mut text in [config.to_vec(), archive.to_vec(), index, manifest] {
                for (at, byte) in &flips {
                    let at = at.index(text.len());
                    text[at] = *byte;
                }
                for text in [&text[..], &text[..cut.index(text.len())]] {
                    let _ = ImageConfig::parse(text);
                    let _ = serde_json::from_slice::<Vec<DockerArchiveImage>>(text);
                    match Document::parse(text) {
                        Ok(Document::Index(index)) => _ = index.choose(&Platform::host()),
                        Ok(Document::Manifest(manifest)) => prop_assert!(manifest.layers.len() <= LAYER_COUNT_LIMIT),
                        Err(_) => {}
                    }
                }
            }
        }
    }

    #[test]
    fn one_layer_more_than_the_limit_is_refused() {
        let manifest = |layers| Manifest {
            schema_version: 2,
            media_type: String::new(),
            config: entry(None, "config"),
            layers: vec![entry(None, "layer"); layers],
        };
        let parsed = |layers| Document::parse(&serde_json::to_vec(&manifest(layers)).expect("written"));
        assert!(parsed(LAYER_COUNT_LIMIT).is_ok());
        assert!(matches!(parsed(LAYER_COUNT_LIMIT + 1), Err(DocumentError::Unsupported(_))));
    }
}
